package npz

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/memtest"
)

func same(a, b *onnx.Tensor) bool {
	return a.Type == b.Type && slices.Equal(a.Dims, b.Dims) && bytes.Equal(a.Raw, b.Raw)
}

func expected(t *testing.T) *safetensors.File {
	f, err := safetensors.Open("testdata/expected.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestArraysEqualNumPys(t *testing.T) {
	want := expected(t)
	for _, name := range []string{"stored", "deflated"} {
		f, err := Open(filepath.Join("testdata", name+".npz"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got, want := slices.Sorted(slices.Values(f.Names())), slices.Sorted(slices.Values(want.Names())); !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
		for _, array := range f.Names() {
			got, err := f.Tensor(array)
			if err != nil {
				t.Error(err)
				continue
			}
			if w, err := want.Tensor(array); err != nil || !same(got, w) {
				t.Errorf("%s: %s is %v%v, want %v%v, or differs in value (%v)", name, array, got.Type, got.Dims, w.Type, w.Dims, err)
			}
		}
	}
}

func TestAllVersionsOfArraysRead(t *testing.T) {
	want, err := expected(t).Tensor("types/f4")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"1", "2", "3"} {
		data, err := os.ReadFile("testdata/version" + version + ".npy")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Array(data); err != nil || !same(got, want) {
			t.Errorf("version %s: %v, %v", version, got, err)
		}
		for n := range data {
			if _, err := Array(data[:n]); err == nil {
				t.Errorf("version %s: the first %d of %d bytes were read", version, n, len(data))
			}
		}
	}
}

// array lays out a .npy file of version 1.
func array(header string, data int) []byte {
	return append(append([]byte(Magic), 1, 0, byte(len(header)), byte(len(header)>>8)), append([]byte(header), make([]byte, data)...)...)
}

func TestFaultyArraysAreRefused(t *testing.T) {
	for want, data := range map[string][]byte{
		"no NumPy array":         []byte("PK\x03\x04 and more"),
		"version 9":              append([]byte(Magic), 9, 0, 0, 0),
		"too long":               append([]byte(Magic), 2, 0, 255, 255, 255, 255),
		"Python objects":         array("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8),
		"texts":                  array("{'descr': '<U3', 'fortran_order': False, 'shape': (1,), }", 12),
		"several fields":         array("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4),
		`type "<f3"`:             array("{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }", 4),
		`type ""`:                array("{'descr': '', 'fortran_order': False, 'shape': (1,), }", 4),
		"needs 8 bytes, and 4":   array("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 4),
		"too large":              array("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }", 4),
		"at \"99999999999":       array("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 4),
		"at \"-1":                array("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 4),
		"at \"__import__":        array("{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,), }", 4),
		"at \"1, 'shape'":        array("{'descr': '<f4', 'fortran_order': 1, 'shape': (1,), }", 4),
		"understood at \"more":   array("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } more", 4),
		"understood at \"\"":     array("{'descr': '<f4', 'shape': (1,), }", 4),
		"understood at \" '<f8'": array("{'descr': '<f4', 'descr': '<f8', 'shape': (1,), }", 4),
		"understood at \"[1,]":   array("{'descr': '<f4', 'fortran_order': False, 'shape': [1,], }", 4),
		"understood at \" 3":     array("{'other': 3}", 4),
	} {
		if got, err := Array(data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q gives %v, %v, want %q", data, got, err, want)
		}
	}
}

func readAll(data []byte) error {
	f, err := Parse("x.npz", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, name := range f.Names() {
		t, err := f.Tensor(name)
		if err == nil {
			err = t.Check()
		}
		if err != nil {
			return err
		}
	}
	if err := f.Check(); err != nil {
		return fmt.Errorf("all arrays were read, but Check says: %v", err) // without an exit code
	}
	return nil
}

func TestArchivesThatArentNumbersAreRefused(t *testing.T) {
	for name, want := range map[string]string{"objects": "array x: it holds Python objects", "texts": "array x: it holds texts", "fields": "several fields"} {
		data, err := os.ReadFile("testdata/refused-" + name + ".npz")
		if err != nil {
			t.Fatal(err)
		}
		var e *Error
		if err := readAll(data); !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if _, err := w.Create("../evil.sh"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := readAll(b.Bytes()); err == nil || !strings.Contains(err.Error(), "no array") {
		t.Errorf("an archive of something else gives %v", err)
	}
}

func TestArchivesThatAreCutFail(t *testing.T) {
	data, err := os.ReadFile("testdata/deflated.npz")
	if err != nil {
		t.Fatal(err)
	}
	for percent := range 100 {
		if err := readAll(data[:len(data)*percent/100]); err == nil {
			t.Errorf("%d %% of the file were read", percent)
		}
	}
}

// TestArraysOfZerosDontFillTheMemory packs 200 MB of zeros.
func TestArraysOfZerosDontFillTheMemory(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("x.npy")
	for range 200 {
		if err == nil {
			_, err = f.Write(make([]byte, 1<<20))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	err = readAll(b.Bytes())
	runtime.ReadMemStats(&after)
	if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; err == nil || mb > 10 || time.Since(start) > 10*time.Second {
		t.Errorf("it took %d MB, %v: %v", mb, time.Since(start), err)
	}
}

func FuzzArray(f *testing.F) {
	for _, version := range []string{"1", "2", "3"} {
		data, err := os.ReadFile("testdata/version" + version + ".npy")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(array("{'descr': '>i2', 'fortran_order': True, 'shape': (2L, 2L), }", 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a *onnx.Tensor
		var err error
		memtest.Within(t, len(data), 64, 1<<20, func() { a, err = Array(data) })
		if err == nil && a.Check() != nil {
			t.Fatal(a.Check())
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"stored", "deflated", "refused-objects"} {
		data, err := os.ReadFile("testdata/" + name + ".npz")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var err error
		memtest.Within(t, len(data), 2*1100, 4<<20, func() { err = readAll(data) }) // what deflate can unpack, and a copy
		if e := (interface{ ExitCode() int })(nil); err != nil && !errors.As(err, &e) {
			t.Fatalf("%v has no exit code", err)
		}
	})
}
