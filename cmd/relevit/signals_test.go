package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/relevit/relevit/pipeline"
)

// TestInterruptedRunIsSavedAndResumesToTheSameBits sends each signal, while
// steps are made and while the epoch's end is validated.
func TestInterruptedRunIsSavedAndResumesToTheSameBits(t *testing.T) {
	tried(t, "SIGINT, SIGTERM and SIGHUP while finetune works", 3*4)
	work := newWorkplace(t)
	rare := []string{"--threads", "1", "finetune", "-c", "c.yaml", "--set", "checkpoint.every_steps=0", "--set", "checkpoint.every_epochs=0"}
	whole := filepath.Join(work, "whole")
	mustRun(t, work, append(rare, "-o", whole)...)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			run := filepath.Join(work, fmt.Sprint("run", int(s)))
			args := append(rare, "-o", run)
			for lines := 3; lines < 30; lines = (&watched{dir: run}).logged() + 1 + rand.IntN(8) {
				code, said := signalAt(t, work, args, run, lines, s)
				if code != interrupted || !bytes.Contains(said, []byte("--resume")) {
					t.Fatalf("at line %d: exit code %d, want %d; it said\n%s", lines, code, interrupted, said)
				}
				isOnPage(t, string(said), code)
				// Nothing is made twice: every step that the log has is saved.
				if at := (&watched{dir: run}).logged(); at < lines {
					t.Fatalf("the log has %d lines, at least %d were there", at, lines)
				}
				mark := read(t, run, "checkpoints", "last", "state.json")
				if offset := fmt.Sprintf(`"log_offset": %d,`, len(read(t, run, "log.jsonl"))); !bytes.Contains(mark, []byte(offset)) {
					t.Errorf("the checkpoint is not of the log's end, %s\n%s", offset, mark)
				}
				args = []string{"--threads", "1", "--json", "finetune", "--resume", "-o", run}
			}
			mustRun(t, work, args...)
			sameRuns(t, whole, run)
		})
	}
}

// TestSecondInterruptEndsAtOnce hangs a command on a configuration that is a
// pipe into which nobody writes.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "c.yaml")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := relevit(filepath.Dir(pipe), "finetune", "-c", pipe)
	cmd.Stderr = io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	// Opening it for writing succeeds once the other end is open.
	for {
		f, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			defer f.Close()
			break
		}
		select {
		case err := <-done:
			t.Fatalf("it ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-done:
		t.Fatalf("nothing hung: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	deadline := time.Now().Add(patience)
	for ended := false; !ended; {
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatal("the second interrupt did not end it")
		}
		cmd.Process.Signal(os.Interrupt) // again where the first was not yet taken
		select {
		case <-done:
			ended = true
		case <-time.After(time.Second):
		}
	}
	if status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v, want it ended by the signal", cmd.ProcessState)
	}
}

// TestInterruptedExplanationListsItsMaps sends both signals once there is a
// map; explain.json lists maps that are complete.
func TestInterruptedExplanationListsItsMaps(t *testing.T) {
	work := newWorkplace(t)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		out := filepath.Join(work, fmt.Sprint("maps", int(s)))
		args := []string{"--threads", "1", "explain", "-m", "model.onnx", "-o", out, "--batch", "2"}
		for range 60 { // thousands of pictures
			args = append(args, "data/images")
		}
		cmd := relevit(work, args...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if there, _ := filepath.Glob(filepath.Join(out, "*", "*", "*.npy")); len(there) > 0 {
				break
			}
		}
		cmd.Process.Signal(s)
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != interrupted || !bytes.Contains(said.Bytes(), []byte("of 2880 pictures are explained in")) {
			t.Fatalf("%v: exit code %d, want %d; it said\n%s", s, code, interrupted, said.Bytes())
		}
		var e pipeline.Explanation
		if err := json.Unmarshal(read(t, out, "explain.json"), &e); err != nil {
			t.Fatal(err)
		}
		if len(e.Pictures) == 0 || len(e.Pictures) == 2880 {
			t.Errorf("%v: %d pictures are listed", s, len(e.Pictures))
		}
		for _, p := range e.Pictures {
			if got, want := len(read(t, out, p.Map)), 128+4*32*32; got != want {
				t.Errorf("%s has %d bytes, want %d", p.Map, got, want)
			}
		}
	}
}
