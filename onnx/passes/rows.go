package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// RowsDomain and RowsOp name the operator that FuseRows makes nodes of. Its attributes
// are a program (see onnx/ort/rows.h) and the shape of its full outputs.
const (
	RowsDomain = "relevit"
	RowsOp     = "Rows"
)

// FuseRows gathers nodes that compute element by element, and sums, means and
// LayerNormalizations along the last axis, into nodes which do all of it row by row:
// what ONNX Runtime would write to memory and read again for each node stays in the
// processor's cache. The graph is then for our own sessions alone (ort.Options.Rows).
//
// A group grows from a node to those that read it, as long as all of its values
// have the same rows and no way leads out of the group and back into it. One that
// only reads the same as others joins them too, unless repeats says that some nodes
// are to compute again, later, what others did (see Recompute).
//
// Of a factor whose columns a Gemm reads, a program writes the columns (see turn).
func FuseRows(g *onnx.Graph, repeats bool) error {
	r := &grouping{g: g, repeats: repeats, at: map[*onnx.Node]int{}}
	if !repeats {
		shareErf(g)
	}
	joinComparisons(g)
	clipAgain(g)
	r.turn()
	r.uses, r.of, r.seen = g.Uses(), make([]*group, len(g.Nodes)), make([]int, len(g.Nodes))
	for i, n := range g.Nodes {
		r.at[n] = i
	}
	for i, n := range g.Nodes {
		if shape, ok := r.rowsOf(n); ok {
			r.place(i, shape)
		}
	}
	return r.rewrite()
}

// grouping is what FuseRows knows while it gathers.
type grouping struct {
	g    *onnx.Graph
	uses map[*onnx.Value][]*onnx.Node
	at   map[*onnx.Node]int // position in g.Nodes
	of   []*group           // by position; nil outside of groups
	seen []int              // by position, the walk that saw it last
	walk int

	turned map[*onnx.Value]*turned // by the value whose rows become columns

	repeats bool
}

// group is nodes to be computed together.
type group struct {
	shape       onnx.Shape // of its full values; nil while it has none
	again       again      // how rows serve again; zero where none do
	nodes       []int      // ascending
	first, last int
}

// What is worth a program, and what one may hold: rows_read has the same limits or
// wider ones.
const (
	shortestRow = 16
	longestRow  = 4096
	mostSteps   = 64
	mostInputs  = 32
	mostOutputs = 64
	mostAxes    = 8
)

// rowOps are the operators of programs, in the order of rows.h.
var rowOps = []string{"Add", "Sub", "Mul", "Div", "Neg", "Sqrt", "Exp", "Erf", "HardSigmoid", "Clip", "ReduceSum", "ReduceMean", "1/Sqrt", atLeast, above}

func reduces(n *onnx.Node) bool { return n.Op == "ReduceSum" || n.Op == "ReduceMean" }

// rowsOf returns the shape whose rows a node works on, if it is one that programs
// compute. A node of one element a row has no shape of its own.
func (r *grouping) rowsOf(n *onnx.Node) (onnx.Shape, bool) {
	if n.Domain != "" && !compares(n) || !slices.Contains(rowOps, n.Op) && n.Op != "LayerNormalization" || len(n.Outputs) != 1 && n.Op != "LayerNormalization" {
		return nil, false
	}
	if r.repeats && n.Op == "LayerNormalization" {
		return nil, false // gathered, they cost 120 MB of ViT-B's lean step
	}
	out, x := n.Outputs[0], n.Inputs[0]
	if out.Type != onnx.Float || x.Type != onnx.Float || !out.Shape.Known() || !x.Shape.Known() || len(out.Shape) == 0 || len(out.Shape) > mostAxes {
		return nil, false
	}
	shape := out.Shape
	switch {
	case reduces(n):
		if shape = x.Shape; len(x.Shape) != len(out.Shape) || !overLast(n) {
			return nil, false
		}
	case n.Op == "Clip" && !limits(n), n.Op == "LayerNormalization" && !normalisesRows(n), r.scalesProduct(n):
		return nil, false
	case shape[len(shape)-1].N == 1:
		return nil, true
	}
	length := shape[len(shape)-1].N
	if length < shortestRow || length > longestRow {
		return nil, false
	}
	if !reduces(n) {
		for _, v := range operands(n) {
			if _, ok := lies(v, shape); !ok {
				return nil, false
			}
		}
		if _, ok := againIn(n, again{}); !ok {
			return nil, false
		}
	}
	return shape, true
}

