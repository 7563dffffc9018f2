package models

import (
	"os"
	"path/filepath"
	"testing"
)

// shared returns a path in the folder of reference data beside the project, or
// skips the test.
func shared(t *testing.T, parts ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{"..", "..", "shared"}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("reference data is absent: %v", err)
	}
	return path
}
