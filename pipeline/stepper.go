package pipeline

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
)

// Stepper holds what a training step runs on: two sessions, and the memory of
// parameters and moments, allocated once. The update happens in place, so no
// parameter passes through Go. On the CPU, gradients take the memory of
// activations that the backward pass is done with, and give it back once they
// are used. On a GPU everything lies there for the whole run: a step brings a
// batch up and a few numbers down.
type Stepper struct {
	Params  []Param
	Weights []*ort.Buffer // float32, in the order of Params
	Grads   []*ort.Buffer // from Compute to Update
	Moments []*ort.Buffer // AdamW's exp_avg
	Squares []*ort.Buffer // AdamW's exp_avg_sq

	LossScale float64 // by which Compute multiplies the loss, where the objective is Scaled

	names      []string
	place      ort.Place
	gradients  []string // outputs of the training graph
	training   *ort.Session
	optimizer  *ort.Session
	finite     *finiteCheck // where Go doesn't see gradients
	batch      Inputs       // likewise: what the training graph reads
	losses     []mirrored
	prediction mirrored
	constant   mirrored
	share      mirrored
	scale      mirrored // nothing where the objective isn't Scaled
	rate, step mirrored
	owned      []*ort.Buffer
}

// mirrored is an input or output that Go writes or reads: where the session has
// it, and where Go sees it. On the CPU the two are one.
type mirrored struct{ there, here *ort.Buffer }

func (m mirrored) up() error {
	if m.there == m.here {
		return nil
	}
	return m.there.Copy(m.here)
}

