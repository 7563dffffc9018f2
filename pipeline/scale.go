package pipeline

import (
	"fmt"

	"github.com/relevit/relevit/onnx"
)

// A loss scale keeps gradients within float16's range. It is halved when one of
// them leaves the range, and doubled after so many steps without.
const (
	firstScale = 1 << 16
	lastScale  = 1 << 24
	scaleSteps = 2000
)

func isScale(v *onnx.Value) bool { return v.Name == ScaleInput }

// grew counts a step whose gradients were in range.
func (s *LossScale) grew() {
	if s.Steps++; s.Steps >= scaleSteps {
		s.Scale, s.Steps = min(2*s.Scale, lastScale), 0
	}
}

// rescaled is the action of a step that was left out because of the scale.
const rescaled = "rescale"

// LossScale is where the scale of the loss stands.
type LossScale struct {
	Scale float64 `json:"scale"`
	Steps int     `json:"steps"` // since it changed
}

// outOfRange halves the scale because of a gradient that isn't finite, and
// reports whether that may help.
func (t *trainer) outOfRange(e *NotFiniteError) bool {
	s := t.state.LossScale
	if s == nil || !e.Gradient || s.Scale <= 1 {
		return false
	}
	s.Scale, s.Steps = s.Scale/2, 0
	e.Found += fmt.Sprintf(" with the loss times %g; it is times %g from now on", 2*s.Scale, s.Scale)
	return true
}
