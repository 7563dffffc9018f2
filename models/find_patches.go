package models

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// patches finds the patch grid: the size of the last picture-like value before
// the first attention. Tokens beyond the patches are prefix tokens.
func (f *finder) patches() {
	if len(f.s.Attention) == 0 {
		return
	}
	first := f.s.Attention[0]
	before := ancestors(first.Value)
	grid, node := [2]int64{}, (*onnx.Node)(nil)
	for _, n := range f.g.Nodes {
		if out := n.Out(0); out == nil || !before[out] || !f.data[out] {
			continue
		}
		if g, ok := f.gridOf(n); ok {
			grid, node = g, n
		}
	}
	if node == nil {
		f.problem("the patch embedding wasn't found: neither a Conv nor a Reshape cuts the picture %v into patches before the first attention", f.s.Image)
		return
	}
	f.s.Grid = grid
	if d := node.Out(0).Shape[1]; node.Op == "Conv" && d.Known() {
		f.s.Width = d.N
	}
	f.s.PrefixTokens = first.Tokens - grid[0]*grid[1]
	image := f.s.Image.Shape
	if image[2].Known() && image[3].Known() {
		f.s.Patch = [2]int64{image[2].N / grid[0], image[3].N / grid[1]}
	}
	switch {
	case f.s.PrefixTokens < 0:
		f.problem("attention %s is between %d tokens, fewer than the %dx%d patches of node %s: attention within windows or over reduced tokens; relevit needs it between all patches",
			first.Value.Name, first.Tokens, grid[0], grid[1], node.Label())
		f.s.PrefixTokens = 0
	case f.s.PrefixTokens > grid[0]*grid[1]:
		f.problem("attention %s is between %d tokens, many more than the %dx%d patches of node %s: the tokens aren't understood",
			first.Value.Name, first.Tokens, grid[0], grid[1], node.Label())
	case f.s.PrefixTokens > 0:
		f.order(before, first.Tokens)
	}
}

// gridOf returns rows and columns of the patches that a node makes.
func (f *finder) gridOf(n *onnx.Node) ([2]int64, bool) {
	s := n.Out(0).Shape
	switch {
	case n.Op == "Conv" || n.Op == "SpaceToDepth":
		if len(s) == 4 && s[2].Known() && s[3].Known() {
			return [2]int64{s[2].N, s[3].N}, true
		}
	case n.Op == "Reshape" && len(s) == 6:
		// (B,C,rows,p,columns,p) or (B,rows,p,columns,p,C)
		image := f.s.Image.Shape
		for i := 1; i <= 2; i++ {
			if s[i].Known() && s[i+2].Known() && s[i].Times(s[i+1]).Same(image[2]) && s[i+2].Times(s[i+3]).Same(image[3]) {
				return [2]int64{s[i].N, s[i+2].N}, true
			}
		}
	}
	return [2]int64{}, false
}

// order checks that the other tokens come before the patches.
func (f *finder) order(before map[*onnx.Value]bool, tokens int64) {
	for _, n := range f.g.Nodes {
		out := n.Out(0)
		if n.Op != "Concat" || !before[out] || !f.data[out] || len(out.Shape) != 3 {
			continue
		}
		axis := int(n.Int("axis", 0))
		if axis < 0 {
			axis += 3
		}
		if axis > 1 || !out.Shape[axis].Is(tokens) {
			continue
		}
		if last := n.Inputs[len(n.Inputs)-1]; !f.data[last] && slices.ContainsFunc(n.Inputs, func(v *onnx.Value) bool { return f.data[v] }) {
			f.problem("node %s puts other tokens behind those of the patches: relevit needs the class token first", n.Label())
		}
	}
}
