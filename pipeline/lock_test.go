package pipeline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLockSaysWhoHasItAndGoesWithIt(t *testing.T) {
	dir := t.TempDir()
	l, err := lockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockFolder(dir)
	var held *LockedError
	if want := fmt.Sprintf("%s is in use by process %d on %s since 2", dir, os.Getpid(), host); !errors.As(err, &held) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want a *LockedError that begins %q", err, want)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("after its release there are %v (%v)", entries, err)
	}
	// The file alone locks nothing.
	if err := os.WriteFile(filepath.Join(dir, lockName), []byte(`{"pid":1,"host":"elsewhere"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if l, err = lockFolder(dir); err != nil {
		t.Fatal(err)
	}
	l.release()
}

// Where the file system has no locks, the file decides: of a process that is no
// more, it is taken over.
func TestLockFileServesWhereThereAreNoLocks(t *testing.T) {
	kernel := flock
	flock = func(*os.File) error { return unix.ENOSYS }
	t.Cleanup(func() { flock = kernel })
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	none := 1 << 30 // above the largest PID of Linux
	for text, taken := range map[string]bool{
		"":                           true,
		"{":                          true,
		`{"pid":1,"host":"another"}`: false,
		fmt.Sprintf(`{"pid":%d,"host":%q}`, none, host):         true,
		fmt.Sprintf(`{"pid":%d,"host":%q}`, os.Getppid(), host): false,
		fmt.Sprintf(`{"pid":%d,"host":%q}`, os.Getpid(), host):  true, // ours, before a restart of the machine or container
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, lockName), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		l, err := lockFolder(dir)
		if taken {
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			l.release()
		} else if held := (*LockedError)(nil); !errors.As(err, &held) || !strings.Contains(err.Error(), "if that process is no more, remove "+filepath.Join(dir, lockName)) {
			t.Errorf("%s: error %v, want a *LockedError that says what to do", text, err)
		}
	}
}
