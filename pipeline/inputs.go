package pipeline

import (
	"fmt"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// Inputs is the memory of one batch, which the training and the eval graph read.
type Inputs struct {
	Image, Mask, Label *ort.Buffer

	names *Graphs
	ahead *ahead // nil where Go and the sessions see the same memory
}

// ahead is a batch that goes up to a device while the one before is computed.
type ahead struct {
	Inputs
	sent bool
}

// NewInputs allocates a batch for the graphs, in the CPU's memory.
func NewInputs(gs *Graphs) (Inputs, error) { return newInputs(gs, ort.NewBuffer) }

// NewInputs allocates a batch that Go fills and Compute takes.
func (s *Stepper) NewInputs(gs *Graphs) (in Inputs, err error) {
	if in, err = newInputs(gs, s.place.NewStage); err != nil || !s.place.Apart() {
		return in, err
	}
	there, err := newInputs(gs, s.place.NewBuffer)
	if err != nil {
		in.Close()
		return in, err
	}
	in.ahead = &ahead{Inputs: there}
	return in, nil
}

func newInputs(gs *Graphs, make func(onnx.DType, ...int64) (*ort.Buffer, error)) (in Inputs, err error) {
	in.names = gs
	for _, v := range gs.Training.Inputs {
		var to **ort.Buffer
		switch v.Name {
		case gs.Image:
			to = &in.Image
		case gs.Mask:
			to = &in.Mask
		case gs.Label:
			to = &in.Label
		default:
			continue
		}
		if *to, err = make(v.Type, v.Shape.Ints()...); err != nil {
			in.Close()
			return in, fmt.Errorf("batch input %s: %w", v.Name, err)
		}
	}
	return in, nil
}

// Send brings the batch up to where the sessions compute. It may go on beside a
// step of another batch; where it wasn't called, Compute does it.
func (in Inputs) Send() error {
	if in.ahead == nil {
		return nil
	}
	if err := in.ahead.take(in); err != nil {
		return err
	}
	in.ahead.sent = true
	return nil
}

// take copies another batch, from where it was sent to if it was.
func (in Inputs) take(from Inputs) error {
	source := from
	if from.ahead != nil && from.ahead.sent {
		source = from.ahead.Inputs
		from.ahead.sent = false
	}
	for _, pair := range [][2]*ort.Buffer{{in.Image, source.Image}, {in.Mask, source.Mask}, {in.Label, source.Label}} {
		if err := pair[0].Copy(pair[1]); err != nil {
			return err
		}
	}
	return nil
}

// bind lets a session read the batch.
func (in Inputs) bind(s *ort.Session) error {
	for name, b := range map[string]*ort.Buffer{in.names.Image: in.Image, in.names.Mask: in.Mask, in.names.Label: in.Label} {
		if err := s.Bind(name, b); err != nil {
			return err
		}
	}
	return nil
}

// slot is the batch as memory for a loader to fill.
func (in Inputs) slot() dataset.Slot {
	return dataset.Slot{Images: in.Image.Float32s(), Masks: in.Mask.Float32s(), Labels: in.Label.Int64s()}
}

// Close frees the batch.
func (in Inputs) Close() {
	for _, b := range []*ort.Buffer{in.Image, in.Mask, in.Label} {
		b.Close()
	}
	if in.ahead != nil {
		in.ahead.Close()
	}
}
