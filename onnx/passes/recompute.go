package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Recompute computes values a second time where that is cheaper than holding
// them. Early are the nodes that the given values need, such as losses, and late
// all others, such as those of gradients. What late nodes read of early ones is held in between, or computed again from
// what is held. Which is decided by a minimal cut, as PyTorch's AOTAutograd
// does, in a network with two vertices for every early value:
//
//	in -> out     its size: held
//	source -> in  the price of its node: computed again
//	out -> in     of a value that is computed from it: endless
//	out -> sink   where a late node reads it: endless
//
// The copies stand behind their originals, so that ONNX Runtime, going back
// from the end, computes each one last before its first reader. It must be told not
// to merge them again.
func Recompute(g *onnx.Graph, first ...*onnx.Value) {
	r := &recomputing{early: map[*onnx.Node]bool{}, in: map[*onnx.Value]int{}, copies: map[*onnx.Node]*onnx.Node{}}
	for _, v := range first {
		r.mark(v.Node)
	}
	source, sink := r.vertex(), r.vertex()
	for _, n := range g.Nodes {
		if len(n.Captures) > 0 {
			return // subgraphs read by name
		}
		for _, v := range n.Inputs {
			if at, early := r.in[v]; early && !r.early[n] {
				r.connect(at+1, sink, endless)
			}
		}
		if !r.early[n] {
			continue
		}
		for _, v := range n.Outputs {
			if v == nil {
				continue
			}
			r.in[v] = r.vertex()
			r.connect(r.in[v], r.vertex(), bytesOf(v))
			r.connect(source, r.in[v], price(n))
			for _, x := range n.Inputs {
				if at, early := r.in[x]; early {
					r.connect(at+1, r.in[v], endless)
				}
			}
		}
	}
	r.again = r.cut(source, sink)
	for _, n := range g.Nodes {
		if r.early[n] {
			continue
		}
		for i, v := range n.Inputs {
			n.Inputs[i] = r.now(g, v)
		}
	}
	var nodes []*onnx.Node
	for _, n := range g.Nodes {
		nodes = append(nodes, n)
		if twin := r.copies[n]; twin != nil {
			nodes = append(nodes, twin)
		}
	}
	g.Nodes = early(nodes)
}

// early sorts nodes by the last product that they depend on. ONNX Runtime, which
// computes of a node's inputs the last one first, then computes last, shortly
// before it is read, what could be computed long before.
func early(nodes []*onnx.Node) []*onnx.Node {
	ready := map[*onnx.Node]int{}
	for i, n := range nodes {
		if n.Op == "Gemm" || n.Op == "MatMul" || n.Op == "Conv" {
			ready[n] = i
			continue
		}
		for _, v := range n.Inputs {
			if v != nil && v.Node != nil {
				ready[n] = max(ready[n], ready[v.Node])
			}
		}
	}
	return slices.SortedStableFunc(slices.Values(nodes), func(a, b *onnx.Node) int { return ready[a] - ready[b] })
}

type recomputing struct {
	network
	early  map[*onnx.Node]bool
	in     map[*onnx.Value]int // the first vertex of each early value; the second follows
	again  []bool              // vertices behind the cut
	copies map[*onnx.Node]*onnx.Node
}

// mark notes a node and all that it depends on as early.
func (r *recomputing) mark(n *onnx.Node) {
	if n == nil || r.early[n] {
		return
	}
	r.early[n] = true
	for _, list := range [][]*onnx.Value{n.Inputs, n.Captures} {
		for _, v := range list {
			if v != nil {
				r.mark(v.Node)
			}
		}
	}
}

// now is what a late node reads in the place of v.
func (r *recomputing) now(g *onnx.Graph, v *onnx.Value) *onnx.Value {
	at, early := r.in[v]
	if !early || !r.again[at] {
		return v
	}
	n := v.Node
	twin := r.copies[n]
	if twin == nil {
		twin = &onnx.Node{Op: n.Op, Domain: n.Domain, Attrs: n.Attrs,
			Inputs: make([]*onnx.Value, len(n.Inputs)), Outputs: make([]*onnx.Value, len(n.Outputs))}
		r.copies[n] = twin
		for i, x := range n.Inputs {
			twin.Inputs[i] = r.now(g, x)
		}
		for i, y := range n.Outputs {
			if y != nil {
				twin.Outputs[i] = &onnx.Value{Name: g.Fresh(y.Name + "/again"), Type: y.Type, Shape: y.Shape.Clone(), Elems: y.Elems, Node: twin}
				if twin.Name == "" {
					twin.Name = twin.Outputs[i].Name
				}
			}
		}
	}
	return twin.Outputs[slices.Index(n.Outputs, v)]
}

// price is what computing a node again costs, in bytes that one would rather
// hold: of products within attention their multiplications, of all else the bytes
// that pass, at the speeds of ONNX Runtime on the CPU. Never made again are
// products with weights, which lead from block to block, so that what is made
// anew for the last one would wait for the first, and what sums much up, since
// little is gained.
func price(n *onnx.Node) int64 {
	const products, passing, curved, little = 200, 50, 15, 8
	var from, to int64
	for _, v := range n.Inputs {
		from += bytesOf(v)
	}
	for _, v := range n.Outputs {
		to += bytesOf(v)
	}
	if from > little*to {
		return endless
	}
	switch n.Op {
	case "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity":
		return 0
	case "Gemm", "Conv":
		return endless
	case "MatMul":
		a, b := n.Inputs[0].Shape, n.Inputs[1].Shape
		if len(b) < 3 || !a.Known() {
			return endless
		}
		return 2 * n.Outputs[0].Shape.Count().N * a[len(a)-1].N / products
	case "Exp", "Erf", "Tanh", "Gelu", "Sigmoid", "Softmax", "Pow", "Log":
		return to / curved
	}
	return (from + to) / passing
}

// bytesOf is a value's size, 0 where its shape isn't known.
func bytesOf(v *onnx.Value) int64 {
	if v == nil || !v.Shape.Known() {
		return 0
	}
	return v.Shape.Count().N * int64(v.Type.Size())
}
