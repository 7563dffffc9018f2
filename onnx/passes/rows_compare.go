package passes

import "github.com/relevit/relevit/onnx"

// Operators of programs, and of them alone: 1 where an element is at least, or above,
// their attribute limit, else 0.
const (
	atLeast = "AtLeast"
	above   = "Above"
)

func compares(n *onnx.Node) bool {
	return n.Domain == RowsDomain && (n.Op == atLeast || n.Op == above)
}

// joinComparisons makes one node of a comparison with a number and the Cast of what it says.
func joinComparisons(g *onnx.Graph) {
	ops := map[string]string{"GreaterOrEqual": atLeast, "Greater": above}
	found := false
	for _, n := range g.Nodes {
		if n.Op != "Cast" || n.Domain != "" || n.Outputs[0].Type != onnx.Float {
			continue
		}
		by := n.Inputs[0].Node
		if by == nil || by.Domain != "" || ops[by.Op] == "" || !by.Inputs[0].Shape.Same(by.Outputs[0].Shape) {
			continue
		}
		if limit, ok := scalar(by.Inputs[1]); ok && by.Inputs[0].Type == onnx.Float {
			n.Domain, n.Op, n.Inputs = RowsDomain, ops[by.Op], []*onnx.Value{by.Inputs[0]}
			n.Attrs = []onnx.Attr{{Name: "limit", Value: float32(limit)}}
			found = true
		}
	}
	if found {
		g.Prune()
	}
}

// restore makes of a node that stays alone what it was before joinComparisons.
func restore(n *onnx.Node, g *onnx.Graph) []*onnx.Node {
	ops := map[string]string{atLeast: "GreaterOrEqual", above: "Greater"}
	limit := g.AddInit(g.Fresh(n.Outputs[0].Name+"/limit"), onnx.FloatTensor([]float32{n.Float("limit", 0)}))
	bits := &onnx.Value{Name: g.Fresh(n.Outputs[0].Name + "/compared"), Type: onnx.Bool, Shape: n.Outputs[0].Shape.Clone()}
	bits.Node = &onnx.Node{Name: bits.Name, Op: ops[n.Op], Inputs: []*onnx.Value{n.Inputs[0], limit}, Outputs: []*onnx.Value{bits}}
	n.Domain, n.Op, n.Inputs = "", "Cast", []*onnx.Value{bits}
	n.Attrs = []onnx.Attr{{Name: "to", Value: int64(onnx.Float)}}
	return []*onnx.Node{bits.Node, n}
}
