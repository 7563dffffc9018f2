package gradients

import (
	"fmt"

	"github.com/relevit/relevit/onnx"
)

// Method is how a mask guides training.
type Method string

// The published method and the two baselines that it is compared with.
const (
	ByRelevance Method = "relevance"
	ByGradMask  Method = "gradmask"
	ByRRR       Method = "rrr"
)

// Order says whether the inner gradients (of attention, or of the image for
// the baselines) count as constants.
type Order string

// FirstOrder is the published choice; SecondOrder differentiates through the
// inner gradients.
const (
	FirstOrder  Order = "first-order"
	SecondOrder Order = "second-order"
)

// Objective is what training minimises, with the formulas of the published
// code: see Losses. The zero Method and Order are the published ones.
type Objective struct {
	Method           Method
	Order            Order
	LambdaSeg        float64 // weight of the mask losses
	LambdaAcc        float64 // weight of the classification loss
	LambdaBackground float64
	LambdaForeground float64
	Temperature      float64 // divides the logits in the classification loss
	OwnArgmax        bool    // classify towards the model's own decision, not the label
	StartLayer       int     // first block of the rollout
	Scaled           bool    // walk back from a multiple of the total loss, so that gradients fit a small range
}

// Terms are the emitted losses. Scalars are means over the batch (RRR's mask
// loss is a sum), and the vectors (B) hold what each image adds to them.
type Terms struct {
	Names    []string // background, foreground, classification, total; or mask, classification, total
	Scalars  []*onnx.Value
	PerImage []*onnx.Value

	Total      *onnx.Value // scalar
	Scale      *onnx.Value // scalar by which Gradients multiplies; nil for 1
	Prediction *onnx.Value // (B) int64: the current decision
	Relevance  Relevance   // of the label; zero for the baselines
	Stop       []*onnx.Value
}

// Losses emits the objective for images with masks (B,1,H,W), 1 on the
// foreground, and labels (B) int64:
//
//	background     = mean((map reverse)^2), reverse the mask with 0 and 1 exchanged
//	foreground     = mean((map mask - mask)^2)
//	classification = cross entropy of logits / temperature
//	total          = lambda_seg (lambda_background background + lambda_foreground foreground)
//	               + lambda_acc classification
//
// and for the baselines total = lambda_seg mask + lambda_acc classification
// towards the label, with mask the mean (GradMask) or sum (RRR) of
// (d logit/d image reverse)^2; RRR differentiates sum log(softmax + 1e-11).
func Losses(b *onnx.Builder, s Subject, o Objective, mask, label *onnx.Value) (*Terms, error) {
	t := &Terms{}
	t.Prediction = b.Named("prediction", b.Op("ArgMax", []onnx.Attr{{Name: "axis", Value: int64(1)}, {Name: "keepdims", Value: int64(0)}}, s.Logits))
	var err error
	switch o.Method {
	case ByRelevance, "":
		err = t.relevance(b, s, o, mask, label)
	case ByGradMask, ByRRR:
		err = t.baseline(b, s, o, mask, label)
	default:
		err = fmt.Errorf("method %q is none of %s, %s, %s", o.Method, ByRelevance, ByGradMask, ByRRR)
	}
	if err != nil {
		return nil, err
	}
	return t, b.Err()
}

func (t *Terms) relevance(b *onnx.Builder, s Subject, o Objective, mask, label *onnx.Value) error {
	s.trained = true
	maps, grads, err := AttentionGradients(b, s, label, o.StartLayer)
	if err != nil {
		return err
	}
	if len(maps) == 0 {
		return fmt.Errorf("no attention map is left: the model has %d, of which start_layer %d wants those from block %d on", len(s.Maps), o.StartLayer, o.StartLayer)
	}
	if o.Order != SecondOrder {
		t.Stop = grads
	}
	t.Relevance = Rollout(b, s, maps, grads)
	defer b.In(b.In("loss"))
	off := b.Mul(t.Relevance.Map, reverse(b, mask))
	background := perImage(b, b.Mul(off, off), "ReduceMean")
	on := b.Sub(b.Mul(t.Relevance.Map, mask), mask)
	foreground := perImage(b, b.Mul(on, on), "ReduceMean")
	target := label
	if o.OwnArgmax {
		target = t.Prediction
	}
	classification := crossEntropy(b, s.Logits, target, o.Temperature)
	total := weighted(b, share{background, o.LambdaSeg * o.LambdaBackground}, share{foreground, o.LambdaSeg * o.LambdaForeground},
		share{classification, o.LambdaAcc})
	t.add(b, "background", background, "ReduceMean")
	t.add(b, "foreground", foreground, "ReduceMean")
	t.add(b, "classification", classification, "ReduceMean")
	t.add(b, "total", total, "ReduceMean")
	return nil
}

