package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// Fold computes what doesn't depend on inputs or parameters, by inference's
// known elements or by evaluation, resolves shape arithmetic, removes
// operators that do nothing, and prunes. The graph must be sorted and of the
// working dialect.
//
// Constants that are integers, truth values or one number become initializers.
// A vector of several floats stays, or becomes, a Constant node: initializers
// of that kind are parameters (see Parameters), and what an exporter wrote as
// a constant, or a graph computes, is none.
func Fold(g *onnx.Graph) error {
	total := min(foldTotal, foldLeast+constants(g))
	f := &folding{
		g: g, inputs: map[*onnx.Value]bool{}, outputs: map[*onnx.Value]bool{}, sizes: map[string]dimOf{},
		total: total, work: foldSteps * total,
	}
	for _, v := range g.Inputs {
		f.inputs[v] = true
		for axis, d := range v.Shape {
			if _, ok := f.sizes[d.Sym]; !ok && d.Sym != "" && d.N == 1 {
				f.sizes[d.Sym] = dimOf{v, int64(axis)}
			}
		}
	}
	for _, v := range g.Outputs {
		f.outputs[v] = true
	}
	if err := rewrite(g, f.node); err != nil {
		return err
	}
	g.Prune()
	return nil
}

type folding struct {
	g       *onnx.Graph
	inputs  map[*onnx.Value]bool
	outputs map[*onnx.Value]bool
	sizes   map[string]dimOf // where a named size can be read

	total, work int64 // elements and steps that may still be spent
}

type dimOf struct {
	value *onnx.Value
	axis  int64
}

// Limits of what is computed ahead; the rest stays in the graph.
const (
	foldLimit = 1 << 19 // elements of a value
	foldTotal = 1 << 21 // elements of all values
	foldLeast = 1 << 16 // of which a graph gets these and as many as its constants have
	foldSteps = 32      // steps for each of these elements, roughly
)

// constants is how many elements a graph's initializers and Constant nodes
// have, as far as limits of folding go.
func constants(g *onnx.Graph) int64 {
	sum := int64(0)
	add := func(values []*onnx.Value) {
		for _, v := range values {
			if v != nil && v.Shape.Known() {
				sum += min(max(v.Shape.Count().N, 0), foldTotal)
			}
		}
	}
	add(g.Inits)
	for _, n := range g.Nodes {
		if n.Op == "Constant" && n.Domain == "" {
			add(n.Outputs)
		}
	}
	return sum
}

func (f *folding) node(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	if n.Domain != "" {
		return nil, nil
	}
	if n.Op == "Constant" {
		return f.constant(e, n, []*onnx.Tensor{onnx.ConstantTensor(n)}), nil
	}
	if x := same(n); x != nil {
		out := make([]*onnx.Value, len(n.Outputs))
		out[0] = x
		return out, nil
	}
	if t := elementsTensor(n); t != nil {
		return f.constant(e, n, []*onnx.Tensor{t}), nil
	}
	if out := f.evaluate(e, n); out != nil {
		return out, nil
	}
	former := e.In(n.Label())
	f.shapeInput(e, n)
	e.In(former)
	return nil, nil
}

// constant replaces a node by its outputs' values; nil where it can't be.
func (f *folding) constant(e *editor, n *onnx.Node, values []*onnx.Tensor) []*onnx.Value {
	if slices.Contains(values, nil) || (n.Op == "Constant" && several(values[0])) {
		return nil
	}
	out := make([]*onnx.Value, len(n.Outputs))
	for i, v := range n.Outputs {
		switch {
		case v == nil:
		case several(values[i]) || f.outputs[v]:
			out[i] = e.Op("Constant", []onnx.Attr{{Name: "value", Value: values[i]}})
		default:
			t := values[i]
			v.Node, v.Data, v.Type, v.Shape = nil, t, t.Type, t.Shape()
			f.g.Inits = append(f.g.Inits, v)
		}
	}
	return out
}

// several reports whether a constant can't become an initializer, because it
// would pass for a parameter.
func several(t *onnx.Tensor) bool { return t.Type.IsFloat() && t.Count() > 1 }

// elementsTensor is the one output of a node as a tensor where inference knows
// all of its elements.
func elementsTensor(n *onnx.Node) *onnx.Tensor {
	if len(n.Outputs) != 1 || n.Outputs[0] == nil {
		return nil
	}
	v := n.Outputs[0]
	if v.Elems == nil || !v.Shape.Known() || v.Shape.Count().N != int64(len(v.Elems)) {
		return nil
	}
	values := make([]int64, len(v.Elems))
	for i, d := range v.Elems {
		if d.Sym != "" || d == onnx.Unknown {
			return nil
		}
		values[i] = d.N
	}
	t, err := (&ref.Array{Type: onnx.Int64, Shape: sizes(v.Shape), I: values}).Tensor(v.Type)
	if err != nil {
		return nil
	}
	return t
}

func sizes(s onnx.Shape) []int {
	out := make([]int, len(s))
	for i, d := range s {
		out[i] = int(d.N)
	}
	return out
}

// afford charges for computing a node, if the limits allow it.
func (f *folding) afford(n *onnx.Node, in []*ref.Array) bool {
	out, all, product := int64(0), int64(0), int64(1) // elements
	for _, v := range n.Outputs {
		if v != nil {
			out += v.Shape.Count().N
		}
	}
	for _, x := range in {
		if x != nil {
			all += int64(x.Count())
			product = min(product*int64(max(x.Count(), 1)), 1<<31)
		}
	}
	work := out + all
	switch n.Op {
	case "MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose", "Attention":
		work += product
	case "MaxPool", "AveragePool", "Resize":
		work += out * all
	}
	if out > f.total || work > f.work {
		return false
	}
	f.total, f.work = f.total-out, f.work-work
	return true
}

// evaluate computes a node whose inputs are constants other than parameters;
// nil where it can't or shouldn't.
func (f *folding) evaluate(e *editor, n *onnx.Node) []*onnx.Value {
	if !foldable(n) {
		return nil
	}
	in := make([]*ref.Array, len(n.Inputs))
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		if v.Data == nil || f.inputs[v] || IsParameter(v) {
			return nil
		}
		var err error
		if in[i], err = ref.FromTensor(v.Data); err != nil {
			return nil
		}
	}
	arrays := f.compute(n, in)
	if arrays == nil {
		return nil
	}
	values := make([]*onnx.Tensor, len(arrays))
	for i, a := range arrays {
		values[i] = &onnx.Tensor{}
		if n.Outputs[i] == nil {
			continue
		}
		var err error
		if values[i], err = a.Tensor(a.Type); err != nil {
			return nil
		}
	}
	return f.constant(e, n, values)
}

// compute evaluates a node within the limits; nil where it can't.
func (f *folding) compute(n *onnx.Node, in []*ref.Array) []*ref.Array {
	if !f.afford(n, in) {
		return nil
	}
	arrays, err := ref.Node(n, in)
	if err != nil {
		return nil // an operator or attribute that the evaluator doesn't know stays in the graph
	}
	return arrays
}

// foldable reports whether a node can be computed and gives no more than the
// limit.
func foldable(n *onnx.Node) bool {
	if len(n.Inputs) == 0 || len(n.Captures) > 0 || !ref.Supports(n) {
		return false
	}
	return !slices.ContainsFunc(n.Outputs, func(v *onnx.Value) bool {
		return v != nil && (!v.Shape.Known() || v.Shape.Count().N > foldLimit)
	})
}
