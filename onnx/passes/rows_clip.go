package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// clipAgain gives each reader of a Clip that programs may hold one of its own: what is
// clipped is read anyway, and costs as much to read as what came out of it.
func clipAgain(g *onnx.Graph) {
	uses := g.Uses()
	before := map[*onnx.Node][]*onnx.Node{}
	for _, n := range g.Nodes {
		out := n.Outputs[0]
		if n.Op != "Clip" || n.Domain != "" || !limits(n) || slices.Contains(g.Outputs, out) {
			continue
		}
		for i, u := range uses[out] {
			if i == 0 || u == uses[out][0] || !slices.Contains(rowOps, u.Op) || u.Domain != "" {
				continue
			}
			v := &onnx.Value{Name: g.Fresh(out.Name + "/again"), Type: out.Type, Shape: out.Shape.Clone()}
			v.Node = &onnx.Node{Name: v.Name, Op: n.Op, Attrs: n.Attrs, Inputs: slices.Clone(n.Inputs), Outputs: []*onnx.Value{v}}
			for j, x := range u.Inputs {
				if x == out {
					u.Inputs[j] = v
				}
			}
			before[u] = append(before[u], v.Node)
		}
	}
	var nodes []*onnx.Node
	for _, n := range g.Nodes {
		nodes = append(append(nodes, before[n]...), n)
	}
	g.Nodes = nodes
}
