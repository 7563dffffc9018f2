package ort

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails where a test leaves a goroutine, a session or a buffer behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if left := Held(); left != (Counts{}) && code == 0 {
			fmt.Fprintf(os.Stderr, "the tests left %v open\n", left)
			code = 1
		}
		os.Exit(code)
	}))
}
