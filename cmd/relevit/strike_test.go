package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long tests wait for what comes within seconds on an idle
// machine, before they take it for hung.
const patience = 3 * time.Minute

// struck starts a command that trains, strikes once the log in a folder has so
// many lines, and waits for the process's end. On a busy machine a run may be
// over before the strike: then what was written is taken back, and it starts
// again.
func struck(t *testing.T, begin func() *exec.Cmd, written, logged string, lines int, strike func(*exec.Cmd)) *exec.Cmd {
	t.Helper()
	before := filepath.Join(t.TempDir(), "before")
	_, err := os.Stat(written)
	begun := err == nil
	if begun {
		if err := os.CopyFS(before, os.DirFS(written)); err != nil {
			t.Fatal(err)
		}
	}
	w := &watched{dir: logged}
	for range 20 {
		cmd := begin()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for deadline := time.Now().Add(patience); w.logged() < lines && len(ended) == 0; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(deadline) {
				cmd.Process.Kill()
				t.Fatalf("the log in %s has %d lines, waiting for %d", logged, w.logged(), lines)
			}
		}
		strike(cmd)
		<-ended
		if !cmd.ProcessState.Success() {
			return cmd
		}
		if err := os.RemoveAll(written); err != nil {
			t.Fatal(err)
		}
		if begun {
			if err := os.CopyFS(written, os.DirFS(before)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Fatalf("%v always ended before line %d of the log was seen", begin().Args, lines)
	return nil
}

// signalAt starts a command, sends it a signal once the run's log has so many
// lines, and returns how it exited and what it said.
func signalAt(t *testing.T, dir string, args []string, run string, lines int, s os.Signal) (code int, said []byte) {
	t.Helper()
	var out bytes.Buffer
	begin := func() *exec.Cmd {
		out.Reset()
		cmd := relevit(dir, args...)
		cmd.Stdout, cmd.Stderr = &out, &out
		return cmd
	}
	cmd := struck(t, begin, run, run, lines, func(cmd *exec.Cmd) { cmd.Process.Signal(s) })
	return cmd.ProcessState.ExitCode(), out.Bytes()
}

// waitFor waits until a run's log has so many lines.
func waitFor(t *testing.T, w *watched, lines int) {
	t.Helper()
	for deadline := time.Now().Add(patience); w.logged() < lines; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log in %s has %d lines", w.dir, w.logged())
		}
	}
}
