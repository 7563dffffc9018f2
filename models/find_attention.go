package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// nearMiss is a softmax that isn't attention between all tokens.
type nearMiss struct {
	node   *onnx.Node
	reason string
	steps  int // how much of the pattern it fits
}

// Steps of the pattern, in the order in which they are checked.
const (
	stepAlone   = iota // a softmax
	stepScores         // over a product of two things that depend on the picture
	stepValues         // which multiplies values
	stepSquare         // between as many queries as keys
	stepMatched        // for every head of the whole picture
)

// attentions finds the maps and numbers their blocks.
func (f *finder) attentions() {
	for _, n := range f.g.Nodes {
		if n.Op != "Softmax" || n.Domain != "" || !f.data[n.Out(0)] || !f.needs[n.Out(0)] {
			continue
		}
		a, miss := f.match(n)
		if miss != nil {
			f.near = append(f.near, *miss)
			continue
		}
		if !slices.ContainsFunc(f.s.Attention, func(b Attention) bool { return b.Value == a.Value }) {
			f.s.Attention = append(f.s.Attention, *a)
		}
	}
	f.blocks()
	f.judge()
}

// judge says what the softmaxes that didn't match mean.
func (f *finder) judge() {
	const advice = "relevit needs self-attention between all tokens of the picture"
	if len(f.s.Attention) > 0 {
		for _, m := range f.near {
			if m.steps >= stepSquare {
				f.problem("besides attention between all tokens, %s: %s", m.text(), advice)
				return
			}
		}
		f.sizes()
		return
	}
	for _, n := range f.g.Nodes {
		if strings.Contains(n.Op, "Attention") {
			f.problem("no attention found: node %s is a fused %s.%s, whose map isn't a value of the graph: export the model with eager attention", n.Label(), n.Domain, n.Op)
			return
		}
	}
	if len(f.near) == 0 {
		f.problem("no attention found: no Softmax lies between the picture and the logits, so this seems to be no Transformer: %s", advice)
		return
	}
	best := slices.MaxFunc(f.near, func(a, b nearMiss) int { return a.steps - b.steps })
	f.problem("no attention found: the nearest is %s: %s", best.text(), advice)
}

func (m nearMiss) text() string {
	return fmt.Sprintf("node %s (%s), but %s", m.node.Label(), m.node.Op, m.reason)
}

// sizes checks that all attentions are between the same tokens.
func (f *finder) sizes() {
	first := f.s.Attention[0]
	for _, a := range f.s.Attention {
		if a.Tokens != first.Tokens {
			f.problem("attention %s is between %d tokens, %s between %d, as in hierarchical models: relevit needs the same tokens in every block",
				first.Value.Name, first.Tokens, a.Value.Name, a.Tokens)
			return
		}
	}
}

// blocks numbers each attention by the longest chain of others before it.
func (f *finder) blocks() {
	level := map[*onnx.Value]int{}
	at := map[*onnx.Value]*Attention{}
	for i := range f.s.Attention {
		at[f.s.Attention[i].Value] = &f.s.Attention[i]
	}
	for _, n := range f.g.Nodes {
		deepest := 0
		for _, v := range n.Inputs {
			deepest = max(deepest, level[v])
		}
		for _, o := range n.Outputs {
			level[o] = deepest
			if a := at[o]; a != nil {
				a.Block = deepest
				level[o]++
			}
		}
	}
}

// match checks one softmax against the pattern.
func (f *finder) match(n *onnx.Node) (*Attention, *nearMiss) {
	miss := func(steps int, format string, args ...any) (*Attention, *nearMiss) {
		return nil, &nearMiss{n, fmt.Sprintf(format, args...), steps}
	}
	if found, why := f.scores(n.In(0), map[*onnx.Value]bool{}); !found {
		return miss(stepAlone, "%s", why)
	}
	if n.Out(0).Shape == nil {
		return miss(stepScores, "its shape isn't known")
	}
	axis := int(n.Int("axis", -1))
	if axis < 0 {
		axis += len(n.Out(0).Shape)
	}
	reading, why := f.values(n.Out(0), axis)
	if reading == nil {
		return miss(stepScores, "%s", why)
	}
	A := reading.value
	nq, nk := A.Shape[reading.free], A.Shape[reading.summed]
	switch {
	case !nq.Known() || !nk.Known():
		return miss(stepValues, "the number of tokens in %v isn't known", A)
	case nq != nk:
		return miss(stepValues, "its map %v is of %d queries over %d keys, as in cross attention and pooling", A, nq.N, nk.N)
	}
	a := &Attention{Value: A, Tokens: nk.N, Transposed: reading.summed < reading.free}
	rank := len(A.Shape)
	if rank < 3 || rank > 4 || min(reading.free, reading.summed) != rank-2 {
		return miss(stepSquare, "its map %v isn't (batch,heads,tokens,tokens) nor (batch*heads,tokens,tokens), as in attention within windows", A)
	}
	per := A.Shape[0].Over(f.s.Image.Shape[0]) // maps a picture
	if rank == 3 {
		if !per.Known() || per.N < 1 {
			return miss(stepSquare, "the number of heads in %v can't be told from the batch %v", A, f.s.Image.Shape[0])
		}
		a.Heads = per.N
		return a, nil
	}
	if per.Known() && per.N != 1 {
		return miss(stepSquare, "its map %v is of %d windows a picture", A, per.N)
	}
	if !A.Shape[1].Known() {
		return miss(stepSquare, "the number of heads in %v isn't known", A)
	}
	a.Heads = A.Shape[1].N
	return a, nil
}