// operands are the inputs that a program reads.
func operands(n *onnx.Node) []*onnx.Value {
	switch n.Op {
	case "Add", "Sub", "Mul", "Div", "LayerNormalization":
		return n.Inputs
	}
	return n.Inputs[:1]
}

// overLast reports whether a node reduces its last axis, which stays as one element.
func overLast(n *onnx.Node) bool {
	axes, ok := constInts(n.In(1))
	rank := int64(len(n.Inputs[0].Shape))
	return ok && n.Int("keepdims", 1) == 1 && len(axes) == 1 && (axes[0] == -1 || axes[0] == rank-1) && rank > 0
}

// normalisesRows reports whether a LayerNormalization normalises its last axis, and
// has a scale and a bias, for each element of a row one.
func normalisesRows(n *onnx.Node) bool {
	rank := int64(len(n.Inputs[0].Shape))
	axis := n.Int("axis", -1)
	if axis != -1 && axis != rank-1 || len(n.Inputs) != 3 || n.Inputs[2] == nil || n.Int("stash_type", 1) != 1 {
		return false
	}
	for _, v := range n.Inputs[1:] {
		if p, ok := lies(v, n.Inputs[0].Shape); !ok || p != sharedRow {
			return false
		}
	}
	return true
}

// limits reports whether the limits of a Clip are numbers.
func limits(n *onnx.Node) bool {
	for _, v := range []*onnx.Value{n.In(1), n.In(2)} {
		if v == nil {
			continue
		}
		if _, ok := scalar(v); !ok {
			return false
		}
	}
	return true
}

// scalesProduct reports whether ONNX Runtime makes a node part of a product, as a
// factor of it.
func (r *grouping) scalesProduct(n *onnx.Node) bool {
	if n.Op != "Mul" && n.Op != "Div" {
		return false
	}
	if len(n.Inputs) != 2 || constantOf(n.Inputs[1]) == nil && constantOf(n.Inputs[0]) == nil {
		return false
	}
	if n.Inputs[0].Shape.Count().N != 1 && n.Inputs[1].Shape.Count().N != 1 {
		return false
	}
	for _, v := range n.Inputs {
		if v.Is("MatMul") {
			return true
		}
	}
	return slices.ContainsFunc(r.uses[n.Outputs[0]], func(u *onnx.Node) bool { return u.Op == "MatMul" && u.Domain == "" })
}

// beside is how a value lies beside rows; the numbers are those of rows.h.
type beside int64

const (
	oneForAll beside = iota
	sharedRow
	onePerRow
	rowsAgain
	fullRows
)

// again tells how many rows a group has that serves so many groups of the program's.
type again struct{ group, times int64 }

// lies tells how a value lies beside the rows of a shape; ok is false where that
// isn't one of the ways that programs read.
func lies(v *onnx.Value, shape onnx.Shape) (p beside, ok bool) {
	if v == nil || v.Type != onnx.Float || !v.Shape.Known() {
		return 0, false
	}
	last := len(shape) - 1
	switch {
	case v.Shape.Same(shape):
		return fullRows, true
	case v.Shape.Count().N == 1:
		return oneForAll, len(v.Shape) <= len(shape)
	case len(v.Shape) == len(shape) && v.Shape[last].N == 1 && v.Shape[:last].Same(shape[:last]):
		return onePerRow, true
	case len(v.Shape) > 0 && len(v.Shape) <= len(shape) && v.Shape[len(v.Shape)-1].N == shape[last].N && v.Shape.Count().N == shape[last].N:
		return sharedRow, true
	}
	if _, ok := servesAgain(v, shape); ok {
		return rowsAgain, true
	}
	return 0, false
}

// servesAgain tells how the rows of a value serve those of a shape that it is spread
// to along one axis before the last.
func servesAgain(v *onnx.Value, shape onnx.Shape) (a again, ok bool) {
	last := len(shape) - 1
	if len(v.Shape) != len(shape) || v.Shape[last] != shape[last] || shape[last].N == 1 {
		return a, false
	}
	at := 0
	for at < last && v.Shape[at] == shape[at] {
		at++
	}
	if at == last || v.Shape[at].N != 1 || !v.Shape[at+1:].Same(shape[at+1:]) {
		return a, false
	}
	return again{shape[at+1 : last].Count().N, shape[at].N}, true
}

// againIn joins to what is known of a program's rows that serve again what a node
// reads; ok is false where both differ.
func againIn(n *onnx.Node, known again) (_ again, ok bool) {
	for _, v := range operands(n) {
		if p, _ := lies(v, n.Outputs[0].Shape); p != rowsAgain {
			continue
		}
		a, _ := servesAgain(v, n.Outputs[0].Shape)
		if known != (again{}) && known != a {
			return known, false
		}
		known = a
	}
	return known, true
}

