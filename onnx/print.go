package onnx

import (
	"fmt"
	"strings"
)

// String prints the graph as text, a line a node:
//
//	blocks.0.attn/A float32(B,3,197,197) = Softmax(blocks.0.attn/scores) axis=-1
func (g *Graph) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "graph %s\n", g.Name)
	for _, v := range g.Inputs {
		fmt.Fprintf(&s, "  input  %v\n", v)
	}
	for _, v := range g.Inits {
		fmt.Fprintf(&s, "  const  %v", v)
		if v.Elems != nil && len(v.Elems) <= 8 {
			fmt.Fprintf(&s, " = %v", v.Elems)
		}
		s.WriteByte('\n')
	}
	for _, n := range g.Nodes {
		fmt.Fprintf(&s, "  %v\n", n)
	}
	for _, v := range g.Outputs {
		fmt.Fprintf(&s, "  output %v\n", v)
	}
	return s.String()
}

// String prints the node on one line.
func (n *Node) String() string {
	var s strings.Builder
	for i, v := range n.Outputs {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(v.String())
	}
	op := n.Op
	if n.Domain != "" {
		op = n.Domain + "." + op
	}
	fmt.Fprintf(&s, " = %s(", op)
	for i, v := range n.Inputs {
		if i > 0 {
			s.WriteString(", ")
		}
		if v == nil {
			s.WriteByte('-')
		} else {
			s.WriteString(v.Name)
		}
	}
	s.WriteByte(')')
	for _, a := range n.Attrs {
		s.WriteByte(' ')
		s.WriteString(a.String())
	}
	return s.String()
}
