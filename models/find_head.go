package models

import (
	"slices"
	"sort"

	"github.com/relevit/relevit/onnx"
)

// head tells how the classifier reads the tokens.
func (f *finder) head() {
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
	case p.kinds[PoolAttention]:
		f.s.Pool = PoolAttention
	case p.kinds[PoolAverage]:
		f.s.Pool = PoolAverage
	case p.kinds[PoolMax]:
		f.s.Pool = PoolMax
	case f.uneven != "": // which tokens there are is the question
	default:
		f.problem("it can't be told how the classifier reads the tokens: neither a class token nor a mean over tokens leads to output %s", f.s.Output.Name)
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
	if slices.ContainsFunc(v.Node.Inputs, func(in *onnx.Value) bool { return p.f.pools[in] }) {
		p.kinds[PoolAttention] = true
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
	}
	return ""
}

// taken returns the index of the one token that v's node takes.
func (p *pooling) taken(v *onnx.Value) (int64, bool) {
	n := v.Node
	in := n.In(0)
	rank := len(in.Shape)
	axis, start, ok := int(n.Int("axis", 0)), int64(0), true
	switch n.Op {
	case "Gather":
		i, known := constants(n.In(1))
		if !known || len(i) != 1 {
			return 0, false
		}
		start = i[0]
	case "Slice":
		axis, start, ok = p.sliced(n)
	case "Split":
		for _, o := range n.Outputs {
			if o == v {
				break
			}
			if o == nil || len(o.Shape) != rank || !o.Shape[(axis+rank)%rank].Known() {
				return 0, false
			}
			start += o.Shape[(axis+rank)%rank].N
		}
	}
	if axis < 0 {
		axis += rank
	}
	if !ok || rank < 3 || axis < 0 || axis >= rank || !p.isTokens(in.Shape[axis]) {
		return 0, false
	}
	if n.Op != "Gather" && (len(v.Shape) != rank || !v.Shape[axis].Is(1)) {
		return 0, false
	}
	if start < 0 {
		start += in.Shape[axis].N
	}
	return start, true
}

// sliced is the axis along which a Slice takes one token, and where. It may
// name other axes, too, if it leaves them whole.
func (p *pooling) sliced(n *onnx.Node) (axis int, start int64, ok bool) {
	in, out := n.In(0).Shape, n.Out(0).Shape
	starts, known := constants(n.In(1))
	axes, given := constants(n.In(3))
	if !known || len(out) != len(in) || (n.In(3) != nil && !given) {
		return 0, 0, false
	}
	for i, s := range starts {
		a := int64(i)
		if given && i < len(axes) {
			a = axes[i]
		}
		if a < 0 {
			a += int64(len(in))
		}
		switch {
		case a < 0 || a >= int64(len(in)):
			return 0, 0, false
		case in[a].Same(out[a]):
		case ok:
			return 0, 0, false
		default:
			axis, start, ok = int(a), s, true
		}
	}
	return axis, start, ok
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
