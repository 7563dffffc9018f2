package passes

import (
	"errors"
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// The opsets that graphs can be written in.
const (
	LowestOpset  = 11
	HighestOpset = 24
)

// LowerError says that a node, or a whole graph, can't be written in an opset.
type LowerError struct {
	Node, Op string // empty for a graph as a whole
	Opset    int64
	Reason   string // what stands in the way and what to do
}

func (e *LowerError) Error() string {
	if e.Op == "" {
		return fmt.Sprintf("the graph can't be written in opset %d: %s", e.Opset, e.Reason)
	}
	return fmt.Sprintf("node %s (%s) can't be written in opset %d: %s", e.Node, e.Op, e.Opset, e.Reason)
}

// ExitCode is that of wrong usage: another opset can be asked for.
func (e *LowerError) ExitCode() int { return 2 }

// Raised returns a copy of a model's graph in the working dialect, sorted and
// inferred, whose nodes are the model's own as far as the dialect spells them
// alike: nothing is folded or fused. Functions are inlined, and operators of
// com.microsoft become their definitions. Inputs that have a default value
// become initializers, but for those named in keep, which become inputs without.
func Raised(m *onnx.Model, keep ...string) (*onnx.Graph, error) {
	if m.Graph == nil {
		return nil, errors.New("the model has no graph")
	}
	g, _ := m.Graph.Clone()
	for _, v := range g.Inputs {
		if slices.Contains(keep, v.Name) {
			v.Data, v.Elems = nil, nil
		}
	}
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v *onnx.Value) bool { return v.Data != nil })
	g.Inits = slices.DeleteFunc(g.Inits, func(v *onnx.Value) bool { return v.Data == nil })
	opset := m.OpsetVersion("")
	if err := Inline(g, m.Bodies, opset); err != nil {
		return nil, err
	}
	if err := g.Sort(); err != nil {
		return nil, err
	}
	if err := Raise(g, opset); err != nil {
		return nil, err
	}
	g.Prune()
	return g, nil
}

// introduced lists the operators that the working dialect has and an older
// opset lacks, with the opset that brought them.
var introduced = map[string]int64{
	"AffineGrid": 20, "Bernoulli": 15, "BitwiseAnd": 18, "BitwiseNot": 18, "BitwiseOr": 18, "BitwiseXor": 18,
	"BlackmanWindow": 17, "CastLike": 15, "Celu": 12, "CenterCropPad": 18, "Col2Im": 18, "DFT": 20, "DeformConv": 19,
	"Einsum": 12, "Gelu": 20, "GreaterOrEqual": 12, "GridSample": 16, "GroupNormalization": 21, "HammingWindow": 17,
	"HannWindow": 17, "HardSwish": 14, "ImageDecoder": 20, "LayerNormalization": 17, "LessOrEqual": 12,
	"MelWeightMatrix": 17, "Mish": 18, "NegativeLogLikelihoodLoss": 12, "Optional": 15, "OptionalGetElement": 15,
	"OptionalHasElement": 15, "RegexFullMatch": 20, "STFT": 17, "SequenceMap": 17, "SoftmaxCrossEntropyLoss": 12,
	"StringConcat": 20, "StringSplit": 20, "Trilu": 14,
}

// Lower writes a graph of the working dialect in another opset, from
// LowestOpset to HighestOpset: newer operators become their definitions, and
// inputs become the attributes that they were. It is no longer of the working
// dialect then: inference and other passes don't know it. What an opset has no
// way to say is a *LowerError, and the graph is left half rewritten.
func Lower(g *onnx.Graph, opset int64) error {
	if opset < LowestOpset || opset > HighestOpset {
		return &LowerError{Opset: opset, Reason: fmt.Sprintf("graphs are written in opsets %d to %d", LowestOpset, HighestOpset)}
	}
	if opset >= onnx.Dialect {
		return nil // the newer opsets have all operators of the dialect as they are
	}
	l := &lowering{opset: opset}
	if err := rewrite(g, l.define); err != nil {
		return err
	}
	for _, n := range g.Nodes {
		if err := l.spell(g, n); err != nil {
			return err
		}
	}
	g.Prune()
	return nil
}

// lowering holds the opset that a graph is brought to.
type lowering struct{ opset int64 }

func (l *lowering) refuse(n *onnx.Node, format string, args ...any) error {
	return &LowerError{Node: n.Label(), Op: n.Op, Opset: l.opset, Reason: fmt.Sprintf(format, args...)}
}

// needs refuses a node that only an opset from since on can say.
func (l *lowering) needs(n *onnx.Node, since int64, what string) error {
	return l.refuse(n, "%s came with opset %d; ask for that or a later one", what, since)
}

// define replaces a node that the opset lacks by its definition.
func (l *lowering) define(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	if n.Domain != "" {
		return nil, nil
	}
	for _, a := range n.Attrs {
		if _, ok := a.Value.(onnx.Opaque); ok {
			return nil, l.refuse(n, "it holds a subgraph (%s), which is written in opset %d; ask for that, or export without control flow", a.Name, onnx.Dialect)
		}
	}
	former := e.In(n.Label())
	defer e.In(former)
	for _, d := range definitions[n.Op] {
		if l.opset >= d.since {
			continue
		}
		out, err := d.define(l, e, n)
		if out != nil || err != nil {
			return out, err
		}
	}
	if since := introduced[n.Op]; since > l.opset {
		return nil, l.needs(n, since, "operator "+n.Op)
	}
	return nil, nil
}

// constInts are the numbers of a constant integer input.
func constInts(v *onnx.Value) ([]int64, bool) {
	if t := constantOf(v); t != nil {
		x, err := t.Int64s()
		return x, err == nil
	}
	if v == nil || v.Elems == nil {
		return nil, false
	}
	out := make([]int64, len(v.Elems))
	for i, d := range v.Elems {
		if d.Sym != "" || d == onnx.Unknown {
			return nil, false
		}
		out[i] = d.N
	}
	return out, true
}

// constantOf is the content of an initializer or a Constant node; nil for
// anything else.
func constantOf(v *onnx.Value) *onnx.Tensor {
	switch {
	case v == nil:
		return nil
	case v.Data != nil:
		return v.Data
	case v.Is("Constant"):
		return onnx.ConstantTensor(v.Node)
	}
	return nil
}