// scores walks from a softmax's input back to the product of queries and keys,
// past scaling, masks and changes of type or shape.
func (f *finder) scores(v *onnx.Value, seen map[*onnx.Value]bool) (bool, string) {
	if v == nil || !f.data[v] || v.Node == nil || seen[v] {
		return false, "its input doesn't depend on the picture"
	}
	seen[v] = true
	n := v.Node
	switch n.Op {
	case "MatMul", "Einsum":
		if len(n.Inputs) == 2 && f.data[n.Inputs[0]] && f.data[n.Inputs[1]] {
			return true, ""
		}
		return false, fmt.Sprintf("its input comes from a product with a constant (node %s)", n.Label())
	case "Mul", "Div", "Add", "Sub", "Where", "Max", "Min":
		why := ""
		for _, in := range n.Inputs {
			if in == nil || !f.data[in] {
				continue
			}
			found, reason := f.scores(in, seen)
			if found {
				return true, ""
			}
			why = reason
		}
		return false, why
	case "Cast", "Identity", "Dropout", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Clip", "Tanh":
		return f.scores(n.In(0), seen)
	}
	return false, fmt.Sprintf("its input is no product of queries and keys but comes from node %s (%s)", n.Label(), n.Op)
}

// mapReading is how a product reads an attention map.
type mapReading struct {
	value  *onnx.Value // the operand
	summed int         // its axis over which the product sums: the keys
	free   int         // its axis that the other operand lacks: the queries
}

// values walks from a softmax's output to the product with the values, keeping
// track of the softmax's axis.
func (f *finder) values(v *onnx.Value, axis int) (*mapReading, string) {
	why := "nothing reads it"
	for _, n := range f.uses[v] {
		if r := f.product(n, v); r != nil {
			if r.summed == axis {
				return r, ""
			}
			why = fmt.Sprintf("softmax goes along axis %d of %v, the product (node %s) sums along %d", axis, v, n.Label(), r.summed)
			continue
		}
		next, moved := carried(n, v, axis, f.data)
		if moved < 0 {
			if why == "nothing reads it" {
				why = fmt.Sprintf("its result goes into node %s (%s), not into a product with values", n.Label(), n.Op)
			}
			continue
		}
		r, reason := f.values(next, moved)
		if r != nil {
			return r, ""
		}
		why = reason
	}
	return nil, why
}

// carried follows a map through a node that leaves its entries as they are. It
// returns the output and where the axis is there, -1 if the node does more.
func carried(n *onnx.Node, v *onnx.Value, axis int, data map[*onnx.Value]bool) (*onnx.Value, int) {
	out := n.Out(0)
	if out == nil || out.Shape == nil || n.Domain != "" {
		return nil, -1
	}
	switch n.Op {
	case "Identity", "Cast", "Dropout":
		if n.In(0) == v {
			return out, axis
		}
	case "Where":
		other := n.In(1)
		if other == v {
			other = n.In(2)
		}
		if n.In(0) != v && !data[other] && len(out.Shape) == len(v.Shape) {
			return out, axis
		}
	case "Transpose":
		perm := n.Ints("perm")
		if perm == nil {
			return out, len(v.Shape) - 1 - axis
		}
		return out, slices.Index(perm, int64(axis))
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze":
		behind := len(v.Shape) - axis // axes from this one to the last
		moved := len(out.Shape) - behind
		if n.In(0) == v && moved >= 0 && onnx.Shape(out.Shape[moved:]).Same(v.Shape[axis:]) {
			return out, moved
		}
	}
	return nil, -1
}

// product tells how node n, a product of two things that depend on the
// picture, reads v; nil if it is no such product.
func (f *finder) product(n *onnx.Node, v *onnx.Value) *mapReading {
	if len(n.Inputs) != 2 || !f.data[n.Inputs[0]] || !f.data[n.Inputs[1]] || n.Inputs[0] == n.Inputs[1] {
		return nil
	}
	rank := len(v.Shape)
	switch {
	case n.Op == "MatMul" && rank >= 2 && n.Inputs[0] == v:
		return &mapReading{v, rank - 1, rank - 2}
	case n.Op == "MatMul" && rank >= 2:
		return &mapReading{v, rank - 2, rank - 1}
	case n.Op == "Einsum":
		return einsum(n, v)
	}
	return nil
}

// einsum reads the equation of a product of two operands, such as
// bhij,bhjd->bhid or ...hqk,...khd->...qhd.
func einsum(n *onnx.Node, v *onnx.Value) *mapReading {
	left, out, ok := strings.Cut(strings.ReplaceAll(n.Str("equation", ""), " ", ""), "->")
	terms := strings.Split(left, ",")
	if !ok || len(terms) != 2 {
		return nil
	}
	own, other := terms[0], terms[1]
	if n.Inputs[1] == v {
		own, other = other, own
	}
	before, after, dots := strings.Cut(own, "...")
	hidden := 0 // axes that the dots stand for
	if dots {
		hidden = len(v.Shape) - len(before) - len(after)
	}
	r := &mapReading{v, -1, -1}
	for i, c := range before + after {
		axis := i
		if dots && i >= len(before) {
			axis += hidden
		}
		switch shared, kept := strings.ContainsRune(other, c), strings.ContainsRune(out, c); {
		case shared && !kept && r.summed < 0:
			r.summed = axis
		case kept && !shared && r.free < 0:
			r.free = axis
		case !shared || !kept:
			return nil
		}
	}
	if r.summed < 0 || r.free < 0 {
		return nil
	}
	return r
}
