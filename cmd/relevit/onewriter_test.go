package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestSecondProcessIsToldWhoWrites stops a process in the middle of its work,
// starts a second one on the same folder, and kills the first: only then the
// second goes on, by the lock that the dead one left.
func TestSecondProcessIsToldWhoWrites(t *testing.T) {
	work := newWorkplace(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if err := writePictures(filepath.Join(work, "many"), 300); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		args  []string
		begun string // the file, as a pattern, that grows once the process works
	}{
		{"run", []string{"finetune", "-c", "c.yaml", "--resume"}, "log.jsonl"},
		{"batch", []string{"finetune", "-c", "c.yaml", "--set", "sweep.seed=[0, 1]", "--set", "steps=8", "--resume"}, "*/log.jsonl"},
		{"masks", []string{"masks", "--images", "many/images", "--model", "model.onnx", "--min-confidence", "0"}, "masks.jsonl"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append(c.args, "-o", c.name)
			first := relevit(work, args...)
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			defer first.Process.Kill()
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				if there, _ := filepath.Glob(filepath.Join(work, c.name, c.begun)); len(there) > 0 && bytes.Count(read(t, there[0]), []byte("\n")) > 2 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("it never began")
				}
			}
			if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			second := relevit(work, args...)
			out, _ := second.CombinedOutput()
			want := fmt.Sprintf("%s is in use by process %d on %s since 20", c.name, first.Process.Pid, host)
			if code := second.ProcessState.ExitCode(); code != failed || !bytes.Contains(out, []byte(want)) || bytes.Count(out, []byte("\n")) != 1 {
				t.Errorf("exit code %d, want %d and one line with %q:\n%s", code, failed, want, out)
			}
			if err := first.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			first.Wait()
			lock := filepath.Join(work, c.name, ".lock")
			if _, err := os.Stat(lock); err != nil {
				t.Errorf("the dead process has left no lock: %v", err)
			}
			mustRun(t, work, args...)
			if _, err := os.Stat(lock); err == nil {
				t.Error("the lock file is still there")
			}
		})
	}
}
