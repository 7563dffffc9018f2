package passes

import "github.com/relevit/relevit/onnx"

// Order puts nodes that nobody reads behind all others, in reverse. ONNX Runtime
// begins with the last of them and computes what each one lacks, so that their
// order becomes that in which they stood: a walk back through a model gives the
// last weights' gradients first, and each frees what it alone still reads before
// the walk goes on. In another order the walk comes first and all of it waits.
func Order(g *onnx.Graph) error {
	uses := g.Uses()
	var inner, ends []*onnx.Node
	for _, n := range g.Nodes {
		read := false
		for _, v := range n.Outputs {
			read = read || len(uses[v]) > 0
		}
		if read {
			inner = append(inner, n)
		} else {
			ends = append([]*onnx.Node{n}, ends...)
		}
	}
	g.Nodes = append(inner, ends...)
	return nil
}

// Execution lists the nodes in the order in which ONNX Runtime's default plan
// runs them: back from the nodes that nobody reads, the last first, and of
// several inputs the one that was made last first.
func Execution(g *onnx.Graph) []*onnx.Node {
	uses := g.Uses()
	index := map[*onnx.Node]int{}
	for i, n := range g.Nodes {
		index[n] = i
	}
	out := make([]*onnx.Node, 0, len(g.Nodes))
	done := map[*onnx.Node]bool{}
	var run func(n *onnx.Node)
	run = func(n *onnx.Node) {
		done[n] = true
		for {
			var next *onnx.Node
			for _, list := range [][]*onnx.Value{n.Inputs, n.Captures} {
				for _, v := range list {
					if v != nil && v.Node != nil && !done[v.Node] && (next == nil || index[v.Node] > index[next]) {
						next = v.Node
					}
				}
			}
			if next == nil {
				break
			}
			run(next)
		}
		out = append(out, n)
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n, read := g.Nodes[i], false
		for _, v := range n.Outputs {
			read = read || len(uses[v]) > 0
		}
		if !read && !done[n] {
			run(n)
		}
	}
	return out
}
