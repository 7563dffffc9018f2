// Package gradients differentiates ONNX graphs and builds from that what
// training needs: attention gradients, relevance maps, losses, AdamW. All of it
// is emitted as ONNX nodes; nothing here computes.
//
// Glossary. The cotangent of a value v, for some scalar s, is ds/dv: it has v's
// shape. A rule is the vector-Jacobian product of one operator: from the
// cotangents of a node's outputs it emits those of its inputs. The walk visits
// the nodes once, from the last to the first, calls their rules and adds up
// what reaches each value. Rules emit operators that have rules, so the result
// can be differentiated again.
package gradients

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// MissingRuleError says that a gradient has to pass an operator which has no
// rule.
type MissingRuleError struct {
	Node      string // the node's name
	Op        string // its operator, with the domain before it unless that is ai.onnx
	Parameter string // a value whose gradient passes the node
	Trains    string // a parameter that can't be trained without, where Parameter is none itself; empty if unknown
	Reason    string // what of the operator is missing, empty if all
}

func (e *MissingRuleError) Error() string {
	s := fmt.Sprintf("node %s: operator %s has no gradient rule", e.Node, e.Op)
	if e.Reason != "" {
		s += " for " + e.Reason
	}
	if e.Trains != "" {
		return s + fmt.Sprintf(", and the gradient of %s passes it, without which parameter %s can't be trained; export the model without the operator", e.Parameter, e.Trains)
	}
	return s + fmt.Sprintf(", and the gradient of %s passes it; freeze what lies before the node, or export the model without the operator", e.Parameter)
}

// Walk emits the gradients, with respect to each of wrt, of the sum over seeds
// of <seed, value>: seeds maps values to their cotangents. Values in stop count
// as constants. An entry of the result is nil where nothing flows.
//
// Emitted values are named under the given prefix, behind the name of the node
// to which they belong.
func Walk(b *onnx.Builder, prefix string, seeds map[*onnx.Value]*onnx.Value, wrt, stop []*onnx.Value) ([]*onnx.Value, error) {
	return walkBack(b, prefix, seeds, wrt, stop, false)
}

// walkBack is Walk. A short one takes fewer passes through memory where that
// costs a little of float32's accuracy.
func walkBack(b *onnx.Builder, prefix string, seeds map[*onnx.Value]*onnx.Value, wrt, stop []*onnx.Value, short bool) ([]*onnx.Value, error) {
	w := &walk{b: b, short: short, flows: map[*onnx.Value]*onnx.Value{}, sums: map[*onnx.Value]*onnx.Value{}}
	nodes := append([]*onnx.Node(nil), b.Graph.Nodes...)
	w.mark(nodes, wrt, stop)
	for v, seed := range seeds {
		if w.flows[v] != nil {
			w.sums[v] = seed
		}
	}
	former := b.In("")
	defer b.In(former)
	for i := len(nodes) - 1; i >= 0; i-- {
		b.In(prefix + "/" + nodes[i].Label())
		if err := w.visit(nodes[i]); err != nil {
			return nil, err
		}
	}
	out := make([]*onnx.Value, len(wrt))
	for i, v := range wrt {
		out[i] = w.sums[v]
	}
	return out, b.Err()
}

type walk struct {
	b     *onnx.Builder
	short bool                        // see walkBack
	flows map[*onnx.Value]*onnx.Value // values that depend on one of wrt: which
	sums  map[*onnx.Value]*onnx.Value // cotangents collected so far
}

// mark finds the values through which a gradient can flow to wrt.
func (w *walk) mark(nodes []*onnx.Node, wrt, stop []*onnx.Value) {
	for _, v := range wrt {
		w.flows[v] = v
	}
	stopped := map[*onnx.Value]bool{}
	for _, v := range stop {
		stopped[v] = true
		delete(w.flows, v)
	}
	for _, n := range nodes {
		if constant[key(n)] {
			continue
		}
		var source *onnx.Value
		for _, v := range n.Inputs {
			if w.flows[v] != nil {
				source = w.flows[v]
				break
			}
		}
		if source == nil {
			continue
		}
		for _, v := range n.Outputs {
			if v != nil && !stopped[v] && w.flows[v] == nil && (v.Type.IsFloat() || v.Type == onnx.Undefined) {
				w.flows[v] = source
			}
		}
	}
}

