package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestSecondProcessIsToldWhoWrites stops a process in the middle of its work,
// starts a second one on the same folder, and kills the first: only then the
// second goes on, by the lock that the dead one left.
func TestSecondProcessIsToldWhoWrites(t *testing.T) {
	tried(t, "two processes at once", 3)
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
			first := stopped(t, work, args, c.name, c.begun)
			defer first.Process.Kill()
			second := relevit(work, args...)
			out, _ := second.CombinedOutput()
			want := fmt.Sprintf("%s is in use by process %d on %s since 20", c.name, first.Process.Pid, host)
			if code := second.ProcessState.ExitCode(); code != failed || !bytes.Contains(out, []byte(want)) || bytes.Count(out, []byte("relevit: ")) != 1 {
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

// stopped starts a command and stops it once a file of its folder has lines. One
// that is over by then starts again on nothing.
func stopped(t *testing.T, dir string, args []string, folder, begun string) *exec.Cmd {
	t.Helper()
	for range 20 {
		cmd := relevit(dir, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			if there, _ := filepath.Glob(filepath.Join(dir, folder, begun)); len(there) > 0 && bytes.Count(read(t, there[0]), []byte("\n")) > 2 {
				break
			}
			if time.Now().After(deadline) {
				cmd.Process.Kill()
				t.Fatal("it never began")
			}
		}
		cmd.Process.Signal(syscall.SIGSTOP)
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil {
			t.Fatal(err)
		}
		if status.Stopped() {
			return cmd
		}
		if err := os.RemoveAll(filepath.Join(dir, folder)); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("%v was always over before it could be stopped", args)
	return nil
}
