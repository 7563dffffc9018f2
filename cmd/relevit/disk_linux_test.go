package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/relevit/relevit/models"
)

// TestDiskErrorsSayWhatToDo has the first writing, and the first reading, fail
// in each way.
func TestDiskErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	if err := makeFixtures(dir); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		errno syscall.Errno
		read  bool
		code  int
	}{{syscall.ENOSPC, false, failed}, {syscall.EROFS, false, failed}, {syscall.EIO, false, failed}, {syscall.EIO, true, badInput}} {
		for _, json := range []bool{false, true} {
			args := []string{"convert", "weights.safetensors", "-o", "out/x.onnx"}
			if json {
				args = append(args, "--json")
			}
			cmd := relevit(dir, args...)
			var printed, said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &printed, &said
			supervised(t, cmd, func(op operation) answer {
				if c.read && op.call == "read" && filepath.Base(op.path) == "weights.safetensors" || !c.read && op.changes() && op.within(out) {
					return answer{errno: c.errno}
				}
				return answer{}
			})
			if code := cmd.ProcessState.ExitCode(); code != c.code || strings.Count(printed.String()+said.String(), c.errno.Error()) != 1 {
				t.Errorf("%v: exit code %d, want %d; it printed\n%s%s", c.errno, code, c.code, &printed, &said)
			}
			isOnPage(t, said.String(), c.code)
		}
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) > 0 {
		t.Errorf("there are %v (%v)", entries, err)
	}
}

// TestRunOnASlowDisk reads pictures that come late, from folders that come late:
// the run ends at the same bits, and Ctrl-C ends it while it waits.
func TestRunOnASlowDisk(t *testing.T) {
	tried(t, "the data folder is on a slow disk", 2)
	work := newWorkplace(t)
	args := func(run string) []string {
		return []string{"--threads", "1", "finetune", "-c", "c.yaml", "--set", "steps=8", "-o", run}
	}
	mustRun(t, work, args("whole")...)
	data, slow := filepath.Join(work, "data"), filepath.Join(work, "slow")
	cmd := relevit(work, args("slow")...)
	var said bytes.Buffer
	cmd.Stderr = &said
	late := 0
	supervised(t, cmd, func(op operation) answer {
		if op.changes() || !op.within(data) {
			return answer{}
		}
		late++
		return answer{after: time.Millisecond}
	})
	if !cmd.ProcessState.Success() || late < 100 {
		t.Fatalf("%v, after %d late readings; it said\n%s", cmd.ProcessState, late, &said)
	}
	sameRuns(t, filepath.Join(work, "whole"), slow)

	cmd = relevit(work, append(args("hung"), "--resume")...)
	said.Reset()
	cmd.Stderr = &said
	var sent bool
	supervised(t, cmd, func(op operation) answer {
		if (&watched{dir: filepath.Join(work, "hung")}).logged() < 3 || !op.within(data) || op.call != "read" {
			return answer{}
		}
		if !sent {
			sent = true
			cmd.Process.Signal(os.Interrupt)
		}
		return answer{after: 300 * time.Millisecond}
	})
	if code := cmd.ProcessState.ExitCode(); code != interrupted || !sent {
		t.Errorf("interrupted while it waits for the disk: exit code %d (signal sent: %v); it said\n%s", code, sent, &said)
	}
	mustRun(t, work, append(args("hung"), "--resume")...)
	sameRuns(t, filepath.Join(work, "whole"), filepath.Join(work, "hung"))
}

// TestRunOnADiskThatBecomesReadOnly goes on to the same bits once it may write
// again.
func TestRunOnADiskThatBecomesReadOnly(t *testing.T) {
	lines := []int{3, 9, 20}
	tried(t, "the run's folder becomes read-only", len(lines))
	work := newWorkplace(t)
	whole, run := filepath.Join(work, "whole"), filepath.Join(work, "run")
	args := []string{"--threads", "1", "finetune", "-c", "c.yaml", "--resume", "-o"}
	mustRun(t, work, append(args, whole)...)
	before := map[string]bool{}
	for _, n := range lines {
		cmd := relevit(work, append(args, run)...)
		var said bytes.Buffer
		cmd.Stderr = &said
		w := &watched{dir: run}
		readOnly := false
		supervised(t, cmd, func(op operation) answer {
			if op.changes() && op.within(run) {
				if readOnly = readOnly || w.logged() >= n; readOnly {
					return answer{errno: syscall.EROFS}
				}
			}
			return answer{}
		})
		if code := cmd.ProcessState.ExitCode(); code != failed || strings.Count(said.String(), "relevit: ") != 1 {
			t.Errorf("after %d lines: exit code %d; it said\n%s", n, code, &said)
		}
		isOnPage(t, said.String(), failed)
		checkCheckpoints(t, run, before)
	}
	mustRun(t, work, append(args, run)...)
	sameRuns(t, whole, run)
}

// TestRunWithoutMemorySaysSo limits a process's memory once it reads its first
// picture, to a part of what a batch needs.
func TestRunWithoutMemorySaysSo(t *testing.T) {
	tried(t, "no memory is left", 1)
	work := newWorkplace(t)
	a, err := models.NewArchitecture(`{"img_size":224,"patch_size":16,"embed_dim":192,"depth":12,"num_heads":3,"num_classes":6}`)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := models.RandomCheckpoint(a, 1)
	if err == nil {
		err = checkpoint.Save(filepath.Join(work, "w.safetensors"))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := relevit(work, "--threads", "1", "finetune", "-c", "c.yaml", "--set", "model=w.safetensors", "--set", "batch=12", "--set", "data.labels=folder", "-o", "run")
	var said bytes.Buffer
	cmd.Stderr = &said
	limited := false
	supervised(t, cmd, func(op operation) answer {
		if !limited && op.call == "read" && op.within(filepath.Join(work, "data")) {
			limited = true
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			_, after, _ := strings.Cut(string(status), "VmData:")
			var kilobytes uint64
			if err == nil {
				_, err = fmt.Sscan(after, &kilobytes)
			}
			if limit := kilobytes<<10 + 128<<20; err == nil {
				err = unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit}, nil)
			}
			if err != nil {
				t.Error(err)
			}
		}
		return answer{}
	})
	if code := cmd.ProcessState.ExitCode(); code != failed || strings.Count(said.String(), "relevit: ") != 1 {
		t.Errorf("exit code %d; it said\n%.3000s", code, &said)
	}
	isOnPage(t, said.String(), failed)
	if _, err := os.Stat(filepath.Join(work, "run")); err == nil {
		t.Error("a run is left that has no checkpoint")
	}
}
