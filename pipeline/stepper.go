package pipeline

import (
	"errors"
	"fmt"
	"math"

	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// Stepper holds what a training step runs on: two sessions, and the memory of
// parameters and moments, allocated once. The update happens in place, so no
// parameter passes through Go. Gradients take the memory of activations that
// the backward pass is done with, and give it back once they are used.
type Stepper struct {
	Params  []Param
	Weights []*ort.Buffer // float32, in the order of Params
	Grads   []*ort.Buffer // from Compute to Update
	Moments []*ort.Buffer // AdamW's exp_avg
	Squares []*ort.Buffer // AdamW's exp_avg_sq

	names      []string
	gradients  []string // outputs of the training graph
	training   *ort.Session
	optimizer  *ort.Session
	losses     []*ort.Buffer
	prediction *ort.Buffer
	constant   *ort.Buffer
	share      *ort.Buffer
	rate, step *ort.Buffer
	owned      []*ort.Buffer
}

// NewStepper opens the training and the optimizer session. It takes the values
// of gs.Params over: they are nil afterwards, and live in Weights.
func NewStepper(gs *Graphs, batch int64, opt ort.Options) (*Stepper, error) {
	s := &Stepper{Params: gs.Params, names: gs.Losses}
	if err := s.open(gs, batch, opt); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stepper) open(gs *Graphs, batch int64, opt ort.Options) error {
	training, err := Encode(gs.Training)
	if err != nil {
		return err
	}
	optimizer, err := Encode(gs.Optimizer)
	if err != nil {
		return err
	}
	opt.Name, opt.Repeats = "the training graph", gs.Lean
	if s.training, err = ort.NewSession(training, opt); err != nil {
		return err
	}
	opt.Name, opt.Repeats, opt.Profile = "the optimizer graph", false, ""
	if s.optimizer, err = ort.NewSession(optimizer, opt); err != nil {
		return err
	}
	for _, name := range s.names {
		b, err := bindNew(s, s.training, LossOutput(name), []float32{0})
		if err != nil {
			return err
		}
		s.losses = append(s.losses, b)
	}
	if s.prediction, err = bindNew(s, s.training, PredictionOutput, make([]int64, batch), batch); err != nil {
		return err
	}
	if s.constant, err = bindNew(s, s.training, ConstantOutput, make([]bool, batch), batch, 1); err != nil {
		return err
	}
	if s.share, err = bindNew(s, s.training, ShareOutput, make([]float32, batch), batch); err != nil {
		return err
	}
	if err := s.bindParams(); err != nil {
		return err
	}
	if s.rate, err = bindNew(s, s.optimizer, gradients.RateInput, []float64{0}); err != nil {
		return err
	}
	s.step, err = bindNew(s, s.optimizer, gradients.StepInput, []float64{0})
	return err
}

// bindParams allocates and binds what every parameter has; Weights start at the
// parameters' values, moments at zero.
func (s *Stepper) bindParams() error {
	for i, p := range s.Params {
		dims := p.Shape.Ints()
		weight, err := weightOf(p)
		if err != nil {
			return fmt.Errorf("parameter %s: %w", p.Name, err)
		}
		s.Params[i].Value = nil // it would keep the whole file in memory
		s.Weights, s.owned = append(s.Weights, weight), append(s.owned, weight)
		s.gradients = append(s.gradients, p.Grad)
		for _, list := range []*[]*ort.Buffer{&s.Moments, &s.Squares} {
			b, err := ort.NewBuffer(onnx.Float, dims...)
			if err != nil {
				return fmt.Errorf("parameter %s: %w", p.Name, err)
			}
			*list, s.owned = append(*list, b), append(s.owned, b)
		}
		bindings := []struct {
			session *ort.Session
			name    string
			buffer  *ort.Buffer
		}{
			{s.training, p.Name, weight},
			{s.optimizer, p.Name, weight}, {s.optimizer, p.Next, weight},
			{s.optimizer, p.Moment, s.Moments[i]}, {s.optimizer, p.NextMoment, s.Moments[i]},
			{s.optimizer, p.Square, s.Squares[i]}, {s.optimizer, p.NextSquare, s.Squares[i]},
		}
		for _, b := range bindings {
			if err := b.session.Bind(b.name, b.buffer); err != nil {
				return err
			}
		}
	}
	return nil
}

// weightOf copies a parameter's value into memory that the runtime reads.
func weightOf(p Param) (*ort.Buffer, error) {
	if p.Value.Type == onnx.Float && len(p.Value.Raw) > 0 {
		return ort.BufferFrom(p.Value)
	}
	values, err := p.Value.Float32s()
	if err != nil {
		return nil, err
	}
	return ort.BufferOf(values, p.Shape.Ints()...)
}

// bindNew allocates memory for an input or output and binds it.
func bindNew[T ort.Element](s *Stepper, session *ort.Session, name string, data []T, shape ...int64) (*ort.Buffer, error) {
	b, err := ort.BufferOf(data, shape...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.owned = append(s.owned, b)
	return b, session.Bind(name, b)
}

// Compute runs the training graph on a batch: images (B,3,H,W), masks
// (B,1,H,W), labels (B). Losses and gradients are then there; nothing is updated.
func (s *Stepper) Compute(in Inputs) error {
	for name, b := range in.byName() {
		if err := s.training.Bind(name, b); err != nil {
			return err
		}
	}
	if err := s.letGo(); err != nil {
		return err
	}
	var err error
	s.Grads, err = s.training.RunFresh(s.gradients)
	return err
}

// Update applies AdamW with the gradients of the last Compute, which are gone
// then. step counts updates from 1.
func (s *Stepper) Update(rate float64, step int64) error {
	s.rate.Float64s()[0], s.step.Float64s()[0] = rate, float64(step)
	for i, g := range s.Grads {
		if err := s.optimizer.Bind(s.gradients[i], g); err != nil {
			return err
		}
	}
	return errors.Join(s.optimizer.Run(), s.letGo())
}

// letGo gives the memory of gradients back.
func (s *Stepper) letGo() error {
	var err error
	for i, g := range s.Grads {
		err = errors.Join(err, s.optimizer.Unbind(s.gradients[i]))
		g.Close()
	}
	s.Grads = nil
	return err
}

// Losses returns the last Compute's losses by name.
func (s *Stepper) Losses() map[string]float64 {
	out := make(map[string]float64, len(s.names))
	for i, name := range s.names {
		out[name] = float64(s.losses[i].Float32s()[0])
	}
	return out
}

// Finite reports whether the total loss is a number.
func (s *Stepper) Finite() bool {
	total := float64(s.losses[len(s.losses)-1].Float32s()[0])
	return !math.IsNaN(total) && !math.IsInf(total, 0)
}

// Predictions returns the classes that the last Compute's logits decide for; a view.
func (s *Stepper) Predictions() []int64 { return s.prediction.Int64s() }

// ConstantMaps counts the last batch's images whose relevance map had no range.
func (s *Stepper) ConstantMaps() int {
	n := 0
	for _, c := range s.constant.Bools() {
		if c {
			n++
		}
	}
	return n
}

// ForegroundShare is the mean share of the last batch's relevance that lay on
// the masks, of the images that have any; NaN where none has.
func (s *Stepper) ForegroundShare() float64 {
	sum, n := 0.0, 0
	for _, v := range s.share.Float32s() {
		if v == v {
			sum, n = sum+float64(v), n+1
		}
	}
	return sum / float64(n)
}

// EndProfile ends the profile that the options asked for; see ort.Session.
func (s *Stepper) EndProfile() (string, error) { return s.training.EndProfile() }

// Close frees sessions and memory.
func (s *Stepper) Close() {
	for _, session := range []*ort.Session{s.training, s.optimizer} {
		if session != nil {
			session.Close()
		}
	}
	for _, b := range append(s.owned, s.Grads...) {
		b.Close()
	}
	s.owned, s.Grads = nil, nil
}

// Inputs is the memory of one batch, which the training and the eval graph read.
type Inputs struct {
	Image, Mask, Label *ort.Buffer

	names *Graphs
}

// NewInputs allocates a batch for the graphs.
func NewInputs(gs *Graphs) (in Inputs, err error) {
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
		if *to, err = ort.NewBuffer(v.Type, v.Shape.Ints()...); err != nil {
			in.Close()
			return in, fmt.Errorf("batch input %s: %w", v.Name, err)
		}
	}
	return in, nil
}

func (in Inputs) byName() map[string]*ort.Buffer {
	return map[string]*ort.Buffer{in.names.Image: in.Image, in.names.Mask: in.Mask, in.names.Label: in.Label}
}

// slot is the batch as memory for a loader to fill.
func (in Inputs) slot() dataset.Slot {
	return dataset.Slot{Images: in.Image.Float32s(), Masks: in.Mask.Float32s(), Labels: in.Label.Int64s()}
}

// Close frees the batch.
func (in Inputs) Close() {
	for _, b := range []*ort.Buffer{in.Image, in.Mask, in.Label} {
		if b != nil {
			b.Close()
		}
	}
}
