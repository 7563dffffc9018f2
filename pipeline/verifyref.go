package pipeline

import (
	"fmt"
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// referenceCost is how many multiplications of one picture count as small:
// those of a ViT-S of 224x224 pixels, which the evaluator takes seconds for.
const referenceCost = 5e9

// How far ONNX Runtime may lie from the float64 evaluator, over the largest
// value of an output, before that is a fault: rounding is far below.
const (
	farInFloat32 = 1e-2
	farInFloat16 = 1e-1
)

// planReference decides whether the model is held against the evaluator.
func (m *VerifiedModel) planReference(want Reference) {
	g := m.subject.graph
	switch {
	case want == ReferenceNever:
		m.ReferenceSkipped = "not asked for"
	case g == nil:
		m.ReferenceSkipped = "the graph can't be raised to the working dialect; see the remarks and faults"
	case want == ReferenceIfSmall && multiplications(g) > referenceCost:
		m.ReferenceSkipped = fmt.Sprintf("it takes %.3g multiplications for each picture, so it runs only where it is asked for", multiplications(g))
	default:
		for _, n := range g.Nodes {
			if !ref.Supports(n) {
				m.ReferenceSkipped = fmt.Sprintf("the evaluator doesn't know %s (node %s)", n.Op, n.Label())
				return
			}
		}
	}
}

// multiplications estimates those of products and convolutions, for one
// picture where the batch is open.
func multiplications(g *onnx.Graph) float64 {
	count := func(v *onnx.Value) float64 {
		n := 1.0
		if v != nil {
			for _, d := range v.Shape {
				n *= math.Max(1, float64(d.N))
			}
		}
		return n
	}
	total := 0.0
	for _, n := range g.Nodes {
		x, w := n.In(0), n.In(1)
		if x == nil || w == nil || len(w.Shape) == 0 {
			continue
		}
		switch n.Op {
		case "MatMul", "Gemm":
			total += count(n.Out(0)) * math.Max(1, float64(inner(n).N))
		case "Conv":
			total += count(n.Out(0)) * count(w) / math.Max(1, float64(w.Shape[0].N))
		}
	}
	return total
}

// inner is the length of the vectors whose products a node's output holds.
func inner(n *onnx.Node) onnx.Dim {
	x := n.Inputs[0].Shape
	switch {
	case len(x) == 0:
		return onnx.Dim{N: 1}
	case n.Op == "Gemm" && n.Int("transA", 0) != 0:
		return x[0]
	}
	return x[len(x)-1]
}

// compareReference runs the evaluator on a trial and adds how far ONNX Runtime
// lies from it.
func (v *Verification) compareReference(which int, t trial, feeds []feed, results []result) error {
	m := &v.Models[which]
	inputs := map[string]*ref.Array{}
	for _, f := range feeds {
		x, err := f.tensor(which)
		if err != nil {
			return err
		}
		if inputs[f.names[which]], err = ref.FromTensor(x); err != nil {
			return fmt.Errorf("input %s: %w", f.names[which], err)
		}
	}
	exact, err := ref.Run(m.subject.graph, inputs)
	if err != nil {
		v.fault(m.Path, "the float64 evaluator fails where ONNX Runtime runs: %v", err)
		m.ReferenceSkipped = err.Error()
		return nil
	}
	far := farInFloat32
	if slices.ContainsFunc(m.subject.model.Graph.Inits, func(i *onnx.Value) bool { return i.Type == onnx.Float16 || i.Type == onnx.BFloat16 }) {
		far = farInFloat16
	}
	for _, r := range results {
		x := exact[r.name]
		if x == nil || x.Count() != len(r.values) {
			v.fault(m.Path, "output %s has the shape %v, and %v in the float64 evaluator", r.name, r.shape, x)
			continue
		}
		var d drift
		d.add(asFloats(x), r.values)
		d.addRows(asFloats(x), r.values, r.shape)
		o := d.output(r.name, t.inputs, t.batch)
		if m.Reference = append(m.Reference, o); float64(o.MaxRel) > far {
			v.fault(m.Path, "output %s of ONNX Runtime is off the float64 evaluator's by %.3g of the largest on %s inputs", r.name, float64(o.MaxRel), t.inputs)
		}
	}
	return nil
}

// asFloats are an array's elements as numbers, whatever their type.
func asFloats(x *ref.Array) []float64 {
	if x.F != nil {
		return x.F
	}
	out := make([]float64, x.Count())
	for i := range x.I {
		out[i] = float64(x.I[i])
	}
	for i, b := range x.B {
		if b {
			out[i] = 1
		}
	}
	return out
}
