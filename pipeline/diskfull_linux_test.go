package pipeline

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/relevit/relevit/models/atomic"
)

// TestFullDiskProcess is no test: TestFullDiskKeepsTheCheckpointBefore runs it
// in a mount namespace of its own.
func TestFullDiskProcess(t *testing.T) {
	dir := os.Getenv("RELEVIT_TEST_FILL")
	if dir == "" {
		t.Skip("run by another test")
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		fmt.Println("cannot mount:", err)
		return
	}
	r, err := CreateRun(dir+"/run", config(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SaveCheckpoint(Last, checkpointAt(1, 10_000)); err != nil { // 280 kB
		t.Fatal(err)
	}
	for range 2 {
		err := r.SaveCheckpoint(Last, checkpointAt(2, 30_000)) // 840 kB
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("saving on a full disk: %v, want ENOSPC", err)
		}
	}
	c, err := r.LoadCheckpoint(Last)
	if err != nil {
		t.Fatal(err)
	}
	if at(t, c) != 1 {
		t.Errorf("the checkpoint is of step %d, want 1", at(t, c))
	}
	err = atomic.Write(r.Path("big"), func(w io.Writer) error {
		_, err := w.Write(make([]byte, 2<<20))
		return err
	})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a file too big: %v, want ENOSPC", err)
	}
	for folder, want := range map[string]int{checkpoints: 1, ".": 6} { // config.yaml, .lock, 4 folders
		entries, err := os.ReadDir(r.Path(folder))
		if err != nil || len(entries) != want {
			t.Errorf("%s holds %v (%v), want %d entries and no leftovers", folder, entries, err, want)
		}
	}
	if err := r.SaveCheckpoint(Last, checkpointAt(3, 10_000)); err != nil {
		t.Errorf("a checkpoint that fits again: %v", err)
	}
}

func TestFullDiskKeepsTheCheckpointBefore(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDiskProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "RELEVIT_TEST_FILL="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) || strings.Contains(string(out), "cannot mount"):
		t.Skipf("needs a user namespace, to mount a small file system: %v %s", err, out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
}
