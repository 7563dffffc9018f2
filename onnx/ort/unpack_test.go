package ort

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/memtest"
)

const testMember = "package/lib.so"

func zipped(t testing.TB, content string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(testMember)
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t testing.TB, content string, kind byte) []byte {
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	h := &tar.Header{Name: testMember, Typeflag: kind, Mode: 0o644}
	if kind == tar.TypeReg {
		h.Size = int64(len(content))
	} else {
		h.Linkname = "/etc/passwd"
	}
	err := w.WriteHeader(h)
	if err == nil && kind == tar.TypeReg {
		_, err = w.Write([]byte(content))
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = g.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpackTakesNoMoreThanTheLargestLibrary(t *testing.T) {
	defer func(former int64) { maxMember = former }(maxMember)
	maxMember = 1000
	for name, data := range map[string][]byte{"a.whl": zipped(t, strings.Repeat("x", 1001)), "a.tgz": tarred(t, strings.Repeat("x", 1001), tar.TypeReg)} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := unpack(path, testMember, filepath.Join(t.TempDir(), "out")); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzUnpack takes a library out of a package that somebody else made.
func FuzzUnpack(f *testing.F) {
	f.Add(zipped(f, "library"), false)
	f.Add(tarred(f, "library", tar.TypeReg), true)
	f.Add(tarred(f, "", tar.TypeSymlink), true)
	maxMember = 1 << 20
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, gz bool) {
		archive, dst := filepath.Join(dir, "a.whl"), filepath.Join(dir, "library")
		if gz {
			archive = filepath.Join(dir, "a.tgz")
		}
		if err := os.WriteFile(archive, data, 0o666); err != nil {
			t.Fatal(err)
		}
		var err error
		memtest.Within(t, len(data), 64, 4<<20, func() { err = unpack(archive, testMember, dst) })
		if err == nil {
			info, err := os.Lstat(dst)
			if err != nil || !info.Mode().IsRegular() || info.Size() > maxMember {
				t.Errorf("%v, %v", info, err)
			}
		}
		os.Remove(dst)
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 2 {
			t.Errorf("files appeared: %v, %v", entries, err)
		}
		os.Remove(archive)
	})
}
