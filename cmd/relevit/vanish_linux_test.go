package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRunOutlivesItsPictures takes away, cuts or replaces a picture or a mask while a run reads them. It ends with one error that names
// the file, and goes on to the same bits once the file is back.
func TestRunOutlivesItsPictures(t *testing.T) {
	tried(t, "a picture or mask vanishes or changes while it is read", 4)
	work := newWorkplace(t)
	args := func(run string) []string {
		return []string{"--threads", "1", "finetune", "-c", "c.yaml", "--set", "data.validation.split=none", "--resume", "-o", run}
	}
	mustRun(t, work, args("whole")...)
	for _, c := range []struct {
		name, file string
		spoil      func(path string) error
		says       string
	}{
		{"vanishes", "images", os.Remove, "no such file"},
		{"mask vanishes", "masks", os.Remove, "no such file"},
		{"mask changes its size", "masks", func(path string) error { return os.WriteFile(path, []byte(tinyPNG), 0o666) }, "1x1"},
		{"mask is cut off", "masks", func(path string) error { return os.Truncate(path, 60) }, "00005.png"},
	} {
		run := strings.ReplaceAll(c.name, " ", "-")
		path := filepath.Join(work, "data", c.file, "star", "00005.png")
		kept := read(t, path)
		var said bytes.Buffer
		begin := func() *exec.Cmd {
			said.Reset()
			if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, kept, 0o666)); err != nil {
				t.Fatal(err)
			}
			cmd := relevit(work, args(run)...)
			cmd.Stderr = &said
			return cmd
		}
		folder := filepath.Join(work, run)
		cmd := struck(t, begin, folder, folder, 8, func(*exec.Cmd) {
			if err := c.spoil(path); err != nil {
				t.Fatal(err)
			}
		})
		if code := cmd.ProcessState.ExitCode(); code != badInput || strings.Count(said.String(), "relevit: ") != 1 ||
			!strings.Contains(said.String(), c.says) || !strings.Contains(said.String(), "star/00005.png") {
			t.Errorf("%s: exit code %d; it said\n%s", c.name, code, &said)
		}
		if c.says == "no such file" {
			isOnPage(t, said.String(), badInput)
		}
		if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, kept, 0o666)); err != nil {
			t.Fatal(err)
		}
		checkCheckpoints(t, filepath.Join(work, run), map[string]bool{"last": true})
		mustRun(t, work, args(run)...)
		sameRuns(t, filepath.Join(work, "whole"), filepath.Join(work, run))
	}
}

// TestReadOnlyDisk runs itself again where it may mount a file system and make
// it read-only: before a run begins, and under a run at work.
func TestReadOnlyDisk(t *testing.T) {
	disk := os.Getenv("RELEVIT_TEST_READ_ONLY")
	if disk == "" {
		inNamespace(t, "RELEVIT_TEST_READ_ONLY")
		return
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Skip("cannot mount: ", err)
	}
	tried(t, "the disk is read-only", 4)
	readOnly := func(on bool) {
		flags := uintptr(unix.MS_REMOUNT)
		if on {
			flags |= unix.MS_RDONLY
		}
		if err := unix.Mount("tmpfs", disk, "tmpfs", flags, ""); err != nil {
			t.Error(err)
		}
	}
	work := newWorkplace(t)
	readOnly(true)
	for _, args := range [][]string{{"finetune", "-c", "c.yaml", "-o"}, {"export", "model.onnx", "-o"}, {"masks", "--images", "data/images", "--model", "model.onnx", "-o"},
		{"explain", "-m", "model.onnx", "data/images", "-o"}} {
		out, err := relevit(work, append(args, filepath.Join(disk, "x.onnx"))...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != failed || !bytes.Contains(out, []byte("read-only file system")) || bytes.Count(out, []byte("relevit: ")) != 1 {
			t.Errorf("%v: %v; it said\n%s", args, err, out)
		}
		isOnPage(t, string(out), failed)
	}
	readOnly(false)
	if entries, err := os.ReadDir(disk); err != nil || len(entries) > 0 {
		t.Errorf("on the disk are %v (%v)", entries, err)
	}
}

// inNamespace runs the same test again as a process that may mount, with a
// folder to mount on in a variable.
func inNamespace(t *testing.T, variable string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC):
		t.Skipf("needs a user namespace, to mount a small file system: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, &out)
	case bytes.Contains(out.Bytes(), []byte("--- SKIP")):
		t.Skipf("%s", &out)
	}
}