func (t *Terms) baseline(b *onnx.Builder, s Subject, o Objective, mask, label *onnx.Value) error {
	seedOf, seed, reduce := s.Logits, oneHot(b, label, s.Logits), "ReduceMean"
	if o.Method == ByRRR {
		p := b.Softmax(s.Logits, 1)
		seedOf = b.Op("Log", nil, b.Add(p, b.Scalar(1e-11, p)))
		seed = b.Expand(b.Scalar(1, p), onnx.ShapeOf(1, 1))
		if s.Logits.Shape.Known() {
			seed = b.Expand(seed, s.Logits.Shape)
		} else {
			seed = expandLike(b, seed, s.Logits)
		}
		reduce = "ReduceSum"
	}
	grads, err := Walk(b, "dlogit", map[*onnx.Value]*onnx.Value{seedOf: seed}, []*onnx.Value{s.Image}, nil)
	if err != nil {
		return err
	}
	if grads[0] == nil {
		return fmt.Errorf("the logits %s don't depend on the image %s", s.Logits.Name, s.Image.Name)
	}
	slope := b.Named("image/gradient", grads[0])
	if o.Order != SecondOrder {
		t.Stop = []*onnx.Value{slope}
	}
	defer b.In(b.In("loss"))
	off := b.Mul(slope, reverse(b, mask))
	guide := perImage(b, b.Mul(off, off), reduce)
	classification := crossEntropy(b, s.Logits, label, o.Temperature)
	t.add(b, "mask", guide, reduce)
	t.add(b, "classification", classification, "ReduceMean")
	scalar := weighted(b, share{t.Scalars[0], o.LambdaSeg}, share{t.Scalars[1], o.LambdaAcc})
	t.Names = append(t.Names, "total")
	t.Scalars = append(t.Scalars, b.Named("loss/total", scalar))
	t.PerImage = append(t.PerImage, weighted(b, share{guide, o.LambdaSeg}, share{classification, o.LambdaAcc}))
	t.Total = scalar
	return nil
}

// add records a loss given per image (B).
func (t *Terms) add(b *onnx.Builder, name string, each *onnx.Value, reduce string) {
	scalar := b.Named("loss/"+name, b.Reduce(reduce, each, false, 0))
	t.Names = append(t.Names, name)
	t.Scalars = append(t.Scalars, scalar)
	t.PerImage = append(t.PerImage, each)
	t.Total = scalar
}

// share is a loss with its weight in the total.
type share struct {
	loss   *onnx.Value
	weight float64
}

// weighted adds losses up. What has no weight is left out, so that no gradient
// is computed for it.
func weighted(b *onnx.Builder, shares ...share) *onnx.Value {
	var total *onnx.Value
	for _, s := range shares {
		switch {
		case s.weight == 0:
		case total == nil:
			total = b.Scale(s.loss, s.weight)
		default:
			total = b.Add(total, b.Scale(s.loss, s.weight))
		}
	}
	if total == nil {
		return b.Scale(shares[0].loss, 0)
	}
	return total
}

// perImage reduces (B,...) to (B).
func perImage(b *onnx.Builder, v *onnx.Value, reduce string) *onnx.Value {
	return b.Reduce(reduce, v, false, 1, 2, 3)
}

// reverse exchanges 0 and 1 in a mask and leaves fractions, on the edge of the
// foreground, as they are.
func reverse(b *onnx.Builder, mask *onnx.Value) *onnx.Value {
	is := func(x float64) *onnx.Value {
		return b.Cast(b.Op("Equal", nil, mask, b.Scalar(x, mask)), mask.Type)
	}
	return b.Sub(b.Add(mask, is(0)), is(1))
}

// crossEntropy of logits / temperature towards target (B): (B).
func crossEntropy(b *onnx.Builder, logits, target *onnx.Value, temperature float64) *onnx.Value {
	z := logits
	if temperature != 1 {
		z = b.Div(z, b.Scalar(temperature, z))
	}
	logp := b.Op("LogSoftmax", []onnx.Attr{{Name: "axis", Value: int64(1)}}, z)
	return b.Neg(b.Sum(b.Mul(logp, oneHot(b, target, logits)), 1))
}

// Gradients emits the gradients of the total loss, times Scale, with respect to
// params; a parameter without influence on it gets nil.
func (t *Terms) Gradients(b *onnx.Builder, params []*onnx.Value) ([]*onnx.Value, error) {
	seed := t.Scale
	if seed == nil {
		seed = b.Scalar(1, t.Total)
	}
	return Walk(b, "dloss", map[*onnx.Value]*onnx.Value{t.Total: seed}, params, t.Stop)
}
