package pipeline

import (
	"context"
	"fmt"

	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// Evaluator runs the eval graph with a Stepper's parameters, which it shares.
type Evaluator struct {
	inputs  [2]Inputs // batches in flight
	session *ort.Session
	size    [2]int // rows, columns of a map
	classes int
	losses  map[string]*ort.Buffer // (B)
	logits  *ort.Buffer            // (B,C)
	maps    *ort.Buffer            // (B,1,H,W)
	flat    *ort.Buffer            // (B,1)
	classOf *ort.Buffer            // (B)
	owned   []*ort.Buffer
}

// NewEvaluator opens the eval session on a Stepper's parameters.
func NewEvaluator(gs *Graphs, s *Stepper, opt ort.Options) (*Evaluator, error) {
	e := &Evaluator{losses: map[string]*ort.Buffer{}}
	if err := e.open(gs, s, opt); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Evaluator) open(gs *Graphs, s *Stepper, opt ort.Options) (err error) {
	for i := range e.inputs {
		if e.inputs[i], err = NewInputs(gs); err != nil {
			return err
		}
	}
	data, err := gs.Options.encodeFor(gs.Eval, &opt)
	if err != nil {
		return err
	}
	opt.Name, opt.Repeats = "the eval graph", gs.Options.Lean
	if e.session, err = ort.NewSession(data, opt); err != nil {
		return err
	}
	for i, p := range s.Params {
		if err := e.session.Bind(p.Name, s.Weights[i]); err != nil {
			return err
		}
	}
	for _, v := range gs.Eval.Outputs {
		b, err := ort.NewBuffer(v.Type, v.Shape.Ints()...)
		if err != nil {
			return fmt.Errorf("output %s: %w", v.Name, err)
		}
		e.owned = append(e.owned, b)
		if err := e.session.Bind(v.Name, b); err != nil {
			return err
		}
		switch v.Name {
		case LogitsOutput:
			e.logits, e.classes = b, int(v.Shape[1].N)
		case MapOutput:
			e.maps, e.size = b, [2]int{int(v.Shape[2].N), int(v.Shape[3].N)}
		case ConstantOutput:
			e.flat = b
		case PredictionOutput:
			e.classOf = b
		default:
			e.losses[v.Name] = b
		}
	}
	return nil
}

// Slots is the memory that a loader fills.
func (e *Evaluator) Slots() []dataset.Slot {
	return []dataset.Slot{e.inputs[0].slot(), e.inputs[1].slot()}
}

// Evaluated is what the eval graph says of one picture. Slices are views, good
// until the next batch.
type Evaluated struct {
	Sample     int       // index in the loader's list
	Label      int64     // class that relevance and losses are about
	Prediction int64     // top-1
	Logits     []float32 // (C)
	Map        []float32 // (H,W) in [0,1]
	Mask       []float32 // (H,W)
	Image      []float32 // (3,H,W), normalised
	Constant   bool      // Map has no range and is zero
	Losses     map[string]float64
}

// Overlap compares the map with the mask: the share of the relevance on the
// foreground, and the intersection over union of the mask (above a half) with
// where the map exceeds its mean. ok is false where either is empty.
func (p Evaluated) Overlap() (share, iou float64, ok bool) { return overlap(p.Map, p.Mask) }

// Each evaluates every sample of a loader that fills the evaluator's slots, in
// the loader's order. Stand-ins for corrupt pictures are left out.
func (e *Evaluator) Each(ctx context.Context, l *dataset.Loader, f func(Evaluated) error) error {
	return eachBatch(ctx, l, 0, func(batch *dataset.Batch) error {
		if err := e.run(e.inputs[batch.Slot]); err != nil {
			return err
		}
		for i := range batch.Count {
			if batch.Replaced[i] {
				continue
			}
			if err := f(e.picture(batch, i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *Evaluator) run(in Inputs) error {
	if err := in.bind(e.session); err != nil {
		return err
	}
	return e.session.Run()
}

func (e *Evaluator) picture(batch *dataset.Batch, i int) Evaluated {
	plane, in := e.size[0]*e.size[1], e.inputs[batch.Slot]
	out := Evaluated{Sample: batch.Samples[i], Label: batch.Labels[i], Prediction: e.classOf.Int64s()[i], Constant: e.flat.Bools()[i],
		Logits: e.logits.Float32s()[i*e.classes:][:e.classes], Map: e.maps.Float32s()[i*plane:][:plane],
		Mask: in.Mask.Float32s()[i*plane:][:plane], Image: in.Image.Float32s()[i*3*plane:][:3*plane], Losses: map[string]float64{}}
	for name, b := range e.losses {
		out.Losses[name] = float64(b.Float32s()[i])
	}
	return out
}

// Close frees the session and its memory, not the Stepper's.
func (e *Evaluator) Close() {
	if e.session != nil {
		e.session.Close()
	}
	for _, in := range e.inputs {
		in.Close()
	}
	for _, b := range e.owned {
		b.Close()
	}
	e.owned = nil
}

// tally averages what Each gives into Metrics.
type tally struct {
	losses                map[string]float64
	correct, share, iou   float64
	pictures, constant, n int // n: pictures with a map and a mask
}

func (t *tally) add(p Evaluated) {
	t.pictures++
	if t.losses == nil {
		t.losses = map[string]float64{}
	}
	for name, v := range p.Losses {
		t.losses[name] += v
	}
	if p.Prediction == p.Label {
		t.correct++
	}
	if p.Constant {
		t.constant++
		return
	}
	share, iou, ok := overlap(p.Map, p.Mask)
	if ok {
		t.share, t.iou, t.n = t.share+share, t.iou+iou, t.n+1
	}
}

// overlap compares a relevance map with a mask: the share of the relevance on
// the foreground, and the intersection over union of the mask (above a half)
// with where the map exceeds its mean. ok is false where either is empty.
func overlap(relevance, mask []float32) (share, iou float64, ok bool) {
	var sum, on float64
	for i, v := range relevance {
		sum += float64(v)
		on += float64(v) * float64(mask[i])
	}
	mean := sum / float64(len(relevance))
	var both, either int
	for i, v := range relevance {
		hot, inside := float64(v) > mean, mask[i] > 0.5
		if hot && inside {
			both++
		}
		if hot || inside {
			either++
		}
	}
	if sum == 0 || either == 0 {
		return 0, 0, false
	}
	return on / sum, float64(both) / float64(either), true
}

func (t *tally) metrics() *Metrics {
	mean := func(sum float64, n int) Number { return Number(sum / float64(n)) }
	loss := func(name string) Number { return mean(t.losses[LossOutput(name)], t.pictures) }
	return &Metrics{Pictures: t.pictures, Loss: loss("total"), Background: loss("background"), Foreground: loss("foreground"),
		Classification: loss("classification"), Accuracy: mean(t.correct, t.pictures), ForegroundShare: mean(t.share, t.n),
		IoU: mean(t.iou, t.n), ConstantMaps: t.constant}
}
