package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// folderLock is one process's right to write in a folder. It is the kernel's, so
// that it ends with the process, however that ends; the file only says whose it
// is.
type folderLock struct {
	f    *os.File
	path string
}

// holder is what the lock file says of the process that has the lock.
type holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// LockedError says that another process writes in a folder.
type LockedError struct {
	Dir    string
	holder *holder // nil where it isn't told
	Advice string
}

func (e *LockedError) Error() string {
	who := "another process"
	if h := e.holder; h != nil {
		who = fmt.Sprintf("process %d on %s since %s", h.PID, h.Host, h.Since.Format(time.DateTime))
	}
	return fmt.Sprintf("%s is in use by %s: %s", e.Dir, who, e.Advice)
}

const waitForIt = "wait for it, or give another folder by -o"

// flock is the kernel's lock, which a file system need not have.
var flock = func(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// lockFolder locks a folder for this process, or says by a *LockedError who has
// it.
func lockFolder(dir string) (*folderLock, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	err = flock(f)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = &LockedError{dir, holderIn(f), waitForIt}
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK):
		err = nil
		if h := holderIn(f); h != nil && h.maybeAlive() {
			err = &LockedError{dir, h, fmt.Sprintf("%s; if that process is no more, remove %s", waitForIt, path)}
		}
	case err != nil:
		err = fmt.Errorf("locking %s: %w", path, err)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	l := &folderLock{f, path}
	if !l.inPlace() { // its holder removed it, see release
		f.Close()
		return lockFolder(dir)
	}
	if err := l.sign(); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", dir, err), l.release())
	}
	return l, nil
}

// sign writes who has the lock.
func (l *folderLock) sign() error {
	host, _ := os.Hostname() // without it the message says less
	text, err := json.Marshal(holder{PID: os.Getpid(), Host: host, Since: time.Now().Round(time.Second)})
	if err != nil {
		return err
	}
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err = l.f.WriteAt(append(text, '\n'), 0)
	return err
}

// release lets other processes have the folder. The file goes first: whoever
// has opened it by then finds that it is no more, and makes another.
func (l *folderLock) release() error {
	if l == nil {
		return nil
	}
	if l.inPlace() {
		os.Remove(l.path) // where that fails, the file stays and locks nothing
	}
	return l.f.Close()
}

// inPlace reports whether the locked file is still the one at its path.
func (l *folderLock) inPlace() bool {
	held, err := l.f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(l.path)
	return err == nil && os.SameFile(held, there)
}

// holderIn reads a lock file, nil where it says nothing.
func holderIn(f *os.File) *holder {
	h := &holder{}
	if json.NewDecoder(f).Decode(h) != nil || h.PID <= 0 {
		return nil
	}
	return h
}

// maybeAlive reports whether a holder may still be there: of another host's
// processes nothing is known.
func (h *holder) maybeAlive() bool {
	host, err := os.Hostname()
	if err != nil || h.Host != host {
		return true
	}
	return h.PID != os.Getpid() && !errors.Is(unix.Kill(h.PID, 0), unix.ESRCH)
}