func (w *walk) visit(n *onnx.Node) error {
	c := &call{b: w.b, n: n, walk: w, dy: make([]*onnx.Value, len(n.Outputs))}
	given := false
	for i, v := range n.Outputs {
		if v != nil && w.flows[v] != nil {
			c.dy[i] = w.sums[v]
			given = given || c.dy[i] != nil
		}
	}
	var source *onnx.Value
	for i := range n.Inputs {
		if c.needs(i) {
			source = w.flows[n.Inputs[i]]
		}
	}
	if !given || source == nil || constant[key(n)] {
		return nil
	}
	if d, ok := w.b.Noted(n.Outputs[0]).(derivative); ok && c.dy[0] != nil {
		d(c)
		return w.b.Err()
	}
	rule, ok := rules[key(n)]
	if !ok {
		return &MissingRuleError{Node: n.Label(), Op: opName(n), Parameter: source.Name}
	}
	rule(c)
	if c.missing != "" {
		return &MissingRuleError{Node: n.Label(), Op: opName(n), Parameter: source.Name, Reason: c.missing}
	}
	return w.b.Err()
}

// call is one application of a rule.
type call struct {
	b       *onnx.Builder
	n       *onnx.Node
	dy      []*onnx.Value // cotangents of the outputs, nil where none arrived
	walk    *walk
	missing string
}

// x is input i, y output i.
func (c *call) x(i int) *onnx.Value { return c.n.In(i) }
func (c *call) y(i int) *onnx.Value { return c.n.Out(i) }

// needs reports whether input i's cotangent will be used.
func (c *call) needs(i int) bool { return c.x(i) != nil && c.walk.flows[c.x(i)] != nil }

// unsupported ends the rule with a MissingRuleError that names what is missing.
func (c *call) unsupported(format string, args ...any) { c.missing = fmt.Sprintf(format, args...) }

// give adds v to the cotangent of input i. v may still have the shape to which
// the operator broadcast the input: it is summed back here and nowhere else.
func (c *call) give(i int, v *onnx.Value) {
	if x := c.x(i); x != nil {
		c.giveTo(x, v)
	}
}

// derivative is the rule of a value that several nodes make together. A rule notes it
// of what it emits, where a gradient of the gradient takes fewer passes through memory
// that way than through each of the nodes.
type derivative func(c *call)

// giveTo is give for a value from which the nodes of a derivative begin.
func (c *call) giveTo(x, v *onnx.Value) {
	if c.walk.flows[x] == nil || v == nil {
		return
	}
	v = sumTo(c.b, v, x.Shape)
	if sum := c.walk.sums[x]; sum != nil {
		v = c.b.Add(sum, v)
	}
	c.walk.sums[x] = v
}

// sumTo undoes a broadcast: it sums v over the dimensions that shape lacks or
// has with size 1.
func sumTo(b *onnx.Builder, v *onnx.Value, shape onnx.Shape) *onnx.Value {
	if v.Shape == nil || shape == nil || v.Shape.Same(shape) {
		return v
	}
	lead := len(v.Shape) - len(shape)
	if lead < 0 {
		b.Fail("the gradient %v has fewer dimensions than the value it belongs to, %v", v, shape)
		return v
	}
	var drop, keep []int64
	for i := range v.Shape {
		switch {
		case i < lead:
			drop = append(drop, int64(i))
		case shape[i-lead].Is(1) && !v.Shape[i].Is(1):
			keep = append(keep, int64(i))
		}
	}
	if len(keep) == 0 && shape.Known() && v.Shape.Known() && v.Type.IsFloat() {
		if rows, columns := v.Shape[:lead].Count().N, shape.Count().N; rows > 1 && columns > 1 {
			// A product with ones: ReduceSum takes three times as long down wide columns.
			ones := b.Floats(slices.Repeat([]float64{1}, int(rows)), v, 1, rows)
			return b.Reshape(b.MatMul(ones, b.Reshape(v, onnx.ShapeOf(rows, columns))), shape)
		}
	}
	if len(keep) > 0 {
		v = b.Reduce("ReduceSum", v, true, keep...)
	}
	if len(drop) > 0 {
		v = b.Reduce("ReduceSum", v, false, drop...)
	}
	return v
}

func key(n *onnx.Node) string { return n.Domain + ":" + n.Op }

func opName(n *onnx.Node) string {
	if n.Domain == "" {
		return n.Op
	}
	return n.Domain + "." + n.Op
}
