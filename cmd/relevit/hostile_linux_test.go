package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relevit/relevit/onnx/ort"
)

// What refusing a file may take. Processor time stands for time: the tests of
// other packages run beside this one. The worst takes 0.75 s where this was
// written; other machines may be slower.
const (
	mostTime   = 5 * time.Second
	mostMemory = 100 << 20 // bytes
)

// peakVariable names a file into which the process writes what it took. The
// peak that the kernel tells of a child is no less than its parent's.
const peakVariable = "RELEVIT_PEAK"

// mainUnderTest is main, writes the peak of its memory where it is asked to, and
// exits with a code of its own where a command leaves a goroutine behind.
func mainUnderTest() {
	if err := askAboutFiles(); err != nil {
		fmt.Fprintln(os.Stderr, "relevit:", err)
		os.Exit(98)
	}
	code := run(os.Args, os.Stdout, messages())
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "relevit:", err)
		code = 99
	}
	if path := os.Getenv(peakVariable); path != "" {
		status, err := os.ReadFile("/proc/self/status")
		if err := errors.Join(err, os.WriteFile(path, status, 0o666)); err != nil {
			panic(err)
		}
	}
	os.Exit(code)
}

// peakOf reads the largest resident memory, in bytes, that a process wrote.
func peakOf(path string) (int64, error) {
	status, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes int64
	_, err = fmt.Sscan(after, &kilobytes)
	return kilobytes << 10, err
}

// TestHostileFilesEndInOneErrorQuickly gives every command that reads a kind of
// file the files that are made to run something, to reach out of their folder,
// to take all memory or time, or that are broken: each is refused by one line,
// exit code 3, within seconds and 100 MB, and leaves nothing behind. None but
// finetune, which knows a model's classes from its session, needs ONNX Runtime.
func TestHostileFilesEndInOneErrorQuickly(t *testing.T) {
	_, missing := ort.Locate("")
	if missing != nil {
		t.Logf("finetune doesn't run: %v", missing)
	}
	fixtures := t.TempDir()
	if err := makeFixtures(fixtures); err != nil {
		t.Fatal(err)
	}
	for _, h := range hostileFiles() {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			checkHostile(t, fixtures, h, missing == nil)
		})
	}
}

func checkHostile(t *testing.T, fixtures string, h hostile, runtime bool) {
	dir := t.TempDir()
	for _, name := range []string{"model.onnx", "weights.safetensors", "batch.safetensors", "c.yaml", "data/images/star/00005.png"} {
		if err := os.Link(filepath.Join(fixtures, name), filepath.Join(dir, filepath.Base(name))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(fixtures, "data/masks/star/00005.png"), filepath.Join(dir, "mask.png")); err != nil {
		t.Fatal(err)
	}
	if err := h.make(dir); err != nil {
		t.Fatal(err)
	}
	before := filesIn(t, dir)
	for i, command := range h.commands {
		args := strings.Fields(strings.ReplaceAll(command, "BAD", h.file))
		switch {
		case h.runtime && !runtime:
			continue
		case !h.runtime:
			args = append([]string{"--runtime", "no/such.so"}, args...)
		}
		if i == 0 {
			args = append([]string{"--json"}, args...)
		}
		if h.harmless {
			if stdout, stderr := runWithin(t, dir, args, done); !strings.Contains(stdout, h.says) {
				t.Errorf("%v printed\n%s%s\nwant %q in it", args, stdout, stderr, h.says)
			}
			continue
		}
		message := refused(t, dir, args, cmp.Or(h.code, badInput))
		for part := range strings.SplitSeq(h.says, "|") {
			if !strings.Contains(message, part) {
				t.Errorf("%v: it said\n%s\nwant %q in it", args, message, part)
			}
		}
		if after := filesIn(t, dir); !slices.Equal(before, after) && !(h.leaves && i == len(h.commands)-1) {
			t.Errorf("%v: there were %v, there are %v", args, before, after)
		}
	}
}

// runWithin runs a command that must end with a code, within the limits. What it
// takes is the least of three runs: on a busy machine Go's collector comes late.
func runWithin(t *testing.T, dir string, args []string, code int) (stdout, stderr string) {
	t.Helper()
	for tries := 1; ; tries++ {
		var out, said bytes.Buffer
		peak := filepath.Join(t.TempDir(), "peak")
		cmd := relevit(dir, args...)
		cmd.Stdout, cmd.Stderr = &out, &said
		cmd.Env = append(os.Environ(), peakVariable+"="+peak)
		patience := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		cmd.Run()
		patience.Stop()
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Fatalf("%v: exit code %d, want %d\n%.3000s%.3000s", args, got, code, &out, &said)
		}
		took := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		memory, err := peakOf(peak)
		within := raced || err == nil && took <= mostTime && memory <= mostMemory
		if !within && tries < 3 {
			continue
		}
		if !within {
			t.Errorf("%v took %v and %d MB (%v), want at most %v and %d MB", args, took, memory>>20, err, mostTime, mostMemory>>20)
		}
		if testing.Verbose() {
			t.Logf("%v %d MB %v\n%.300s%.300s", took, memory>>20, args, &out, &said)
		}
		return out.String(), said.String()
	}
}

// refused runs a command that must refuse a file, and returns its message.
func refused(t *testing.T, dir string, args []string, code int) string {
	t.Helper()
	stdout, stderr := runWithin(t, dir, args, code)
	if args[0] == "--json" {
		var object struct {
			Error string `json:"error"`
			Code  int    `json:"exit_code"`
		}
		decoder := json.NewDecoder(strings.NewReader(stdout))
		if err := decoder.Decode(&object); err != nil || decoder.More() || object.Code != code || strings.Contains(stderr, "relevit: ") {
			t.Errorf("%v printed no single object (%v)\n%s%s", args, err, stdout, stderr)
		}
		if strings.ContainsFunc(object.Error, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(object.Error) > longestMessage+100 {
			t.Errorf("%v: the message is no line: %.3000q", args, object.Error)
		}
		return object.Error
	}
	message := ""
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "relevit: ") { // beside progress, on a busy machine
			message += line
		}
	}
	if stdout != "" || strings.Count(message, "\n") != 1 || len(message) > longestMessage+100 {
		t.Errorf("%v printed\n%.3000s\nand said\n%.3000s\nwant one line with the error alone", args, stdout, stderr)
	}
	return message
}
