package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// RoundProducts makes the products of a training graph take factors of a 16-bit
// type, and give results of it, between Casts; everything else stays float32: the
// parameters, which Casts read, sums, normalisations, softmax and losses. native
// computes in the type itself, for processors that do; otherwise factors and
// results are rounded to it and float32 multiplies, which gives the same numbers
// but for the order of sums.
//
// Products by a constant stay as they are, such as a map's upsampling, whose
// losses are read off it, and so do those of vectors, which gain nothing.
func RoundProducts(g *onnx.Graph, to onnx.DType, native bool) error {
	r := &rounding{g: g, to: to, native: native, casts: map[*onnx.Value]*onnx.Value{}}
	nodes := g.Nodes
	g.Nodes = make([]*onnx.Node, 0, 2*len(nodes))
	for _, n := range nodes {
		if !rounds(n) {
			g.Nodes = append(g.Nodes, n)
			continue
		}
		for i, v := range n.Inputs {
			if v != nil {
				n.Inputs[i] = r.factor(v)
			}
		}
		r.result(n)
	}
	return g.InferAll()
}

// rounds reports whether a node is a product of float32 that RoundProducts means.
func rounds(n *onnx.Node) bool {
	if n.Domain != "" || !slices.Contains([]string{"MatMul", "Gemm", "Conv"}, n.Op) || n.Outputs[0].Type != onnx.Float {
		return false
	}
	x, w := n.Inputs[0], n.Inputs[1]
	if constantOf(x) != nil || constantOf(w) != nil {
		return false
	}
	if n.Op != "MatMul" {
		return true
	}
	if len(x.Shape) < 2 || len(w.Shape) < 2 {
		return false
	}
	sides := slices.Concat(x.Shape[len(x.Shape)-2:], w.Shape[len(w.Shape)-1:])
	return !slices.ContainsFunc(sides, func(d onnx.Dim) bool { return d.Known() && d.N == 1 })
}

type rounding struct {
	g      *onnx.Graph
	to     onnx.DType
	native bool
	casts  map[*onnx.Value]*onnx.Value
}

// factor is a value as products read it, rounded once for all of them.
func (r *rounding) factor(v *onnx.Value) *onnx.Value {
	if r.casts[v] == nil {
		name := r.g.Fresh(v.Name + "/" + r.to.String())
		out := r.cast(v, &onnx.Value{Name: name, Type: r.to, Shape: v.Shape.Clone()})
		if !r.native {
			name := r.g.Fresh(v.Name + "/rounded")
			out = r.cast(out, &onnx.Value{Name: name, Type: onnx.Float, Shape: v.Shape.Clone()})
		}
		r.casts[v] = out
	}
	return r.casts[v]
}

// result emits a product, rounded, under the value's name.
func (r *rounding) result(n *onnx.Node) {
	v := n.Outputs[0]
	product := &onnx.Value{Name: r.g.Fresh(v.Name + "/product"), Type: r.to, Shape: v.Shape.Clone(), Node: n}
	n.Outputs[0] = product
	r.g.Nodes = append(r.g.Nodes, n)
	if !r.native {
		product.Type = onnx.Float
		product = r.cast(product, &onnx.Value{Name: r.g.Fresh(v.Name + "/" + r.to.String()), Type: r.to, Shape: v.Shape.Clone()})
	}
	r.cast(product, v)
}

// cast emits a Cast that gives a value its type.
func (r *rounding) cast(from, to *onnx.Value) *onnx.Value {
	n := &onnx.Node{Name: to.Name + "/cast", Op: "Cast", Attrs: []onnx.Attr{{Name: "to", Value: int64(to.Type)}}, Inputs: []*onnx.Value{from}, Outputs: []*onnx.Value{to}}
	to.Node = n
	r.g.Nodes = append(r.g.Nodes, n)
	return to
}
