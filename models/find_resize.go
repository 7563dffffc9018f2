package models

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// ResizePicture makes a graph whose picture has a fixed size take pictures of
// another, rows x columns, and resamples its position embedding as for a
// checkpoint: a constant (N,D) or (P,D) that is added to the tokens. s is what
// Find found in the graph. Graphs that hold the number of tokens in other ways
// than sizes of reshapes, slices and splits are an error, such as those with
// relative or rotary positions.
//
// On an error the graph is left half rewritten: drop it.
func ResizePicture(g *onnx.Graph, s *Structure, opt FindOptions, size [2]int64) error {
	r := &resizing{g: g, s: s}
	fail := func(format string, args ...any) error {
		return &Error{Problem: fmt.Sprintf("the pictures of the graph can't be made %dx%d: ", size[0], size[1]) + fmt.Sprintf(format, args...),
			Advice: "give the checkpoint, or a graph for pictures of any size"}
	}
	for i, pixels := range size {
		if s.Patch[i] < 1 || pixels%s.Patch[i] != 0 {
			return fail("they are no multiple of the patches' %dx%d pixels", s.Patch[0], s.Patch[1])
		}
		r.grid[i] = pixels / s.Patch[i]
	}
	table := r.positions()
	if table == nil {
		return fail("the position embedding wasn't found: no constant of %d to %d rows is added to the tokens, once and before the first attention", r.old(), r.old()+s.PrefixTokens)
	}
	patches := int(r.old())
	t, err := resample(table.Data, int(table.Data.Dims[len(table.Data.Dims)-2])-patches, [2]int{int(s.Grid[0]), int(s.Grid[1])}, [2]int{int(r.grid[0]), int(r.grid[1])})
	if err != nil {
		return fail("%v", err)
	}
	width := t.Dims[len(t.Dims)-1]
	for _, a := range s.Attention {
		for _, n := range []int64{width, a.Heads, width / a.Heads} {
			if n == a.Tokens || n == r.old() {
				return fail("the number of tokens, %d, is also that of channels or heads", n)
			}
		}
	}
	table.Data, table.Shape = t, t.Shape()
	image := s.Image
	image.Shape = image.Shape.Clone()
	image.Shape[2], image.Shape[3] = onnx.D(size[0]), onnx.D(size[1])
	for _, n := range g.Nodes {
		r.mend(n)
		for _, v := range n.Outputs {
			if v != nil && v.Data == nil {
				v.Shape, v.Elems = nil, nil
			}
		}
		if err := onnx.Infer(n); err != nil {
			return fail("%v", err)
		}
	}
	if err := passes.Fold(g); err != nil {
		return fail("%v", err)
	}
	now, err := Find(g, opt)
	if err != nil {
		return fail("%v", err)
	}
	if err := now.FeaturesErr(); err != nil || len(now.Attention) != len(s.Attention) || now.Grid != r.grid || now.PrefixTokens != s.PrefixTokens {
		return fail("its tokens don't follow the picture's size")
	}
	return nil
}

// resizing is a ResizePicture at work.
type resizing struct {
	g    *onnx.Graph
	s    *Structure
	grid [2]int64 // to come
}

// old is the number of patches so far.
func (r *resizing) old() int64 { return r.s.Grid[0] * r.s.Grid[1] }

// positions is the only constant of as many rows as there are patches, or some
// prefix tokens more, that is added on the way to the first attention.
func (r *resizing) positions() *onnx.Value {
	before := ancestors(r.s.Attention[0].Value)
	var found *onnx.Value
	for _, n := range r.g.Nodes {
		if n.Op != "Add" || n.Domain != "" || !before[n.Out(0)] {
			continue
		}
		for i, v := range n.Inputs {
			d := []int64(nil)
			if v.Data != nil {
				d = v.Data.Dims
			}
			if len(d) < 2 || len(d) > 3 || len(d) == 3 && d[0] != 1 || !v.Type.IsFloat() || len(n.Inputs[1-i].Shape) != 3 {
				continue
			}
			if rows := d[len(d)-2] - r.old(); rows < 0 || rows > r.s.PrefixTokens {
				continue
			}
			if found != nil && found != v {
				return nil
			}
			found = v
		}
	}
	return found
}

// mend puts the new numbers of tokens, patches, rows and columns into the
// constants that are sizes of a node.
func (r *resizing) mend(n *onnx.Node) {
	if n.Domain != "" {
		return
	}
	switch n.Op {
	case "Reshape", "Expand", "Split":
		r.sizes(n, 1)
	case "Slice":
		r.sizes(n, 2)
	}
}

// sizes mends the constant input i.
func (r *resizing) sizes(n *onnx.Node, i int) {
	v := n.In(i)
	if v == nil || v.Data == nil {
		return
	}
	list, err := v.Data.Int64s()
	if err != nil {
		return
	}
	before := slices.Clone(list)
	p, q := r.old(), r.grid[0]*r.grid[1]
	tokens := r.s.Attention[0].Tokens
	for k := range list {
		switch {
		case before[k] == tokens:
			list[k] = tokens - p + q
		case before[k] == p:
			list[k] = q
		case n.Op == "Reshape" && k+1 < len(list) && before[k] == r.s.Grid[0] && before[k+1] == r.s.Grid[1] && len(list) >= 4:
			list[k], list[k+1] = r.grid[0], r.grid[1]
		}
	}
	if !slices.Equal(list, before) {
		n.Inputs[i] = r.g.AddInit(v.Name+"/resized", onnx.Int64Tensor(list, v.Data.Dims...))
	}
}
