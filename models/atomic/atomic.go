// Package atomic writes files that appear complete or not at all.
package atomic

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Write makes a file of what write writes, which is there whole even if the
// machine stops: in a temporary file beside it, synced, renamed, and the folder
// synced. After an error the former file, if any, is still there. What a killed
// process leaves is taken by the next one that writes the file. Two processes
// can't write it at the same time.
func Write(path string, write func(io.Writer) error) error {
	err := replace(path, write, (*os.File).Sync)
	if err == nil {
		err = SyncFolder(filepath.Dir(path))
	}
	return of(path, err)
}

// WriteUnsynced is Write for one of many files that can be made again: it waits
// for no disk, so that a power cut may leave it empty.
func WriteUnsynced(path string, write func(io.Writer) error) error {
	return of(path, replace(path, write, func(*os.File) error { return nil }))
}

// WriteInPlace writes a file into a folder that is renamed as a whole, and waits
// until it is on the disk. A failure leaves what there is for the caller to
// remove.
func WriteInPlace(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	return errors.Join(fill(f, write, (*os.File).Sync), f.Close())
}

// SyncFolder makes renames in a folder outlive a power cut.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) { // not every file system can
		return err
	}
	return nil
}

func replace(path string, write func(io.Writer) error, sync func(*os.File) error) error {
	f, err := temporary(path)
	if err != nil {
		return err
	}
	if err = f.Truncate(0); err == nil {
		err = fill(f, write, sync)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return errors.Join(err, f.Close()) // the lock ends here
}

func fill(f *os.File, write func(io.Writer) error, sync func(*os.File) error) error {
	b := bufio.NewWriterSize(f, 1<<16)
	err := write(b)
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = sync(f)
	}
	return err
}

// Temporary is where a file is until it is complete: where a killed process
// leaves it.
func Temporary(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
}

// temporary opens the temporary file for path, which is locked where the file
// system has locks.
func temporary(path string) (*os.File, error) {
	name := Temporary(path)
	for {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o666)
		if err != nil {
			return nil, err
		}
		if errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) {
			f.Close()
			return nil, errors.New("another process is writing it; wait for it, or name another file")
		}
		held, err := f.Stat()
		there, errThere := os.Lstat(name)
		if err == nil && errThere == nil && os.SameFile(held, there) {
			return f, nil
		}
		f.Close()
		if err = errors.Join(err, errThere); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		} // another process was done with it meanwhile
	}
}

// of says of which file an error is, and not of its temporary one.
func of(path string, err error) error {
	if err == nil {
		return nil
	}
	if on := (*os.PathError)(nil); errors.As(err, &on) && on.Path == Temporary(path) {
		err = on.Err
	}
	if on := (*os.LinkError)(nil); errors.As(err, &on) && on.New == path {
		err = on.Err
	}
	return fmt.Errorf("writing %s: %w", path, err)
}
