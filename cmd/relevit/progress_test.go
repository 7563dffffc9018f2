package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestPlainProgressSaysRateAndTimeLeft(t *testing.T) {
	var out bytes.Buffer
	m := (&call{stderr: &out}).meter("training", "steps", 20, 100)
	m.set(30, "")
	if out.Len() > 0 {
		t.Errorf("a line came at once: %q", &out)
	}
	m.began, m.printed = time.Now().Add(-20*time.Second), time.Time{}
	m.set(60, "loss 0.5")
	if got, want := out.String(), "training: 60/100 steps, 2/s, 20s left, loss 0.5\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestQuietShowsNothing(t *testing.T) {
	var out bytes.Buffer
	c := &call{stderr: &out, quiet: true}
	m := c.meter("training", "steps", 0, 1)
	m.began, m.printed = time.Time{}, time.Time{}
	m.set(1, "")
	m.say("x")
	m.end()
	c.note("x")
	if out.Len() > 0 {
		t.Errorf("printed %q", &out)
	}
}

func TestTablesLineUp(t *testing.T) {
	var out strings.Builder
	rows(&out, []row{{"a", "1"}, {"empty", ""}, {"longer", "2\n3"}})
	table(&out, []string{"x", "y"}, [][]string{{"long", "z"}})
	want := "a       1\nlonger  2\n        3\nx     y\nlong  z\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 5717416: "5,717,416", -1000: "-1,000"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %s, want %s", n, got, want)
		}
	}
}