func (m mirrored) down() error {
	if m.there == m.here {
		return nil
	}
	return m.here.Copy(m.there)
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

func (s *Stepper) open(gs *Graphs, batch int64, opt ort.Options) (err error) {
	if s.place, err = opt.Place(); err != nil {
		return err
	}
	training, err := gs.Options.encodeFor(gs.Training, &opt)
	if err != nil {
		return err
	}
	optimizer, err := gs.Options.encodeFor(gs.Optimizer, &opt)
	if err != nil {
		return err
	}
	opt.Name, opt.Repeats = "the training graph", gs.Options.Lean
	if s.training, err = ort.NewSession(training, opt); err != nil {
		return err
	}
	opt.Name, opt.Repeats, opt.Profile = "the optimizer graph", false, ""
	if s.optimizer, err = ort.NewSession(optimizer, opt); err != nil {
		return err
	}
	for _, name := range s.names {
		b, err := s.mirror(s.training, LossOutput(name), onnx.Float)
		if err != nil {
			return err
		}
		s.losses = append(s.losses, b)
	}
	if s.prediction, err = s.mirror(s.training, PredictionOutput, onnx.Int64, batch); err != nil {
		return err
	}
	if s.constant, err = s.mirror(s.training, ConstantOutput, onnx.Bool, batch, 1); err != nil {
		return err
	}
	if s.share, err = s.mirror(s.training, ShareOutput, onnx.Float, batch); err != nil {
		return err
	}
	if slices.ContainsFunc(gs.Training.Inputs, isScale) {
		s.LossScale = firstScale
		if s.scale, err = s.mirror(s.training, ScaleInput, onnx.Float); err != nil {
			return err
		}
	}
	if err := s.bindParams(); err != nil {
		return err
	}
	if s.rate, err = s.mirror(s.optimizer, gradients.RateInput, onnx.Double); err != nil {
		return err
	}
	if s.step, err = s.mirror(s.optimizer, gradients.StepInput, onnx.Double); err != nil || !s.place.Apart() {
		return err
	}
	if opt.Replay {
		// ONNX Runtime makes several runs of the first, in which the parameters would
		// move as often. At a rate of 0, without gradients and moments, they stay.
		if err := s.Update(0, 1); err != nil {
			return err
		}
	}
	if s.batch, err = newInputs(gs, s.place.NewBuffer); err != nil {
		return err
	}
	if err := s.batch.bind(s.training); err != nil {
		return err
	}
	opt.Name = "the graph that looks at gradients"
	s.finite, err = newFiniteCheck(s, opt)
	return err
}

// bindParams allocates and binds what every parameter has; Weights start at the
// parameters' values, moments at zero.
func (s *Stepper) bindParams() error {
	for i, p := range s.Params {
		dims := p.Shape.Ints()
		s.gradients = append(s.gradients, p.Grad)
		lists := []*[]*ort.Buffer{&s.Weights, &s.Moments, &s.Squares}
		if s.place.Apart() {
			lists = append(lists, &s.Grads)
		}
		for _, list := range lists {
			b, err := s.place.NewBuffer(onnx.Float, dims...)
			if err != nil {
				return fmt.Errorf("parameter %s: %w", p.Name, err)
			}
			*list, s.owned = append(*list, b), append(s.owned, b)
		}
		weight := s.Weights[i]
		if err := setValue(weight, p.Value); err != nil {
			return fmt.Errorf("parameter %s: %w", p.Name, err)
		}
		s.Params[i].Value = nil // it would keep the whole file in memory
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
		if !s.place.Apart() {
			continue
		}
		for _, session := range []*ort.Session{s.training, s.optimizer} {
			if err := session.Bind(p.Grad, s.Grads[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// setValue copies a parameter's value, once.
func setValue(b *ort.Buffer, value *onnx.Tensor) error {
	if value.Type == onnx.Float && len(value.Raw) > 0 {
		return b.Write(value.Raw)
	}
	values, err := value.Float32s()
	if err != nil {
		return err
	}
	return ort.Set(b, values)
}

// mirror allocates memory for an input or output and binds it.
func (s *Stepper) mirror(session *ort.Session, name string, t onnx.DType, shape ...int64) (mirrored, error) {
	there, err := s.place.NewBuffer(t, shape...)
	if err != nil {
		return mirrored{}, fmt.Errorf("%s: %w", name, err)
	}
	s.owned = append(s.owned, there)
	m := mirrored{there, there}
	if s.place.Apart() {
		if m.here, err = s.place.NewStage(t, shape...); err != nil {
			return m, fmt.Errorf("%s: %w", name, err)
		}
		s.owned = append(s.owned, m.here)
	}
	return m, session.Bind(name, there)
}

// Compute runs the training graph on a batch: images (B,3,H,W), masks
// (B,1,H,W), labels (B). Losses and gradients are then there; nothing is updated.
func (s *Stepper) Compute(in Inputs) error {
	if s.Scaled() {
		s.scale.here.Float32s()[0] = float32(s.LossScale)
		if err := s.scale.up(); err != nil {
			return err
		}
	}
	if !s.place.Apart() {
		if err := in.bind(s.training); err != nil {
			return err
		}
		if err := s.letGo(); err != nil {
			return err
		}
		var err error
		s.Grads, err = s.training.RunFresh(s.gradients)
		return err
	}
	if err := s.batch.take(in); err != nil {
		return err
	}
	if err := s.training.Run(); err != nil {
		return err
	}
	for _, m := range append([]mirrored{s.prediction, s.constant, s.share}, s.losses...) {
		if err := m.down(); err != nil {
			return err
		}
	}
	return nil
}

// Scaled reports whether gradients are computed of a multiple of the loss.
func (s *Stepper) Scaled() bool { return s.scale.here != nil }

// Update applies AdamW with the gradients of the last Compute, which are gone
// then, but on a GPU. step counts updates from 1.
func (s *Stepper) Update(rate float64, step int64) error {
	s.rate.here.Float64s()[0], s.step.here.Float64s()[0] = rate, float64(step)
	for _, m := range []mirrored{s.rate, s.step} {
		if err := m.up(); err != nil {
			return err
		}
	}
	if s.place.Apart() {
		return s.optimizer.Run()
	}
	for i, g := range s.Grads {
		if err := s.optimizer.Bind(s.gradients[i], g); err != nil {
			return err
		}
	}
	return errors.Join(s.optimizer.Run(), s.letGo())
}

// letGo gives the memory of gradients back that a session allocated.
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
		out[name] = float64(s.losses[i].here.Float32s()[0])
	}
	return out
}

// Finite reports whether the total loss is a number.
func (s *Stepper) Finite() bool {
	total := float64(s.losses[len(s.losses)-1].here.Float32s()[0])
	return !math.IsNaN(total) && !math.IsInf(total, 0)
}

// Predictions returns the classes that the last Compute's logits decide for; a view.
func (s *Stepper) Predictions() []int64 { return s.prediction.here.Int64s() }

// ConstantMaps counts the last batch's images whose relevance map had no range.
func (s *Stepper) ConstantMaps() int {
	n := 0
	for _, c := range s.constant.here.Bools() {
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
	for _, v := range s.share.here.Float32s() {
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
	if s.finite != nil {
		s.finite.close()
	}
	s.batch.Close()
	for _, b := range append(s.owned, s.Grads...) { // closing one twice is nothing
		b.Close()
	}
	s.owned, s.Grads = nil, nil
}
