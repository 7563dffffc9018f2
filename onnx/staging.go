package onnx

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// staging writes files beside their final places and then moves all of them
// there, so that a failure leaves nothing half-written.
type staging struct{ files []staged }

type staged struct{ temp, path string }

// file writes a temporary file for path and syncs it to disk.
func (s *staging) file(path string, write func(io.Writer) error) error {
	return s.open(path, func(f *os.File) error { return write(f) })
}

func (s *staging) open(path string, write func(*os.File) error) error {
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text()[:8]+".tmp")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	s.files = append(s.files, staged{temp, path})
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// commit moves the files to their places, in the order of their writing.
func (s *staging) commit() error {
	dirs := map[string]bool{}
	for len(s.files) > 0 {
		f := s.files[0]
		if err := os.Rename(f.temp, f.path); err != nil {
			return err
		}
		s.files = s.files[1:]
		dirs[filepath.Dir(f.path)] = true
	}
	for dir := range dirs {
		if d, err := os.Open(dir); err == nil {
			d.Sync() // not every file system can; the files themselves are synced
			d.Close()
		}
	}
	return nil
}

// abandon removes what wasn't committed.
func (s *staging) abandon() {
	for _, f := range s.files {
		os.Remove(f.temp)
	}
}
