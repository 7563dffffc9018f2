package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
)

// trial is one set of inputs for the models. Trials of the same inputs and
// batch are added up.
type trial struct {
	inputs    string
	batch     int64
	feeds     func() ([]feed, error)
	reference bool // also for the float64 evaluator
}

// feed is one input for every model.
type feed struct {
	names  []string // in either model
	types  []onnx.DType
	values *onnx.Tensor // float32 or int64
}

// result is an output of one run.
type result struct {
	name   string
	values []float64
	shape  []int64
}

// run gives the same inputs to the models, and adds how far the second's
// outputs lie from the first's and how far each lies from the evaluator's.
func (v *Verification) run(ctx context.Context, opt VerifyOptions) error {
	if err := opt.ORT.Load(); err != nil {
		return err
	}
	var ports [][]ort.Port
	for _, m := range v.Models {
		if err := m.subject.open(opt.ORT); err != nil {
			return err
		}
		ports = append(ports, m.subject.session.Inputs())
	}
	trials, err := v.trials(ports, opt)
	if err != nil {
		return err
	}
	for i := range v.Models {
		v.Models[i].planReference(opt.Reference)
	}
	sums := newSums()
	for done, t := range trials {
		if err := ctx.Err(); err != nil {
			return err
		}
		if opt.OnProgress != nil {
			opt.OnProgress(done, len(trials))
		}
		feeds, err := t.feeds()
		if err != nil {
			return err
		}
		if err := v.try(t, feeds, sums); err != nil {
			return err
		}
	}
	if opt.OnProgress != nil {
		opt.OnProgress(len(trials), len(trials))
	}
	v.Outputs = append(v.Outputs, sums.list()...)
	if len(v.Models) == 2 && len(v.Outputs) == 0 {
		return fmt.Errorf("the models have no output of the same name and shape")
	}
	return nil
}

// try runs every model on the feeds.
func (v *Verification) try(t trial, feeds []feed, s *sums) error {
	results := make([][]result, len(v.Models))
	for i := range v.Models {
		m := &v.Models[i]
		var err error
		if results[i], err = call(m.subject.session, i, feeds); err != nil {
			return err
		}
		for _, r := range results[i] {
			var d drift
			if d.add(r.values, r.values); d.missing {
				v.fault(m.Path, "output %s holds NaN on %s inputs", r.name, t.inputs)
			}
		}
		if t.reference && m.ReferenceSkipped == "" {
			if err := v.compareReference(i, t, feeds, results[i]); err != nil {
				return fmt.Errorf("%s: %w", m.Path, err)
			}
		}
	}
	if len(results) < 2 {
		return nil
	}
	for k, x := range results[0] {
		at := slices.IndexFunc(results[1], func(y result) bool { return y.name == x.name })
		if at < 0 && len(results[0]) == len(results[1]) {
			at = k
		}
		if at < 0 || !slices.Equal(x.shape, results[1][at].shape) {
			continue // a difference of structure
		}
		s.add(t, x, results[1][at])
	}
	return nil
}

// call runs one model.
func call(s *ort.Session, which int, feeds []feed) ([]result, error) {
	in := map[string]*ort.Buffer{}
	for _, f := range feeds {
		b, err := f.buffer(which)
		if err != nil {
			return nil, err
		}
		defer b.Close()
		in[f.names[which]] = b
	}
	out, err := s.Call(in)
	if err != nil {
		return nil, err
	}
	for _, b := range out {
		defer b.Close()
	}
	var results []result
	for _, p := range s.Outputs() {
		b := out[p.Name]
		t := onnx.Tensor{Type: b.Type(), Dims: b.Shape(), Raw: b.Bytes()}
		values, err := t.Float64s()
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", p.Name, err)
		}
		results = append(results, result{p.Name, values, b.Shape()})
	}
	return results, nil
}

// buffer copies the values into an input of a model.
func (f feed) buffer(which int) (*ort.Buffer, error) {
	t, err := f.tensor(which)
	if err != nil {
		return nil, err
	}
	b, err := ort.NewBuffer(t.Type, t.Dims...)
	if err == nil {
		copy(b.Bytes(), t.Raw)
	}
	return b, err
}

// tensor is the feed in the type that a model takes.
func (f feed) tensor(which int) (*onnx.Tensor, error) {
	want := f.types[which]
	switch {
	case f.values.Type == want:
		return f.values, nil
	case f.values.Type.IsFloat() && want.IsFloat():
		t, err := f.values.As(want)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", f.names[which], err)
		}
		return t, nil
	case want.Size() == 0:
		return nil, fmt.Errorf("input %s takes %v, which can't be made up", f.names[which], want)
	}
	zero := &onnx.Tensor{Type: want, Dims: f.values.Dims} // in any type
	zero.Raw = make([]byte, f.values.Count()*int64(want.Size()))
	return zero, nil
}

// sums adds up drifts by output, inputs and batch, and keeps their order.
type sums struct {
	drifts map[OutputDrift]*drift
	order  []OutputDrift
}

func newSums() *sums { return &sums{drifts: map[OutputDrift]*drift{}} }

func (s *sums) add(t trial, x, y result) {
	key := OutputDrift{Output: x.name, Inputs: t.inputs, Batch: t.batch}
	d := s.drifts[key]
	if d == nil {
		d = &drift{}
		s.drifts[key], s.order = d, append(s.order, key)
	}
	d.add(x.values, y.values)
	d.addRows(x.values, y.values, x.shape)
}

func (s *sums) list() []OutputDrift {
	var out []OutputDrift
	for _, key := range s.order {
		out = append(out, s.drifts[key].output(key.Output, key.Inputs, key.Batch))
	}
	return out
}
