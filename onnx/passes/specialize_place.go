package passes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// place says where the pictures of an open batch lie in a value: along an axis,
// whose index is (outer, picture, the rest), the last varying fastest.
type place struct {
	axis  int
	outer int64
}

// before is the number of steps along everything that varies more slowly than
// the picture; ok is false where it isn't known.
func (p place) before(s onnx.Shape) (n int64, ok bool) {
	n = p.outer
	for _, d := range s[:p.axis] {
		if !d.Known() {
			return 0, false
		}
		n *= d.N
	}
	return n, true
}

// follow notes where the pictures lie in what a node gives. Every node must
// leave them apart: otherwise a reshape was mended wrongly, or the graph's
// pictures depend on one another, and the batch can't be changed.
func (r *rebatching) follow(n *onnx.Node) error {
	if n.Op == "Shape" || n.Op == "Size" {
		return nil
	}
	var at []place
	var carriers []*onnx.Value
	for _, v := range n.Inputs {
		if p, ok := r.places[v]; ok && v != nil {
			at, carriers = append(at, p), append(carriers, v)
		}
	}
	if len(carriers) == 0 {
		return nil
	}
	for _, out := range n.Outputs {
		if out == nil {
			continue
		}
		p, ok := r.through(n, carriers, at, out)
		if !ok {
			return fmt.Errorf("node %s (%s) is written for batches of %d, or makes pictures of a batch depend on one another", n.Label(), n.Op, r.old)
		}
		r.places[out] = p
	}
	return nil
}

// through is where the pictures lie in one output of a node that reads carriers
// of them; ok is false where they aren't apart any more.
func (r *rebatching) through(n *onnx.Node, carriers []*onnx.Value, at []place, out *onnx.Value) (p place, ok bool) {
	p.axis = slices.IndexFunc(out.Shape, func(d onnx.Dim) bool { return d.Sym == r.name })
	if p.axis < 0 || slices.ContainsFunc(out.Shape[p.axis+1:], func(d onnx.Dim) bool { return d.Sym == r.name }) {
		return p, false
	}
	size := out.Shape[p.axis].N
	if reshapes(n) {
		before, known := at[0].before(carriers[0].Shape)
		around, _ := place{p.axis, 1}.before(out.Shape)
		if !known || around == 0 || before%around != 0 || size%(before/around) != 0 {
			return p, false
		}
		p.outer = before / around
		return p, true
	}
	p.outer = at[0].outer
	for i, v := range carriers {
		if at[i].outer != p.outer || v.Shape[at[i].axis].N != size || !aligned(n, v, at[i], out, p) {
			return p, false
		}
	}
	return p, true
}

// aligned reports whether a node leaves the pictures in v apart in out.
func aligned(n *onnx.Node, v *onnx.Value, from place, out *onnx.Value, to place) bool {
	rank := len(v.Shape)
	fromEnd := len(out.Shape) - to.axis
	switch n.Op {
	case "Transpose", "Gemm", "Split", "Slice", "ArgMax", "ArgMin":
		return true // the axis has kept its size
	case "Gather", "TopK":
		axis := n.Int("axis", map[string]int64{"TopK": -1}[n.Op])
		return v != n.Inputs[0] || (axis+int64(rank))%int64(rank) != int64(from.axis)
	case "Einsum":
		return !contracts(n, v, from)
	case "Trilu":
		return from.axis < rank-2
	case "EyeLike", "NonZero", "OneHot", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "RotaryEmbedding":
		return false // they tell pictures by their numbers
	case "MatMul":
		// rows of a product with what has no pictures, or one product a picture
		return rank-from.axis == fromEnd && (fromEnd > 2 || fromEnd == 2 && v == n.Inputs[0])
	case "Softmax", "LogSoftmax", "Hardmax", "CumSum", "LpNormalization":
		axis := n.Int("axis", -1)
		return n.Op != "CumSum" && (axis+int64(rank))%int64(rank) != int64(from.axis)
	case "LayerNormalization", "RMSNormalization":
		axis := n.Int("axis", -1)
		return (axis+int64(rank))%int64(rank) > int64(from.axis)
	case "Conv", "BatchNormalization", "InstanceNormalization", "GroupNormalization", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize":
		return v == n.Inputs[0] && from.axis == 0 && to.axis == 0
	}
	if len(out.Shape) < rank { // a reduction
		return to.axis <= from.axis
	}
	return rank-from.axis == fromEnd
}

// contracts reports whether an Einsum sums over the pictures in v.
func contracts(n *onnx.Node, v *onnx.Value, from place) bool {
	operands, result, explicit := strings.Cut(strings.ReplaceAll(n.Str("equation", ""), " ", ""), "->")
	letters := strings.Split(operands, ",")
	for i, in := range n.Inputs {
		if in != v || i >= len(letters) {
			continue
		}
		own := letters[i]
		if strings.Contains(own, "...") { // it stands for what the letters leave
			dots := strings.Repeat(".", max(0, len(v.Shape)-(len(own)-3)))
			own = strings.Replace(own, "...", dots, 1)
		}
		if from.axis >= len(own) {
			return true
		}
		letter := own[from.axis : from.axis+1]
		if explicit && !strings.Contains(result, letter) || !explicit && letter != "." && strings.Count(operands, letter) > 1 {
			return true
		}
	}
	return false
}

// choose picks, of the sizes of a reshape's target as they were, the one that
// holds the batch: sizes before it must be what comes before the pictures in x.
// -1 if there is none. Of several that fit, the batch alone comes first, then
// one that it leads, and the last size, which holds features, comes last.
func (r *rebatching) choose(x *onnx.Value, sizes []int64) int {
	p, ok := r.places[x]
	if !ok {
		return -1
	}
	before, ok := p.before(x.Shape)
	best, rank := -1, 0
	around := int64(1)
	for i, size := range sizes {
		if ok && around > 0 && before%around == 0 && size > 0 && size%r.old == 0 && size/r.old%(before/around) == 0 {
			leads, alone := before == around, size == r.old
			score := 1
			switch {
			case leads && alone:
				score = 4
			case leads && i < len(sizes)-1:
				score = 3
			case i < len(sizes)-1:
				score = 2
			}
			if score > rank {
				best, rank = i, score
			}
		}
		around *= size
	}
	return best
}
