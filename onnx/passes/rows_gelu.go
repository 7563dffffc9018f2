package passes

import (
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// shareErf has a GELU share the error function with its slope, and whatever else is
// computed of its input alone, element by element, be computed with it: what they read
// is then read once, and what they have in common computed once. The slope waits for
// its reader in the place of the input.
func shareErf(g *onnx.Graph) {
	uses := g.Uses()
	place := map[*onnx.Node]int{}
	for i, n := range g.Nodes {
		place[n] = i
	}
	before := map[*onnx.Node][]*onnx.Node{} // by the GELU
	moved := map[*onnx.Node]bool{}
	for _, n := range g.Nodes {
		if n.Op != "Gelu" || n.Domain != "" || n.Str("approximate", "none") != "none" || n.Outputs[0].Type != onnx.Float {
			continue
		}
		x := n.Inputs[0]
		share := normalShare(uses, x)
		if share == nil {
			continue
		}
		for _, m := range ofAlone(uses, x, place) {
			if place[m] > place[n] && !moved[m] {
				moved[m], before[n] = true, append(before[n], m)
			}
		}
		n.Op, n.Attrs, n.Inputs = "Mul", nil, []*onnx.Value{x, share}
	}
	var nodes []*onnx.Node
	for _, n := range g.Nodes {
		if !moved[n] {
			nodes = append(append(nodes, before[n]...), n)
		}
	}
	g.Nodes = nodes
}

// normalShare finds the normal distribution's share below x, (1 + erf(x / sqrt(2))) / 2.
func normalShare(uses map[*onnx.Value][]*onnx.Node, x *onnx.Value) *onnx.Value {
	for _, scale := range uses[x] {
		if !timesNumber(scale, x, math.Sqrt(0.5)) {
			continue
		}
		for _, erf := range uses[scale.Outputs[0]] {
			if erf.Op != "Erf" || erf.Domain != "" {
				continue
			}
			for _, n := range uses[erf.Outputs[0]] {
				if n.Op == "HardSigmoid" && n.Domain == "" && n.Float("alpha", 0.2) == 0.5 && n.Float("beta", 0.5) == 0.5 {
					return n.Outputs[0]
				}
			}
		}
	}
	return nil
}

// timesNumber reports whether a node multiplies x by a number, rounded to float32.
func timesNumber(n *onnx.Node, x *onnx.Value, by float64) bool {
	if n.Op != "Mul" || n.Domain != "" || n.Inputs[0] != x {
		return false
	}
	v, ok := scalar(n.Inputs[1])
	return ok && float32(v) == float32(by)
}

// ofAlone lists, in their order, the nodes that compute element by element of x alone.
func ofAlone(uses map[*onnx.Value][]*onnx.Node, x *onnx.Value, place map[*onnx.Node]int) []*onnx.Node {
	known := map[*onnx.Value]bool{x: true}
	var out []*onnx.Node
	for todo := []*onnx.Value{x}; len(todo) > 0; todo = todo[1:] {
		for _, n := range uses[todo[0]] {
			if n.Domain != "" || !slices.Contains(rowOps, n.Op) || reduces(n) || len(n.Outputs) != 1 || !n.Outputs[0].Shape.Same(x.Shape) || known[n.Outputs[0]] {
				continue
			}
			if !slices.ContainsFunc(operands(n), func(v *onnx.Value) bool { return !known[v] && v.Data == nil }) {
				known[n.Outputs[0]] = true
				out, todo = append(out, n), append(todo, n.Outputs[0])
			}
		}
	}
	slices.SortFunc(out, func(a, b *onnx.Node) int { return place[a] - place[b] })
	return out
}
