package main

import (
	"strings"
	"testing"
)

func TestMessagesAreOneLineThatATerminalOnlyShows(t *testing.T) {
	for text, want := range map[string]string{
		"a.onnx: node Übergang (注意)":      "a.onnx: node Übergang (注意)",
		"one\ntwo":                        "one; two",
		"node \x1b[2J\r\trelevit: done\a": `node \x1b[2J\r\trelevit: done\a`,
		"x\u202egnp.exe":                  `x\u202egnp.exe`,
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	long := oneLine("begin" + strings.Repeat("ü", 1<<20) + "end")
	if len(long) > longestMessage+10 || !strings.HasPrefix(long, "begin") || !strings.HasSuffix(long, "end") || strings.ContainsRune(long, '\ufffd') {
		t.Errorf("a long message became %d bytes, %.10q to %q", len(long), long, long[len(long)-10:])
	}
}
