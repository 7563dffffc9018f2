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
	steps  step
}

// step is how much of the pattern a softmax fits, in the order in which it is
// checked.
type step int

const (
	stepAlone   step = iota // a softmax
	stepScores              // over a product of two things that depend on the picture
	stepValues              // which multiplies values
	stepReduced             // of many queries over fewer keys
	stepPools               // of a few queries over many tokens
	stepSquare              // between as many queries as keys
	stepWindows             // of windows of the picture
)

// attentions finds the maps and numbers their blocks.
func (f *finder) attentions() error {
	if len(f.opt.Attention) > 0 {
		if err := f.named(); err != nil {
			return err
		}
		f.blocks()
		f.sizes()
		return nil
	}
	for _, n := range f.g.Nodes {
		in, axis, ok := softmax(n)
		if !ok || !f.data[n.Out(0)] || !f.needs[n.Out(0)] {
			continue
		}
		if a, miss := f.match(n, in, axis); miss != nil {
			f.near = append(f.near, *miss)
		} else {
			f.take(a)
		}
	}
	f.blocks()
	f.judge()
	return nil
}

// take adds a map once.
func (f *finder) take(a *Attention) {
	if !slices.ContainsFunc(f.s.Attention, func(b Attention) bool { return b.Value == a.Value }) {
		f.s.Attention = append(f.s.Attention, *a)
	}
}

const attentionAdvice = "relevit needs self-attention between all tokens of the picture, as in ViT, DeiT, DINO, BEiT, CLIP or SigLIP"

// judge says what the softmaxes that didn't match mean.
func (f *finder) judge() {
	if len(f.s.Attention) > 0 {
		f.beside()
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
		if n := f.unscored(); n != nil {
			f.problem("no attention found: no Softmax lies between the picture and the logits, but products of queries, keys and values do (the first: node %s), as in linear attention, which has no map between tokens: %s", n.Label(), attentionAdvice)
			return
		}
		kind := "so this seems to be no Transformer"
		if convs := f.count("Conv"); convs > 4 {
			kind = fmt.Sprintf("and %d Convs do: this seems to be a CNN, which has no attention maps", convs)
		}
		f.problem("no attention found: no Softmax lies between the picture and the logits, %s: %s", kind, attentionAdvice)
		return
	}
	best := slices.MaxFunc(f.near, func(a, b nearMiss) int { return int(a.steps - b.steps) })
	switch {
	case best.steps == stepWindows:
		f.problem("attention within windows only (%d maps), as in Swin: %s: %s", f.missed(stepWindows), best.text(), attentionAdvice)
	default:
		f.problem("no attention found: the nearest is %s: %s", best.text(), attentionAdvice+"; name the maps by --attention if they are there")
	}
}

// unscored is the first product of two things that depend on the picture, nil
// if there is none: attention that has no softmax has such.
func (f *finder) unscored() *onnx.Node {
	i := slices.IndexFunc(f.g.Nodes, func(n *onnx.Node) bool {
		return (n.Op == "MatMul" || n.Op == "Einsum") && f.needs[n.Out(0)] && f.product(n, n.In(0)) != nil
	})
	if i < 0 {
		return nil
	}
	return f.g.Nodes[i]
}

// beside tells of attentions that aren't part of the rollout.
func (f *finder) beside() {
	for _, kind := range []struct {
		steps step
		text  string
	}{
		{stepReduced, "are over reduced tokens"}, {stepPools, "pool tokens, or look at them from outside"}, {stepWindows, "are within windows"},
	} {
		if i := slices.IndexFunc(f.near, func(m nearMiss) bool { return m.steps == kind.steps }); i >= 0 {
			f.note("%d of the attention maps %s (the first: %s): they aren't part of the rollout", f.missed(kind.steps), kind.text, f.near[i].text())
		}
	}
}

// missed counts the softmaxes that went so far.
func (f *finder) missed(s step) int {
	n := 0
	for _, m := range f.near {
		if m.steps == s {
			n++
		}
	}
	return n
}

// count is the number of nodes of an operator that the logits need.
func (f *finder) count(op string) int {
	n := 0
	for _, node := range f.g.Nodes {
		if node.Op == op && f.needs[node.Out(0)] {
			n++
		}
	}
	return n
}

func (m nearMiss) text() string {
	return fmt.Sprintf("node %s (%s), but %s", m.node.Label(), m.node.Op, m.reason)
}

