// Package orttest lets tests of any package use ONNX Runtime where it is installed.
package orttest

import (
	"testing"

	"github.com/relevit/relevit/onnx/ort"
)

// Need loads the runtime library, or skips the test and says why.
func Need(t testing.TB) {
	t.Helper()
	err := ort.Load("")
	switch {
	case err == nil:
	case ort.IsMissing(err):
		t.Skipf("needs ONNX Runtime: %v", err)
	default:
		t.Fatal(err)
	}
}
