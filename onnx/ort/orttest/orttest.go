// Package orttest lets tests of any package use ONNX Runtime where it is installed.
package orttest

import (
	"fmt"
	"os"
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

// Exit ends a package's tests, for goleak.Cleanup: those that left a session or
// a buffer open have failed.
func Exit(code int) {
	if left := ort.Held(); left != (ort.Counts{}) && code == 0 {
		fmt.Fprintf(os.Stderr, "the tests left %v open\n", left)
		code = 1
	}
	os.Exit(code)
}

// NeedCUDA returns options for the first GPU, or skips the test and says what is
// missing. A process has one runtime library, and `make test-cuda` names the one
// with CUDA for all tests; without that, looking for it would load it.
func NeedCUDA(t testing.TB) ort.Options {
	t.Helper()
	if os.Getenv("RELEVIT_RUNTIME") == "" {
		t.Skip("needs a GPU and ONNX Runtime with CUDA: make test-cuda")
	}
	opt := ort.Options{Device: "cuda"}
	err := opt.Load()
	switch {
	case err == nil:
	case ort.IsMissing(err):
		t.Skipf("needs a GPU (see make test-cuda): %v", err)
	default:
		t.Fatal(err)
	}
	return opt
}
