package passes

import (
	"fmt"
	"math"

	"github.com/relevit/relevit/onnx"
)

// PrecisionError says what can't be written in another precision.
type PrecisionError struct {
	Where  string // a node or tensor
	Reason string // what stands in the way and what to do
}

func (e *PrecisionError) Error() string { return e.Where + ": " + e.Reason }

// HalfOptions say what of a graph stays in float32. The zero value keeps only
// what float16 would spoil.
type HalfOptions struct {
	KeepIO   bool                   // inputs and outputs of the graph
	KeepEnds func(*onnx.Value) bool // some of them; nil for none
	Keep     func(*onnx.Node) bool  // further nodes, with what they give to the outside; nil for none
}

// Halved says what ToFloat16 did.
type Halved struct {
	Parameters int   `json:"parameters"`        // tensors that are float16 now
	Kept       int   `json:"nodes_in_float32"`  // nodes that compute in float32
	Casts      int   `json:"casts"`             // conversions between the two
	Clamped    int64 `json:"clamped_elements"`  // of constants, beyond float16's range
	Vanished   int64 `json:"vanished_elements"` // of parameters and constants, too small for float16: zero now
}

// largestHalf is the largest finite float16.
const largestHalf = 65504

// Numbers from maskedFrom on say "never", in masks, and aren't weights.
const maskedFrom = 1e30

// ToFloat16 makes a graph of the working dialect compute in float16. What
// loses too much there stays in float32, between Casts: normalisations,
// softmax, sums, powers, roots and exponentials, with the elementwise
// operators between and beside them as long as that takes no further Cast.
// Constants that only such nodes read stay as they are, epsilons among them.
//
// A number beyond float16's range in a mask becomes the largest float16, as
// usual; in a parameter it is a *PrecisionError.
func ToFloat16(g *onnx.Graph, o HalfOptions) (*Halved, error) {
	if err := noSubgraphs(g); err != nil {
		return nil, err
	}
	if err := widen(g, onnx.BFloat16); err != nil {
		return nil, err
	}
	ends := func(v *onnx.Value) bool { return o.KeepIO || o.KeepEnds != nil && o.KeepEnds(v) }
	h := &halving{g: g, keepEnd: ends, safe: map[*onnx.Node]bool{}, kept: map[*onnx.Node]bool{}, readers: map[*onnx.Value][]*onnx.Node{},
		result: map[*onnx.Value]bool{}, was: map[*onnx.Value]bool{}, casts: map[cast]*onnx.Value{}}
	h.survey(o.Keep)
	h.grow()
	if err := h.convert(); err != nil {
		return nil, err
	}
	if err := dropCasts(g); err != nil {
		return nil, err
	}
	for _, n := range g.Nodes {
		if h.safe[n] {
			h.report.Kept++
		}
		if n.Op == "Cast" && n.Outputs[0].Type.IsFloat() && n.Inputs[0].Type.IsFloat() {
			h.report.Casts++
		}
	}
	return &h.report, nil
}

// ToFloat32 makes a graph of the working dialect compute in float32 wherever
// it did in float16 or bfloat16, inputs and outputs included.
func ToFloat32(g *onnx.Graph) error {
	if err := noSubgraphs(g); err != nil {
		return err
	}
	if err := widen(g, onnx.Float16, onnx.BFloat16); err != nil {
		return err
	}
	return dropCasts(g)
}

func noSubgraphs(g *onnx.Graph) error {
	for _, n := range g.Nodes {
		for _, a := range n.Attrs {
			if _, ok := a.Value.(onnx.Opaque); ok {
				return &PrecisionError{Where: fmt.Sprintf("node %s (%s)", n.Label(), n.Op),
					Reason: "it holds a subgraph (" + a.Name + "), whose precision can't be changed; export without control flow"}
			}
		}
	}
	return nil
}

// widen makes values of the given types float32.
func widen(g *onnx.Graph, types ...onnx.DType) error {
	narrow := map[onnx.DType]bool{}
	for _, t := range types {
		narrow[t] = true
	}
	var err error
	g.Each(func(v *onnx.Value) {
		if !narrow[v.Type] || err != nil {
			return
		}
		v.Type = onnx.Float
		if v.Data != nil {
			if v.Data, err = v.Data.As(onnx.Float); err != nil {
				err = &PrecisionError{Where: "tensor " + v.Name, Reason: err.Error()}
			}
		}
	})
	for _, n := range g.Nodes {
		for _, name := range []string{"to", "dtype", "stash_type", "softmax_precision"} {
			if t, ok := n.Attr(name).(int64); ok && narrow[onnx.DType(t)] {
				n.SetAttr(name, int64(onnx.Float))
			}
		}
		for _, a := range n.Attrs {
			if t, ok := a.Value.(*onnx.Tensor); ok && narrow[t.Type] && err == nil {
				if t, err = t.As(onnx.Float); err == nil {
					n.SetAttr(a.Name, t)
				}
			}
		}
	}
	return err
}

// dropCasts removes Casts to the type that a value has, and infers the graph.
func dropCasts(g *onnx.Graph) error {
	return rewrite(g, func(_ *editor, n *onnx.Node) ([]*onnx.Value, error) {
		if n.Op == "Cast" && n.Domain == "" && n.In(0) != nil && n.Inputs[0].Type == onnx.DType(n.Int("to", 0)) {
			return []*onnx.Value{n.Inputs[0]}, nil
		}
		return nil, nil
	})
}

// inHalf rounds a constant to float16, and counts what doesn't fit.
func (r *Halved) inHalf(name string, t *onnx.Tensor, parameter bool) (*onnx.Tensor, error) {
	x, err := t.Float64s()
	if err != nil {
		return nil, err
	}
	const half = 65520 // from here on numbers round to infinity
	for i, v := range x {
		switch a := math.Abs(v); {
		case a >= half && !math.IsInf(v, 0):
			if parameter && a < maskedFrom {
				return nil, &PrecisionError{Where: "tensor " + name,
					Reason: fmt.Sprintf("element %d is %g, beyond float16's range of %d; export in float32", i, v, largestHalf)}
			}
			x[i] = math.Copysign(largestHalf, v)
			r.Clamped++
		case v != 0 && a <= 0x1p-25:
			r.Vanished++
		}
	}
	return onnx.DoubleTensor(x, t.Dims...).As(onnx.Float16)
}
