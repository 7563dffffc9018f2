package pipeline

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteFile writes a file that appears complete or not at all, even if the
// machine stops: into a temporary file beside it, fsync, rename.
func WriteFile(path string, write func(io.Writer) error) error {
	folder, name := filepath.Split(path)
	if folder == "" {
		folder = "."
	}
	tmp := filepath.Join(folder, fmt.Sprintf(".%s.%d.tmp", name, os.Getpid()))
	err := writeSynced(tmp, write)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncFolder(folder)
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// writeSynced writes a file and waits until it is on the disk. A failure leaves
// what there is for the caller to remove.
func writeSynced(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<16)
	err = write(b)
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// syncFolder makes renames in a folder outlive a power cut.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