// place puts a node into a group of the nodes that it reads, or into one of its own.
func (r *grouping) place(i int, shape onnx.Shape) {
	n := r.g.Nodes[i]
	var into *group
	for _, v := range operands(n) {
		if v.Node == nil {
			continue
		}
		from := r.of[r.at[v.Node]]
		if from == nil || from == into || !r.fits(from, n, shape) {
			continue
		}
		if into == nil {
			if r.reachable(from, &group{nodes: []int{i}, first: i, last: i}) {
				continue
			}
			into = from
			r.join(into, i)
			continue
		}
		if from.again != (again{}) && into.again != (again{}) && from.again != into.again {
			continue
		}
		if len(into.nodes)+len(from.nodes) > mostSteps || r.reachable(from, into) || r.reachable(into, from) {
			continue
		}
		for _, j := range from.nodes {
			r.of[j] = into
		}
		into.nodes = append(into.nodes, from.nodes...)
		slices.Sort(into.nodes)
		into.first, into.last = into.nodes[0], into.nodes[len(into.nodes)-1]
		if into.again == (again{}) {
			into.again = from.again
		}
	}
	if into != nil || shape == nil {
		return
	}
	alone := &group{shape: shape, nodes: []int{i}, first: i, last: i}
	if beside := r.sibling(alone); beside != nil && !r.repeats {
		r.join(beside, i)
		return
	}
	alone.again, _ = againIn(n, again{})
	r.of[i] = alone
}

// join adds a node behind all others of a group that it fits.
func (r *grouping) join(to *group, i int) {
	r.of[i], to.nodes, to.last = to, append(to.nodes, i), i
	to.again, _ = againIn(r.g.Nodes[i], to.again)
}

// sibling finds a group that reads rows which a node reads too, a few nodes before
// it: what would be read twice is read once. Of groups further away results would
// wait in memory for their readers.
func (r *grouping) sibling(alone *group) *group {
	const near = 8
	i := alone.first
	for _, v := range operands(r.g.Nodes[i]) {
		if p, _ := lies(v, alone.shape); p != fullRows {
			continue
		}
		for _, u := range r.uses[v] {
			j := r.at[u]
			if j >= i || j < i-near {
				continue
			}
			g := r.of[j]
			if g == nil || len(g.nodes) >= mostSteps || !g.shape.Same(alone.shape) {
				continue
			}
			if _, ok := againIn(r.g.Nodes[i], g.again); ok && !r.reachable(g, alone) {
				return g
			}
		}
	}
	return nil
}

// fits reports whether a node works on a group's rows.
func (r *grouping) fits(to *group, n *onnx.Node, shape onnx.Shape) bool {
	if len(to.nodes) >= mostSteps {
		return false
	}
	if shape != nil {
		_, ok := againIn(n, to.again)
		return ok && shape.Same(to.shape)
	}
	for _, v := range append(slices.Clone(operands(n)), n.Outputs[0]) { // one element a row
		if p, ok := lies(v, to.shape); !ok || p != onePerRow && p != oneForAll {
			return false
		}
	}
	p, _ := lies(n.Outputs[0], to.shape)
	return p == onePerRow
}

// reachable reports whether a way leads from one group through other nodes into
// another. A way through a group goes through all of it.
func (r *grouping) reachable(from, to *group) bool {
	r.walk++
	var stack []int
	read := func(i int, visit func(j int)) {
		n := r.g.Nodes[i]
		for _, list := range [][]*onnx.Value{n.Inputs, n.Captures} {
			for _, v := range list {
				if v != nil && v.Node != nil {
					visit(r.at[v.Node])
				}
			}
		}
	}
	push := func(j int) {
		if r.seen[j] != r.walk {
			r.seen[j] = r.walk
			stack = append(stack, j)
		}
	}
	for _, i := range to.nodes {
		r.seen[i] = r.walk
	}
	for _, i := range to.nodes {
		read(i, func(j int) {
			if r.of[j] != from { // what it reads of the other itself is no way through other nodes
				push(j)
			}
		})
	}
	for len(stack) > 0 {
		j := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		own := r.of[j]
		if own == from {
			return true
		}
		if own == nil {
			read(j, push)
			continue
		}
		for _, k := range own.nodes {
			r.seen[k] = r.walk
			read(k, push)
		}
	}
	return false
}
