package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// HeadsOp is the operator, of RowsDomain, that FuseHeads makes nodes of. Its
// attributes are a layout (see onnx/ort/heads_op.c) and the shape of its outputs.
const HeadsOp = "Heads"

// FuseHeads has attention heads split and joined by nodes of our own, which use all
// threads and copy once:
//
//	Transpose (B,N,H,D) to (B,H,N,D), and back
//	Split of Transpose (B,N,P,H,D) to (P,B,H,N,D), as into q, k and v
//	Transpose (P,B,H,N,D) to (B,N,P,H,D) of Concat, as of their gradients
//
// The graph is then for our own sessions alone (ort.Options.Rows).
func FuseHeads(g *onnx.Graph) error {
	h := &joining{uses: g.Uses(), outputs: g.Outputs}
	for _, n := range g.Nodes {
		if n.Op == "Transpose" && n.Domain == "" {
			h.transpose(n)
		}
	}
	g.Prune()
	return nil
}

type joining struct {
	uses    map[*onnx.Value][]*onnx.Node
	outputs []*onnx.Value
}

// What is worth a node: of less, handing parts to threads costs more.
const (
	leastMoved = 1 << 15 // elements
	leastRun   = 16      // of them side by side
	mostParts  = 4
)

func (h *joining) transpose(n *onnx.Node) {
	x, y := n.Inputs[0], n.Outputs[0]
	s, perm := x.Shape, n.Ints("perm")
	if x.Type != onnx.Float || !s.Known() || s.Count().N < leastMoved || s[len(s)-1].N < leastRun {
		return
	}
	switch {
	case slices.Equal(perm, []int64{0, 2, 1, 3}) && s[1].N > s[2].N: // more tokens than heads
		become(n, headsLayout{s[0], s[2], s[1], s[3], 1, true}, n.Inputs, n.Outputs)
	case slices.Equal(perm, []int64{0, 2, 1, 3}):
		become(n, headsLayout{s[0], s[1], s[2], s[3], 1, false}, n.Inputs, n.Outputs)
	case slices.Equal(perm, []int64{2, 0, 3, 1, 4}) && s[2].N <= mostParts && len(h.uses[y]) == 1 && !slices.Contains(h.outputs, y):
		split := h.uses[y][0]
		if split.Op == "Split" && split.Domain == "" && split.Int("axis", 0) == 0 && int64(len(split.Outputs)) == s[2].N && single(split.Outputs) {
			become(split, headsLayout{s[0], s[3], s[1], s[4], s[2].N, true}, n.Inputs, split.Outputs)
		}
	case slices.Equal(perm, []int64{1, 3, 0, 2, 4}) && s[0].N <= mostParts && x.Is("Concat"):
		join := x.Node
		if join.Int("axis", 0) == 0 && int64(len(join.Inputs)) == s[0].N && single(join.Inputs) {
			become(n, headsLayout{s[1], s[2], s[3], s[4], s[0].N, false}, join.Inputs, n.Outputs)
		}
	}
}

// single reports whether each value is one part.
func single(parts []*onnx.Value) bool {
	return !slices.ContainsFunc(parts, func(v *onnx.Value) bool { return v == nil || v.Shape[0].N != 1 })
}

// headsLayout is how heads lie: in parts of (pictures, heads, tokens, width) each, or
// side by side in a token's row.
type headsLayout struct {
	pictures, heads, tokens, width onnx.Dim
	parts                          int64
	splits                         bool
}

// become makes a node one of heads. Of several outputs all have the first's shape,
// and of several inputs, since each is one of as many parts.
func become(n *onnx.Node, l headsLayout, in, out []*onnx.Value) {
	layout := []int64{l.pictures.N, l.heads.N, l.tokens.N, l.width.N, l.parts, 0, 0}
	if l.splits {
		layout[5] = 1
	}
	n.Domain, n.Op, n.Inputs, n.Outputs = RowsDomain, HeadsOp, slices.Clone(in), out
	n.Attrs = []onnx.Attr{{Name: "layout", Value: layout}, {Name: "shape", Value: out[0].Shape.Ints()}}
}

// joins returns the node of heads whose rows a matrix has, past Reshapes; nil where
// there is none.
func joins(v *onnx.Value) *onnx.Node {
	rows, length := v.Shape[0].N, v.Shape[1].N
	for v.Is("Reshape") {
		v = v.Node.Inputs[0]
	}
	n := v.Node
	if n == nil || n.Domain != RowsDomain || n.Op != HeadsOp || len(n.Outputs) != 1 {
		return nil
	}
	l := n.Ints("layout")
	if l[5] != 0 || l[0]*l[2] != rows || l[1]*l[3]*l[4] != length {
		return nil
	}
	return n
}

// alsoTurn has a node of heads write the columns of its rows, too.
func alsoTurn(n *onnx.Node, columns *onnx.Value) {
	layout := slices.Clone(n.Ints("layout"))
	layout[6] = 1
	n.SetAttr("layout", layout)
	n.Outputs = append(n.Outputs, columns)
	columns.Node = n
}
