package models

import (
	"slices"
	"sort"

	"github.com/relevit/relevit/onnx"
)

// head tells how the classifier reads the tokens, and that there is one.
func (f *finder) head() {
	f.classifier()
	if len(f.s.Attention) == 0 {
		return
	}
	p := &pooling{f: f, seen: map[*onnx.Value]bool{}, kinds: map[string]bool{}}
	p.walk(f.s.Logits)
	sort.Slice(p.tokens, func(i, j int) bool { return p.tokens[i] < p.tokens[j] })
	switch {
	case p.kinds[PoolToken]:
		f.s.Pool = PoolToken
		if p.tokens[0] != 0 {
			f.problem("the classifier reads token %d, not the first: relevance would start from another token's row", p.tokens[0])
		}
		if p.kinds[PoolAverage] {
			f.note("the classifier reads both the class token and the mean of tokens: relevance starts from the class token's row")
		}
	case p.kinds[PoolAverage]:
		f.s.Pool = PoolAverage
	case p.kinds[PoolMax]:
		f.s.Pool = PoolMax
		f.problem("the classifier reads the maximum over the tokens: relevance is defined for a class token or the mean")
	case p.kinds[PoolAttention]:
		f.s.Pool = PoolAttention
		f.problem("the classifier reads the tokens by attention pooling: relevance is defined for a class token or the mean")
	default:
		f.problem("it can't be told how the classifier reads the tokens: neither a class token nor a mean over tokens leads to output %s", f.s.Logits.Name)
	}
}

// classifier checks that the logits come from a linear layer.
func (f *finder) classifier() {
	v := f.s.Logits
	for {
		n := v.Node
		switch n.Op {
		case "MatMul", "Gemm", "Conv":
			return
		case "Softmax", "LogSoftmax", "Sigmoid":
			f.problem("output %s is behind a %s (node %s): finetuning needs the logits before it; export the model without it", f.s.Logits.Name, n.Op, n.Label())
			return
		case "Add", "Sub", "Mul", "Div", "Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Einsum", "Sum", "Mean", "Clip":
			i := slices.IndexFunc(n.Inputs, func(in *onnx.Value) bool { return f.data[in] })
			if n.Op == "Einsum" || n.Inputs[i].Node == nil {
				return
			}
			v = n.Inputs[i]
		default:
			f.problem("no classifier: output %s comes from node %s (%s), not from a linear layer: it seems to hold features; export the model with its classification head",
				f.s.Logits.Name, n.Label(), n.Op)
			return
		}
	}
}

// pooling walks from the logits back to where tokens become one vector.
type pooling struct {
	f      *finder
	seen   map[*onnx.Value]bool
	kinds  map[string]bool
	tokens []int64 // indices that are read
}

func (p *pooling) walk(v *onnx.Value) {
	if v == nil || p.seen[v] || !p.f.data[v] || v.Node == nil {
		return
	}
	p.seen[v] = true
	if slices.ContainsFunc(p.f.s.Attention, func(a Attention) bool { return a.Value == v }) {
		return
	}
	if kind := p.kind(v); kind != "" {
		p.kinds[kind] = true
		return
	}
	for _, in := range v.Node.Inputs {
		p.walk(in)
	}
}

// isTokens reports whether a size is the number of tokens, of patches, or
// between.
func (p *pooling) isTokens(d onnx.Dim) bool {
	n := p.f.s.Attention[0].Tokens
	return d.Known() && d.N > 1 && d.N <= n && d.N >= n-p.f.s.PrefixTokens
}

// kind tells how v's node reduces tokens, "" if it doesn't.
func (p *pooling) kind(v *onnx.Value) string {
	n := v.Node
	in := n.In(0)
	if in == nil || in.Shape == nil {
		return ""
	}
	switch n.Op {
	case "Gather", "Slice", "Split":
		if i, ok := p.taken(v); ok {
			p.tokens = append(p.tokens, i)
			return PoolToken
		}
	case "ReduceMean", "ReduceSum", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool":
		if !p.reduces(n) {
			return ""
		}
		if n.Op == "ReduceMax" || n.Op == "GlobalMaxPool" {
			return PoolMax
		}
		return PoolAverage
	case "MatMul":
		r := len(in.Shape)
		if r >= 2 && p.f.data[in] && p.f.data[n.In(1)] && in.Shape[r-2].Is(1) && p.isTokens(in.Shape[r-1]) {
			return PoolAttention
		}
	}
	return ""
}

// taken returns the index of the one token that v's node takes.
func (p *pooling) taken(v *onnx.Value) (int64, bool) {
	n := v.Node
	in := n.In(0)
	rank := int64(len(in.Shape))
	axis, start := n.Int("axis", 0), int64(0)
	switch n.Op {
	case "Gather":
		i, ok := constants(n.In(1))
		if !ok || len(i) != 1 {
			return 0, false
		}
		start = i[0]
	case "Slice":
		starts, ok := constants(n.In(1))
		axes, given := constants(n.In(3))
		if !ok || len(starts) != 1 || (given && len(axes) != 1) {
			return 0, false
		}
		start, axis = starts[0], 0
		if given {
			axis = axes[0]
		}
	case "Split":
		for _, o := range n.Outputs {
			if o == v {
				break
			}
			if o == nil || len(o.Shape) != int(rank) || !o.Shape[(axis+rank)%rank].Known() {
				return 0, false
			}
			start += o.Shape[(axis+rank)%rank].N
		}
	}
	if axis < 0 {
		axis += rank
	}
	if rank < 3 || axis < 0 || axis >= rank || !p.isTokens(in.Shape[axis]) {
		return 0, false
	}
	if n.Op != "Gather" && (len(v.Shape) != int(rank) || !v.Shape[axis].Is(1)) {
		return 0, false
	}
	if start < 0 {
		start += in.Shape[axis].N
	}
	return start, true
}

// reduces reports whether a reduction goes over the tokens. One over the last
// axis that keeps it is a norm's.
func (p *pooling) reduces(n *onnx.Node) bool {
	shape := n.In(0).Shape
	rank := len(shape)
	var axes []int64
	if n.Op == "GlobalAveragePool" || n.Op == "GlobalMaxPool" {
		for a := 2; a < rank; a++ {
			axes = append(axes, int64(a))
		}
		if rank > 2 && p.isTokens(shape[1]) {
			return false
		}
	} else {
		axes, _ = constants(n.In(1))
	}
	size := onnx.D(1)
	for _, a := range axes {
		if a < 0 {
			a += int64(rank)
		}
		if a < 0 || a >= int64(rank) || (a == int64(rank)-1 && len(axes) == 1 && rank == 3 && n.Int("keepdims", 1) == 1 && n.Op[0] == 'R') {
			return false
		}
		size = size.Times(shape[a])
	}
	return rank >= 3 && p.isTokens(size)
}

// constants returns the elements of a constant integer tensor.
func constants(v *onnx.Value) ([]int64, bool) {
	if v == nil || v.Data == nil {
		return nil, false
	}
	out, err := v.Data.Int64s()
	return out, err == nil
}
