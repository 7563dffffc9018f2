package models

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// patches finds the patch grid: the size of the last picture-like value before
// the first attention. Tokens beyond the patches are prefix tokens.
func (f *finder) patches() error {
	if f.opt.Grid != [2]int64{} && len(f.s.Attention) == 0 {
		f.s.Grid = f.opt.Grid
	}
	if len(f.s.Attention) == 0 {
		return nil
	}
	first := f.s.Attention[0]
	before := ancestors(first.Value)
	node, grid := f.embedding(before)
	if node != nil && node.Op == "Conv" && node.Out(0).Shape[1].Known() {
		f.s.Width = node.Out(0).Shape[1].N
	}
	if f.opt.Grid != [2]int64{} || f.opt.PrefixTokens != nil {
		return f.stated(grid, first)
	}
	if node == nil {
		if grid = f.guess(first.Tokens); grid == [2]int64{} {
			f.problem("the patch embedding wasn't found: neither a Conv nor a Reshape cuts the picture %v into patches before the first attention; state --grid ROWSxCOLUMNS", f.s.Image)
			return nil
		}
		f.note("the patch embedding wasn't found: of %d tokens %d are taken for a grid of %dx%d patches; state --grid if it is another", first.Tokens, grid[0]*grid[1], grid[0], grid[1])
	}
	f.lay(grid, first.Tokens-grid[0]*grid[1])
	patches := grid[0] * grid[1]
	switch {
	case first.Tokens < patches && f.missed(stepWindows) > 0:
		f.merged = true
		f.problem("attention between all tokens comes only where the %dx%d patches are merged to %d tokens (%s), before it is attention within windows, as in Swin: %s",
			grid[0], grid[1], first.Tokens, first.Value.Name, attentionAdvice)
	case first.Tokens < patches:
		f.problem("attention %s is between %d tokens, fewer than the %dx%d patches of node %s: attention within windows, over reduced tokens or between channels; relevit needs it between all patches",
			first.Value.Name, first.Tokens, grid[0], grid[1], label(node))
	case f.s.PrefixTokens > patches:
		f.problem("attention %s is between %d tokens, many more than the %dx%d patches of node %s: state --grid and --prefix-tokens if they are others",
			first.Value.Name, first.Tokens, grid[0], grid[1], label(node))
	case f.s.PrefixTokens > 0:
		f.order(before, first.Tokens)
	}
	return nil
}

func label(n *onnx.Node) string {
	if n == nil {
		return "?"
	}
	return n.Label()
}

// lay takes a grid and so many prefix tokens, at least none.
func (f *finder) lay(grid [2]int64, prefix int64) {
	f.s.Grid, f.s.PrefixTokens = grid, max(prefix, 0)
	if size := f.size(); size[0].Known() && size[1].Known() {
		f.s.Patch = [2]int64{size[0].N / grid[0], size[1].N / grid[1]}
	}
}

// stated takes the grid and the prefix tokens that the options state; found is
// the grid in the graph, zeros if there is none.
func (f *finder) stated(found [2]int64, first Attention) error {
	grid := f.opt.Grid
	misfit := func(format string, args ...any) error {
		return &Error{Usage: true, Problem: fmt.Sprintf(format, args...)}
	}
	if grid == [2]int64{} {
		rest := first.Tokens - *f.opt.PrefixTokens
		if grid = found; grid[0]*grid[1] != rest {
			grid = f.divide(rest)
		}
		if grid == [2]int64{} {
			return misfit("%d prefix tokens leave %d of the %d tokens of attention %s, and no grid of patches has so many in a picture %v; state the grid, too",
				*f.opt.PrefixTokens, rest, first.Tokens, first.Value.Name, f.s.Image)
		}
	}
	prefix := first.Tokens - grid[0]*grid[1]
	size := f.size()
	switch {
	case grid[0] < 1 || grid[1] < 1 || grid[0] > first.Tokens || grid[1] > first.Tokens || prefix < 0:
		return misfit("a grid of %dx%d patches has %d, and attention %s is between %d tokens", grid[0], grid[1], grid[0]*grid[1], first.Value.Name, first.Tokens)
	case f.opt.PrefixTokens != nil && *f.opt.PrefixTokens != prefix:
		return misfit("%d prefix tokens and a grid of %dx%d patches are %d tokens, and attention %s is between %d",
			*f.opt.PrefixTokens, grid[0], grid[1], *f.opt.PrefixTokens+grid[0]*grid[1], first.Value.Name, first.Tokens)
	case size[0].Known() && grid[0] > size[0].N || size[1].Known() && grid[1] > size[1].N:
		return misfit("a grid of %dx%d patches is finer than the pixels of %v", grid[0], grid[1], f.s.Image)
	}
	f.lay(grid, prefix)
	return nil
}

// guess is a grid that so many tokens, but for a few prefix tokens, can be of.
func (f *finder) guess(tokens int64) [2]int64 {
	for _, prefix := range []int64{1, 0, 2, 5, 3, 4} {
		if grid := f.divide(tokens - prefix); grid != [2]int64{} {
			return grid
		}
	}
	return [2]int64{}
}

// divide is the grid of so many square patches in the picture, zeros if there
// is none.
func (f *finder) divide(patches int64) [2]int64 {
	size := f.size()
	if !size[0].Known() || !size[1].Known() || patches < 1 {
		return [2]int64{}
	}
	h, w := size[0].N, size[1].N
	for p := int64(1); p <= min(h, w); p++ {
		if h%p == 0 && w%p == 0 && patches%(h/p) == 0 && patches/(h/p) == w/p {
			return [2]int64{h / p, w / p}
		}
	}
	return [2]int64{}
}

// embedding is the last node before the first attention that gives something
// like a picture, and that picture's size; nil and zeros if there is none.
func (f *finder) embedding(before map[*onnx.Value]bool) (node *onnx.Node, grid [2]int64) {
	for _, n := range f.g.Nodes {
		if out := n.Out(0); out == nil || !before[out] || !f.data[out] {
			continue
		}
		if g, ok := f.gridOf(n); ok {
			grid, node = g, n
		}
	}
	return node, grid
}

// gridOf returns rows and columns of the patches that a node makes.
func (f *finder) gridOf(n *onnx.Node) ([2]int64, bool) {
	s := n.Out(0).Shape
	switch n.Op {
	case "Conv", "MaxPool", "AveragePool", "SpaceToDepth":
		if _, heads := f.mixed(n); !heads && len(s) == 4 && s[2].Known() && s[3].Known() && s[2].N > 0 && s[3].N > 0 {
			return [2]int64{s[2].N, s[3].N}, true
		}
	case "Reshape":
		size := f.size()
		for i := 1; i <= 2 && len(s) == 6; i++ {
			// (B,C,rows,p,columns,p) or (B,rows,p,columns,p,C)
			if s[i].Known() && s[i+2].Known() && s[i].N > 0 && s[i+2].N > 0 && s[i].Times(s[i+1]).Same(size[0]) && s[i+2].Times(s[i+3]).Same(size[1]) {
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
