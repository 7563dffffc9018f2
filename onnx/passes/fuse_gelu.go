package passes

import (
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// product is a value taken apart into a constant and other factors, by Mul and
// by Div with a constant.
type product struct {
	constant float64
	factors  []*onnx.Value
	inner    []*onnx.Value // intermediate values
}

// factor takes v apart as far as its parts have one reader.
func (f *fusing) factor(v *onnx.Value, into *product) {
	into.inner = append(into.inner, v)
	left, right := v.Node.Inputs[0], v.Node.Inputs[1]
	for i, part := range []*onnx.Value{left, right} {
		c, known := scalar(part)
		switch {
		case known && v.Is("Div") && i == 1:
			into.constant /= c
		case known && v.Is("Mul"):
			into.constant *= c
		case f.splits(part) && !(v.Is("Div") && i == 1):
			f.factor(part, into)
		default:
			if v.Is("Div") && i == 1 {
				into.constant = math.NaN() // divides by something that varies
			}
			into.factors = append(into.factors, part)
		}
	}
}

// splits reports whether a factor is a product itself that nobody else reads.
func (f *fusing) splits(v *onnx.Value) bool {
	return (v.Is("Mul") || v.Is("Div")) && len(f.uses[v]) == 1 && !slices.Contains(f.outputs, v)
}

// gelu returns x where the node's output is 0.5 x (1 + erf(x / sqrt 2)), nil
// where it is something else.
func (f *fusing) gelu(last *onnx.Node) *onnx.Value {
	if last.Op != "Mul" && last.Op != "Div" {
		return nil
	}
	whole := &product{constant: 1}
	f.factor(last.Outputs[0], whole)
	if len(whole.factors) != 2 {
		return nil
	}
	for i, sum := range whole.factors {
		x := whole.factors[1-i]
		weight, inner := f.errorTerm(sum, x)
		if near(whole.constant*weight, 0.5) && f.inside(last, append(append(inner, sum), whole.inner[1:]...)...) {
			return x
		}
	}
	return nil
}

// errorTerm matches w (1 + erf(x / sqrt 2)) and returns w, 0 where v is no such
// sum, with the intermediate values.
func (f *fusing) errorTerm(v, x *onnx.Value) (w float64, inner []*onnx.Value) {
	if !v.Is("Add") {
		return 0, nil
	}
	either(v.Node, func(erf, one *onnx.Value) bool {
		c, known := scalar(one)
		scaled := &product{constant: 1, factors: []*onnx.Value{erf}}
		if f.splits(erf) {
			scaled.factors = nil
			f.factor(erf, scaled)
		}
		if !known || len(scaled.factors) != 1 || !scaled.factors[0].Is("Erf") || !near(scaled.constant, c) {
			return false
		}
		erf = scaled.factors[0]
		argument := erf.Node.Inputs[0]
		if !argument.Is("Mul") && !argument.Is("Div") {
			return false
		}
		inside := &product{constant: 1}
		f.factor(argument, inside)
		if len(inside.factors) != 1 || inside.factors[0] != x || !near(inside.constant, math.Sqrt2/2) {
			return false
		}
		w = c
		inner = slices.Concat(scaled.inner, inside.inner, []*onnx.Value{erf})
		return true
	})
	return w, inner
}
