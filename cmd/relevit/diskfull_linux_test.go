package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRunOnAFullDiskGoesOnWhenThereIsRoom runs itself again in a mount
// namespace, where it may mount a small file system.
func TestRunOnAFullDiskGoesOnWhenThereIsRoom(t *testing.T) {
	if disk := os.Getenv("RELEVIT_TEST_DISK"); disk != "" {
		if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
			t.Skip("cannot mount: ", err)
		}
		fillDisks(t, disk)
		return
	}
	inNamespace(t, "RELEVIT_TEST_DISK")
}

func fillDisks(t *testing.T, disk string) {
	tried(t, "the disk is full (ENOSPC)", 11)
	work := newWorkplace(t)
	whole, run := filepath.Join(work, "whole"), filepath.Join(disk, "run")
	args := []string{"--threads", "1", "finetune", "-c", "c.yaml", "--resume", "-o"}
	mustRun(t, work, append(args, whole)...)
	filler := filepath.Join(disk, "filler")

	// No room to begin: nothing stays.
	for _, room := range []int{0, 4, 100, 600} {
		os.Remove(filler)
		fillUp(t, disk, filler, room<<10)
		checkDiskFull(t, work, append(args, run))
		if entries, err := os.ReadDir(disk); err != nil || len(entries) != 1 {
			t.Errorf("with %d kB left: there are %v (%v), want the filler alone", room, entries, err)
		}
	}
	for _, command := range [][]string{{"convert", "weights.safetensors", "-o"}, {"export", whole, "-o"}} {
		os.Remove(filler)
		fillUp(t, disk, filler, 50<<10)
		checkDiskFull(t, work, append(command, filepath.Join(disk, "x.onnx")))
		if entries, err := os.ReadDir(disk); err != nil || len(entries) != 1 {
			t.Errorf("%s: there are %v (%v), want the filler alone", command[0], entries, err)
		}
	}

	// No room to go on, for checkpoints or even for the log.
	before := map[string]bool{}
	for i, lines := range []int{3, 14, 25, 36, 53} {
		os.Remove(filler)
		stop, stopped := make(chan bool), make(chan bool)
		go func() {
			defer close(stopped)
			for w := (&watched{dir: run}); ; time.Sleep(100 * time.Microsecond) {
				select {
				case <-stop:
					return
				default:
					if w.logged() >= lines {
						fillUp(t, disk, filler, []int{0, 100}[i%2]<<10)
					}
				}
			}
		}()
		ended := diskFull(t, work, append(args, run)) == 0
		close(stop)
		<-stopped
		if ended {
			t.Logf("the run ended before the disk was full after %d lines", lines)
			break
		}
		checkCheckpoints(t, run, before)
		if len(before) == 0 {
			t.Errorf("after %d lines there is no checkpoint", lines)
		}
		if files := filesIn(t, run); slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, ".tmp") }) {
			t.Errorf("half-written files are left: %v", files)
		}
	}
	os.Remove(filler)
	mustRun(t, work, append(args, run)...)
	sameRuns(t, whole, run)
}

// checkDiskFull runs a command that must say that the disk is full.
func checkDiskFull(t *testing.T, dir string, args []string) {
	t.Helper()
	if diskFull(t, dir, args) == 0 {
		t.Errorf("%v: ended well", args)
	}
}

// diskFull runs a command that must say that the disk is full, or end well, and
// tells its exit code.
func diskFull(t *testing.T, dir string, args []string) int {
	t.Helper()
	cmd := relevit(dir, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.Run()
	code := cmd.ProcessState.ExitCode()
	if code == 0 {
		return code
	}
	if code != failed || !strings.Contains(said.String(), "no space left on device") ||
		!strings.Contains(said.String(), "free some space") || strings.Count(said.String(), "relevit: ") != 1 {
		t.Errorf("%v: exit code %d; it said\n%s", args, code, &said)
	}
	isOnPage(t, said.String(), failed)
	return code
}

// fillUp makes a file larger until no more than so many bytes of a disk are left.
func fillUp(t *testing.T, disk, filler string, room int) {
	var s unix.Statfs_t
	f, err := os.OpenFile(filler, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err == nil {
		err = unix.Statfs(disk, &s)
		if n := int(s.Bfree)*int(s.Bsize) - room; err == nil && n > 0 {
			_, err = f.Write(make([]byte, n))
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
}
