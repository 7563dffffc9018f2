package gradients

import "github.com/relevit/relevit/onnx"

// AdamW holds the optimizer's constants; the learning rate is an input.
type AdamW struct {
	Beta1, Beta2 float64
	Eps          float64
	WeightDecay  float64
}

// Slot names a parameter and the tensors that its update reads and gives.
type Slot struct {
	Name  string
	Shape onnx.Shape

	Grad, Moment, Square         string // inputs
	Next, NextMoment, NextSquare string // outputs
}

// Names of the optimizer graph's scalar inputs, both float64: the learning
// rate, and the number of this step, from 1.
const (
	RateInput = "lr"
	StepInput = "step"
)

// NewSlot names the tensors of a parameter.
func NewSlot(name string, shape onnx.Shape) Slot {
	return Slot{Name: name, Shape: shape, Grad: "grad/" + name, Moment: "exp_avg/" + name, Square: "exp_avg_sq/" + name,
		Next: "next/" + name, NextMoment: "next/exp_avg/" + name, NextSquare: "next/exp_avg_sq/" + name}
}

// Graph emits one AdamW step (Loshchilov and Hutter 2019; torch.optim.AdamW)
// of type t for every slot:
//
//	m = m + (1 - beta1)(g - m),  v = beta2 v + (1 - beta2) g^2
//	p = p (1 - lr decay) - lr/(1 - beta1^step) m / (sqrt(v)/c + eps),  c = sqrt(1 - beta2^step)
//	  = p (1 - lr decay) - lr c/(1 - beta1^step) m / (sqrt(v) + eps c)
//
// in the second spelling, which passes through memory once less.
// The scalars are computed in float64: in float32, 1 - beta2^step alone would
// lose four digits. Each input is last read before the output that replaces it
// is written, so both may be one buffer.
func (a AdamW) Graph(slots []Slot, t onnx.DType) (*onnx.Graph, error) {
	g := onnx.NewGraph("optimizer")
	b := onnx.NewBuilder(g)
	rate := g.AddInput(RateInput, onnx.Double, onnx.Shape{})
	step := g.AddInput(StepInput, onnx.Double, onnx.Shape{})
	b.In("adamw")
	one := b.Scalar(1, rate)
	correction := func(beta float64) *onnx.Value {
		return b.Sub(one, b.Op("Pow", nil, b.Scalar(beta, rate), step))
	}
	root := b.Op("Sqrt", nil, correction(a.Beta2))
	size := b.Cast(b.Div(b.Mul(rate, root), correction(a.Beta1)), t)
	eps := b.Cast(b.Mul(root, b.Scalar(a.Eps, rate)), t)
	shrink := b.Cast(b.Sub(one, b.Mul(rate, b.Scalar(a.WeightDecay, rate))), t)
	for _, s := range slots {
		b.In("adamw/" + s.Name)
		p, grad := g.AddInput(s.Name, t, s.Shape), g.AddInput(s.Grad, t, s.Shape)
		m, v := g.AddInput(s.Moment, t, s.Shape), g.AddInput(s.Square, t, s.Shape)
		m = b.Named(s.NextMoment, b.Add(m, b.Scale(b.Sub(grad, m), 1-a.Beta1)))
		v = b.Named(s.NextSquare, b.Add(b.Scale(v, a.Beta2), b.Scale(b.Mul(grad, grad), 1-a.Beta2)))
		ratio := b.Div(m, b.Add(b.Op("Sqrt", nil, v), eps))
		p = b.Named(s.Next, b.Sub(b.Mul(p, shrink), b.Mul(ratio, size)))
		g.Outputs = append(g.Outputs, p, m, v)
	}
	return g, b.Err()
}
