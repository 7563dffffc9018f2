package atomic

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestAFailedWriteLeavesTheFormerFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	text := func(s string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			io.WriteString(w, s)
			return err
		}
	}
	if err := Write(path, text("first", nil)); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space")
	if err := Write(path, text("second", full)); !errors.Is(err, full) {
		t.Errorf("a failed write gives %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "first" {
		t.Errorf("then the file holds %q, %v", got, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("%v are left behind, %v", entries, err)
	}
}
