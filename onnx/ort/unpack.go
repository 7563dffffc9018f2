package ort

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxMember bounds what is unpacked of a file. Libraries with kernels for GPUs
// have up to 0.5 GB.
var maxMember int64 = 2 << 30

// unpack copies one member of a zip file (wheels and jars are zip files too) or
// of a compressed tar file to dst, and makes sure that it is on the disk.
func unpack(archive, member, dst string) error {
	var err error
	if strings.HasSuffix(archive, ".tgz") || strings.HasSuffix(archive, ".tar.gz") {
		err = unpackTar(archive, member, dst)
	} else {
		err = unpackZip(archive, member, dst)
	}
	if err != nil {
		return fmt.Errorf("unpacking %s from %s: %w", member, filepath.Base(archive), err)
	}
	return nil
}

func unpackZip(archive, member, dst string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	r, err := z.Open(member)
	if err != nil {
		return err
	}
	defer r.Close()
	return save(r, dst)
}

func unpackTar(archive, member, dst string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return os.ErrNotExist
		}
		if err != nil {
			return err
		}
		if path.Clean(h.Name) == member && h.Typeflag == tar.TypeReg {
			return save(tr, dst)
		}
	}
}

func save(r io.Reader, dst string) error {
	f, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(r, maxMember+1))
	if err != nil {
		return err
	}
	if n > maxMember {
		return fmt.Errorf("it has more than %d MB", maxMember>>20)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}
