package models

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Tokens are all tokens of a picture in one value: (B,N,D), or (N,B,D).
type Tokens struct {
	Value *onnx.Value
	Axis  int // of the tokens, 0 or 1; the batch is the other, the last is the channels
}

// FindNormed finds what the last block makes its queries, keys and values of:
// in a ViT the output of its first normalisation.
func FindNormed(g *onnx.Graph, s *Structure) (Tokens, error) {
	factors, err := FindFactors(g, s)
	if err != nil {
		return Tokens{}, err
	}
	var ends []*onnx.Value
	last := s.Attention[len(s.Attention)-1]
	for i, a := range s.Attention {
		if a.Block == last.Block {
			ends = append(ends, factors[i].Queries.Value, factors[i].Keys.Value, factors[i].Values.Value)
		}
	}
	w := newWaist(g, s, ends)
	for i, v := range slices.Backward(w.cuts) {
		if !w.weighed(v) {
			continue
		}
		for j := i; j >= 0; j-- { // a Reshape may lie before the weights
			if t, ok := s.tokens(w.cuts[j]); ok {
				return t, nil
			}
			if n := w.cuts[j].Node; n == nil || !reshapes(n) && n.Op != "Transpose" && n.Op != "Cast" && n.Op != "Identity" {
				break
			}
		}
		break
	}
	return Tokens{}, &Error{Problem: fmt.Sprintf("no tensor of %d tokens was found of which the queries, keys and values of attention %s are made", last.Tokens, last.Value.Name)}
}

// FindBlocks finds the tokens as every block leaves them, from the first to the
// last.
func FindBlocks(g *onnx.Graph, s *Structure) ([]Tokens, error) {
	w := newWaist(g, s, []*onnx.Value{s.Logits})
	w.join()
	place := map[*onnx.Value]int{}
	for i, v := range w.cuts {
		place[v] = i
	}
	var out []Tokens
	var begins []int // of every block: the place of what it is given
	for i, a := range s.Attention {
		if i > 0 && a.Block == s.Attention[i-1].Block {
			continue
		}
		at := -1
		for v := range ancestors(a.Value) {
			if p, ok := place[v]; ok {
				at = max(at, p)
			}
		}
		for at > 0 { // a layout that only this block has
			if _, ok := s.tokens(w.cuts[at]); ok {
				break
			}
			at--
		}
		if at < 0 || len(begins) > 0 && at <= begins[len(begins)-1] {
			return nil, noTokens(a)
		}
		begins = append(begins, at)
	}
	for _, at := range begins[1:] {
		t, _ := s.tokens(w.cuts[at])
		out = append(out, t)
	}
	last := s.Attention[len(s.Attention)-1]
	end, ok := w.end(s, begins)
	if !ok {
		return nil, noTokens(last)
	}
	return append(out, end), nil
}

func noTokens(a Attention) error {
	return &Error{Problem: fmt.Sprintf("no tensor of all %d tokens was found between block %d (attention %s) and what comes before or behind it", a.Tokens, a.Block, a.Value.Name)}
}

// end finds the tokens that the last block leaves: they come as many cuts behind
// those that it is given as in the block before. A single block's are the last
// sum of tokens.
func (w *waist) end(s *Structure, begins []int) (Tokens, bool) {
	n := len(begins)
	if n > 1 {
		at := 2*begins[n-1] - begins[n-2]
		if at >= len(w.cuts) {
			return Tokens{}, false
		}
		return s.tokens(w.cuts[at])
	}
	for _, v := range slices.Backward(w.cuts[begins[0]+1:]) {
		if t, ok := s.tokens(v); ok && v.Is("Add") {
			return t, true
		}
	}
	return Tokens{}, false
}

// tokens reads a value as all tokens.
func (s *Structure) tokens(v *onnx.Value) (Tokens, bool) {
	if len(v.Shape) != 3 || !v.Shape[2].Known() {
		return Tokens{}, false
	}
	n, batch := s.Attention[0].Tokens, s.Image.Shape[0]
	for axis := 1; axis >= 0; axis-- {
		if v.Shape[axis].Is(n) && v.Shape[1-axis].Same(batch) {
			return Tokens{v, axis}, true
		}
	}
	return Tokens{}, false
}

// waist is where all that leads from the picture to some ends passes a single
// value.
type waist struct {
	cuts []*onnx.Value // in order
	data map[*onnx.Value]bool
	on   map[*onnx.Value]bool // what the ends depend on
	g    *onnx.Graph
}

// newWaist sweeps over the nodes: behind a cut nothing that came before it is
// read again.
func newWaist(g *onnx.Graph, s *Structure, ends []*onnx.Value) *waist {
	f := newFinder(g, FindOptions{})
	f.spread(s.Image)
	w := &waist{data: f.data, on: ancestors(ends...), g: g}
	left := map[*onnx.Value]int{} // readers to come
	relevant := func(v *onnx.Value) bool { return v != nil && w.data[v] && w.on[v] }
	reads := func(n *onnx.Node, f func(*onnx.Value)) {
		if !slices.ContainsFunc(n.Outputs, relevant) {
			return
		}
		for _, v := range slices.Concat(n.Inputs, n.Captures) {
			if relevant(v) {
				f(v)
			}
		}
	}
	for _, n := range g.Nodes {
		reads(n, func(v *onnx.Value) { left[v]++ })
	}
	for _, v := range ends {
		left[v]++ // they are read for good
	}
	live := map[*onnx.Value]bool{s.Image: true}
	for _, n := range g.Nodes {
		reads(n, func(v *onnx.Value) {
			if left[v]--; left[v] == 0 {
				delete(live, v)
			}
		})
		for _, v := range n.Outputs {
			if relevant(v) && left[v] > 0 {
				live[v] = true
				if len(live) == 1 && !slices.ContainsFunc(n.Outputs, func(o *onnx.Value) bool { return o != v && relevant(o) }) {
					w.cuts = append(w.cuts, v)
				}
			}
		}
	}
	return w
}

// join leaves out cuts of which the next is only another layout, or the same
// with a bias: exporters add a layer's bias before or behind the residual.
func (w *waist) join() {
	var kept []*onnx.Value
	for i, v := range w.cuts {
		if i+1 < len(w.cuts) {
			next := w.cuts[i+1].Node
			data := slices.DeleteFunc(slices.Clone(next.Inputs), func(in *onnx.Value) bool { return !w.data[in] })
			if len(data) == 1 && data[0] == v && joins[next.Op] {
				continue
			}
		}
		kept = append(kept, v)
	}
	w.cuts = kept
}

// joins lists the operators of such nodes, if only one operand depends on the
// picture.
var joins = map[string]bool{"Add": true, "Reshape": true, "Transpose": true, "Squeeze": true, "Unsqueeze": true,
	"Flatten": true, "Cast": true, "Identity": true, "Dropout": true}

// weighed reports whether a product with weights reads v, or what comes behind
// it, on the way to the ends.
func (w *waist) weighed(v *onnx.Value) bool {
	behind := map[*onnx.Value]bool{v: true}
	for _, n := range w.g.Nodes {
		if !slices.ContainsFunc(n.Inputs, func(in *onnx.Value) bool { return behind[in] }) || !slices.ContainsFunc(n.Outputs, func(o *onnx.Value) bool { return w.on[o] }) {
			continue
		}
		switch n.Op {
		case "MatMul", "Gemm", "Einsum", "Conv":
			if slices.ContainsFunc(n.Inputs[:2], func(in *onnx.Value) bool { return !w.data[in] }) {
				return true
			}
		}
		for _, o := range n.Outputs {
			behind[o] = true
		}
	}
	return false
}
