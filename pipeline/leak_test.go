package pipeline

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestMain fails where a test leaves a goroutine, a session or a buffer behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(orttest.Exit)) }
