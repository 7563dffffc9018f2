package onnx

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// oracleModels lists the foreign models of ../shared/oracle.
func oracleModels(t *testing.T) []string {
	t.Helper()
	models, err := filepath.Glob("../../shared/oracle/*/model.onnx")
	if err != nil || len(models) == 0 {
		t.Skip("../shared/oracle is absent: no foreign models to read")
	}
	return models
}

func TestForeignFilesComeBackBitExact(t *testing.T) {
	for _, path := range oracleModels(t) {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d, err := ReadDocument(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes came back as %d others", path, len(want), len(got))
		}
		out := filepath.Join(t.TempDir(), "model.onnx")
		if err := d.WriteFile(out); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the written file differs (%v)", path, err)
		}
	}
}

func TestTruncatedFilesGiveOneFormatError(t *testing.T) {
	for _, path := range oracleModels(t) {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cut := filepath.Join(t.TempDir(), "cut.onnx")
		for percent := range 100 {
			if err := os.WriteFile(cut, whole[:len(whole)*percent/100], 0o666); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, _, err := ReadModel(cut)
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Fatalf("%s at %d%%: got %v, expected a FormatError", path, percent, err)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("%s at %d%%: took %v", path, percent, d)
			}
			if percent%20 == 9 {
				t.Log(err)
			}
		}
	}
}

func TestDamagedFilesNeverPanic(t *testing.T) {
	for _, path := range oracleModels(t) {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(1, 2))
		for i := range 400 {
			data := bytes.Clone(whole)
			reach := len(data)
			if i%2 == 0 {
				reach /= 10 // where the nodes are
			}
			for range 1 + i%3 {
				data[random.IntN(reach)] ^= byte(1 + random.IntN(255))
			}
			d, err := ParseDocument(data, "")
			if err == nil {
				if !bytes.Equal(d.Bytes(), data) {
					t.Fatalf("%s: damaged file %d doesn't come back as it was", path, i)
				}
				_, err = d.Model()
			}
			var fe *FormatError
			if err != nil && !errors.As(err, &fe) {
				t.Fatalf("%s: damaged file %d: %v is no FormatError", path, i, err)
			}
		}
	}
}

func TestMissingAndOddFilesSayWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := ReadModel(filepath.Join(dir, "none.onnx")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, _, err := ReadModel(dir); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
	d, err := ParseDocument(file(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.WriteFile(filepath.Join(dir, "none", "model.onnx")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("writing into a missing folder: %v", err)
	}
}