// sizes notes whether all attentions are between the same tokens.
func (f *finder) sizes() {
	if len(f.s.Attention) == 0 {
		return
	}
	first := f.s.Attention[0]
	for _, a := range f.s.Attention {
		if a.Tokens != first.Tokens {
			f.uneven = fmt.Sprintf("attention %s is between %d tokens, %s between %d, as in hierarchical models: relevit needs the same tokens in every block",
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

// match checks one softmax, of in along an axis, against the pattern.
func (f *finder) match(n *onnx.Node, in *onnx.Value, axis int) (*Attention, *nearMiss) {
	product, _, why := f.scores(in, axis, map[*onnx.Value]bool{})
	if product == nil {
		return nil, &nearMiss{n, why, stepAlone}
	}
	reading, reason := f.values(n.Out(0), axis)
	learned := !f.data[product.In(0)] || !f.data[product.In(1)]
	switch {
	case reading == nil && learned:
		return nil, &nearMiss{n, why, stepAlone}
	case reading == nil:
		return nil, &nearMiss{n, reason, stepScores}
	}
	a, reason, steps := f.square(reading)
	switch {
	case learned && steps != stepPools:
		return nil, &nearMiss{n, why, stepAlone}
	case a == nil:
		return nil, &nearMiss{n, reason, steps}
	}
	return a, nil
}

// square checks that a map is between all tokens of one picture, for every
// head. Otherwise it returns why not.
func (f *finder) square(r *mapReading) (a *Attention, why string, steps step) {
	A := r.value
	miss := func(s step, format string, args ...any) (*Attention, string, step) {
		return nil, fmt.Sprintf(format, args...), s
	}
	nq, nk := A.Shape[r.free], A.Shape[r.summed]
	switch {
	case !nq.Known() || !nk.Known():
		return miss(stepValues, "the number of tokens in %v isn't known", A)
	case nq.N < nk.N:
		f.pools[A] = true
		return miss(stepPools, "its map %v is of %d queries over %d keys, as in cross attention and pooling", A, nq.N, nk.N)
	case nq != nk:
		return miss(stepReduced, "its map %v is of %d queries over %d keys, as in attention over reduced tokens", A, nq.N, nk.N)
	}
	a = &Attention{Value: A, Tokens: nk.N, Transposed: r.summed < r.free}
	rank := len(A.Shape)
	if rank < 3 || rank > 4 || min(r.free, r.summed) != rank-2 {
		return miss(stepWindows, "its map %v isn't (batch,heads,tokens,tokens) nor (batch*heads,tokens,tokens), as in attention within windows", A)
	}
	per := A.Shape[0].Over(f.s.Image.Shape[0]) // maps a picture
	if rank == 3 {
		if !per.Known() || per.N < 1 {
			return miss(stepSquare, "the number of heads in %v can't be told from the batch %v", A, f.s.Image.Shape[0])
		}
		a.Heads = per.N
		return a, "", 0
	}
	if per.Known() && per.N != 1 {
		return miss(stepWindows, "its map %v is of %d windows a picture", A, per.N)
	}
	if !A.Shape[1].Known() {
		return miss(stepSquare, "the number of heads in %v isn't known", A)
	}
	a.Heads = A.Shape[1].N
	return a, "", 0
}

// scores walks from a softmax's input back to the product of queries and keys,
// past scaling, masks, mixed heads and changes of type or shape, keeping track
// of an axis. It returns the product and where the axis is in it, below zero
// where it is lost; or nil and why there is none. Queries may be learned
// constants, of which why tells.
func (f *finder) scores(v *onnx.Value, axis int, seen map[*onnx.Value]bool) (n *onnx.Node, at int, why string) {
	if v == nil || !f.data[v] || v.Node == nil || seen[v] {
		return nil, -1, "its input doesn't depend on the picture"
	}
	seen[v] = true
	n = v.Node
	if _, ok := f.mixed(n); ok {
		return f.scores(f.dependent(n), axis, seen)
	}
	switch n.Op {
	case "MatMul", "Einsum":
		if len(n.Inputs) != 2 {
			return nil, -1, fmt.Sprintf("its input comes from a product of %d values (node %s)", len(n.Inputs), n.Label())
		}
		return n, axis, fmt.Sprintf("its input comes from a product with a constant (node %s)", n.Label())
	case "Mul", "Div", "Add", "Sub", "Where", "Max", "Min":
		for _, in := range n.Inputs {
			if in == nil || !f.data[in] {
				continue
			}
			product, at, reason := f.scores(in, fromLast(v, in, axis), seen)
			if product != nil {
				return product, at, reason
			}
			why = reason
		}
		return nil, -1, why
	case "Transpose":
		if perm := n.Ints("perm"); axis >= 0 && perm != nil {
			axis = int(perm[axis])
		} else if axis >= 0 {
			axis = len(v.Shape) - 1 - axis
		}
		return f.scores(f.dependent(n), axis, seen)
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze":
		in := f.dependent(n)
		if in != nil && axis >= 0 {
			axis = sameAxis(v.Shape, in.Shape, axis)
		}
		return f.scores(in, axis, seen)
	case "Cast", "Identity", "Dropout", "Clip", "Tanh", "Trilu", "Pad", "Concat":
		return f.scores(f.dependent(n), axis, seen)
	}
	return nil, -1, fmt.Sprintf("its input is no product of queries and keys but comes from node %s (%s)", n.Label(), n.Op)
}

// fromLast is the axis of an operand that broadcasts to the given axis of v,
// below zero where it has none.
func fromLast(v, operand *onnx.Value, axis int) int {
	return max(axis+len(operand.Shape)-len(v.Shape), -1)
}

// dependent is a node's first input that depends on the picture, nil if none
// does.
func (f *finder) dependent(n *onnx.Node) *onnx.Value {
	i := slices.IndexFunc(n.Inputs, func(v *onnx.Value) bool { return f.data[v] })
	if i < 0 {
		return nil
	}
	return n.Inputs[i]
}

// mixed reports whether a node mixes the heads of maps by a constant, as
// talking heads do, and the axis of the heads: a 1x1 Conv over (B,H,N,N), or a
// product of (B,N,N,H) with (H,H).
func (f *finder) mixed(n *onnx.Node) (axis int, ok bool) {
	if len(n.Inputs) < 2 || n.Domain != "" {
		return 0, false
	}
	x, w := n.In(0), n.In(1)
	if !f.data[x] || w == nil || f.data[w] || len(x.Shape) != 4 {
		return 0, false
	}
	switch {
	case n.Op == "Conv" && len(w.Shape) == 4:
		return 1, w.Shape[2].Is(1) && w.Shape[3].Is(1) && w.Shape[0].Same(x.Shape[1]) && n.Int("group", 1) == 1
	case n.Op == "MatMul" && len(w.Shape) == 2:
		return 3, w.Shape[0].Same(w.Shape[1]) && w.Shape[0].Same(x.Shape[3]) && x.Shape[1].Same(x.Shape[2])
	}
	return 0, false
}
