package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/models/atomic"
)

func TestABatchIsMadeWhereAnotherWasKilledAtItsBeginning(t *testing.T) {
	dir := t.TempDir()
	err := errors.Join(os.WriteFile(filepath.Join(dir, lockName), nil, 0o666), os.WriteFile(atomic.Temporary(filepath.Join(dir, batchName)), []byte("ru"), 0o666))
	if err != nil {
		t.Fatal(err)
	}
	if err := vacantForBatch(dir); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := vacantForBatch(dir); !errors.As(err, new(*ExistsError)) || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("a folder with another's file: %v", err)
	}
}
