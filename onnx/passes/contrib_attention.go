package passes

import (
	"math"

	"github.com/relevit/relevit/onnx"
)

// packedHeads holds a com.microsoft attention while it is decomposed: queries,
// keys and values are (B,H,N,d).
type packedHeads struct {
	*editor
	n       *onnx.Node
	heads   int64
	q, k, v *onnx.Value
}

// contribAttention: queries, keys and values are one product with packed
// weights (D, Dq+Dk+Dv).
func contribAttention(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	a := &packedHeads{editor: e, n: n, heads: n.Int("num_heads", 0)}
	x, w := n.Inputs[0], n.Inputs[1]
	switch {
	case n.In(4) != nil || n.Out(1) != nil:
		return nil, refusal(n, 0, "it keeps past keys, which vision transformers don't have")
	case n.Int("do_rotary", 0) != 0:
		return nil, refusal(n, 0, "do_rotary isn't understood; use the model as it was before ONNX Runtime optimized it")
	case len(x.Shape) != 3 || len(w.Shape) != 2 || !w.Shape[1].Known() || a.heads < 1:
		return nil, refusal(n, 0, "its input "+x.String()+", weights "+w.String()+" and num_heads don't fit")
	}
	widths := n.Ints("qkv_hidden_sizes")
	if len(widths) == 0 {
		each := w.Shape[1].N / 3
		widths = []int64{each, each, each}
	}
	total := int64(0)
	for _, width := range widths {
		if width < 1 || width%a.heads != 0 || width > w.Shape[1].N {
			return nil, refusal(n, 0, "qkv_hidden_sizes don't divide among its heads")
		}
		total += width
	}
	if len(widths) != 3 || total != w.Shape[1].N {
		return nil, refusal(n, 0, "qkv_hidden_sizes don't add up to the columns of "+w.String())
	}
	y := e.MatMul(x, w)
	if bias := n.In(2); bias != nil {
		y = e.Add(y, bias)
	}
	parts := e.Ops("Split", 3, []onnx.Attr{{Name: "axis", Value: int64(2)}}, y, e.Ints(widths...))
	a.q, a.k, a.v = a.split(parts[0]), a.split(parts[1]), a.split(parts[2])
	return a.finish(n.In(3), n.In(5))
}

// contribMultiHead: queries, keys and values come apart, or packed by heads.
func contribMultiHead(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	a := &packedHeads{editor: e, n: n, heads: n.Int("num_heads", 0)}
	for i := 6; i < len(n.Inputs); i++ {
		if n.Inputs[i] != nil {
			return nil, refusal(n, 0, "it keeps past keys, which vision transformers don't have")
		}
	}
	if err := readOthers(n, 1); err != nil {
		return nil, err
	}
	if a.heads < 1 {
		return nil, refusal(n, 0, "it doesn't say how many heads it has (num_heads)")
	}
	if err := a.inputs(); err != nil {
		return nil, err
	}
	return a.finish(n.In(4), n.In(5))
}

// inputs brings a MultiHeadAttention's queries, keys and values to (B,H,N,d).
func (a *packedHeads) inputs() error {
	q, k, v := a.n.Inputs[0], a.n.In(1), a.n.In(2)
	switch {
	case len(q.Shape) == 5 && k == nil && v == nil: // (B,N,H,3,d)
		parts := a.unpack(q, 3)
		a.q, a.k, a.v = parts[0], parts[1], parts[2]
	case len(q.Shape) == 3 && k != nil && len(k.Shape) == 5 && v == nil: // (B,N,H,2,d)
		parts := a.unpack(k, 2)
		a.q, a.k, a.v = q, parts[0], parts[1]
	case len(q.Shape) == 3 && k != nil && v != nil && len(k.Shape) == len(v.Shape) && (len(k.Shape) == 3 || len(k.Shape) == 4):
		a.q, a.k, a.v = q, k, v
	default:
		return refusal(a.n, 0, "its inputs are in none of the known layouts; use the model as it was before ONNX Runtime optimized it")
	}
	bias := a.n.In(3)
	start := int64(0)
	for _, x := range []**onnx.Value{&a.q, &a.k, &a.v} {
		heads := len((*x).Shape) == 4
		last := (*x).Shape[len((*x).Shape)-1]
		if !last.Known() || !heads && last.N%a.heads != 0 {
			return refusal(a.n, 0, "the width of its input "+(*x).String()+" isn't a known multiple of its heads")
		}
		width := last.N
		if heads {
			width *= a.heads
		}
		var part *onnx.Value
		if bias != nil {
			part = a.Slice(bias, 0, start, start+width)
		}
		start += width
		switch {
		case heads && part != nil:
			*x = a.Add(*x, a.Op("Reshape", nil, part, a.Ints(a.heads, 1, last.N)))
		case !heads && part != nil:
			*x = a.split(a.Add(*x, part))
		case !heads:
			*x = a.split(*x)
		}
	}
	return nil
}

// unpack takes (B,N,H,count,d) apart.
func (a *packedHeads) unpack(x *onnx.Value, count int64) []*onnx.Value {
	parts := make([]*onnx.Value, count)
	for i := range parts {
		one := a.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(3)}}, x, a.Int(int64(i))) // (B,N,H,d)
		parts[i] = a.Transpose(one, 0, 2, 1, 3)
	}
	return parts
}

// split makes (B,H,N,d) of (B,N,D).
func (a *packedHeads) split(x *onnx.Value) *onnx.Value {
	return a.Transpose(a.Op("Reshape", nil, x, a.Ints(0, 0, a.heads, -1)), 0, 2, 1, 3)
}

// finish emits the attention from queries, keys and values on: mask holds 1
// where a key may be looked at, bias is added to the scores.
func (a *packedHeads) finish(mask, bias *onnx.Value) ([]*onnx.Value, error) {
	n := a.n
	if n.Int("unidirectional", 0) != 0 {
		return nil, refusal(n, 0, "it is causal (unidirectional), which vision transformers aren't")
	}
	width := a.q.Shape[3]
	if !width.Known() || width.N < 1 {
		return nil, refusal(n, 0, "the width of the heads of "+a.q.String()+" isn't known")
	}
	scale := float64(n.Float("scale", 0))
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(width.N))
	}
	scores := a.MatMul(a.q, a.SwapLast(a.k))
	scores = a.Mul(scores, a.number(scale, scores)) // (B,H,N,N)
	if mask != nil {
		keep := a.Cast(mask, scores.Type)
		switch len(mask.Shape) {
		case 2: // (B,N)
			keep = a.Unsqueeze(keep, 1, 2)
		case 3: // (B,N,N)
			keep = a.Unsqueeze(keep, 1)
		default:
			return nil, refusal(n, 0, "its mask "+mask.String()+" is neither (B,N) nor (B,N,N); export without a mask")
		}
		filter := float64(n.Float("mask_filter_value", -10000))
		scores = a.Add(scores, a.Mul(a.Sub(a.number(1, scores), keep), a.number(filter, scores)))
	}
	if bias != nil {
		scores = a.Add(scores, bias)
	}
	y := a.Transpose(a.MatMul(a.Softmax(scores, -1), a.v), 0, 2, 1, 3) // (B,N,H,d)
	y = a.Op("Reshape", nil, y, a.Ints(0, 0, -1))
	return only(n, y), nil
}

// contribRotary is RotaryEmbedding of opset 23 with its inputs in another order.
func contribRotary(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x, ids := n.Inputs[0], n.Inputs[1]
	if n.Int("is_packed_batching", 0) != 0 || n.Float("scale", 1) != 1 {
		return nil, refusal(n, 0, "packed batches and scales aren't understood")
	}
	if len(x.Shape) == 3 && n.Int("num_heads", 0) == 0 {
		return nil, refusal(n, 0, "it doesn't say how many heads it has (num_heads)")
	}
	if len(ids.Shape) == 1 { // an offset: token i has position ids + i
		if len(x.Shape) < 3 || !x.Shape[len(x.Shape)-2].Known() || x.Shape[len(x.Shape)-2].N > 1<<16 {
			return nil, refusal(n, 0, "the number of tokens of "+x.String()+" isn't known")
		}
		steps := make([]int64, x.Shape[len(x.Shape)-2].N)
		for i := range steps {
			steps[i] = int64(i)
		}
		ids = e.Add(e.Op("Reshape", nil, ids, e.Ints(1, 1)), e.Op("Reshape", nil, e.Ints(steps...), e.Ints(1, -1)))
	}
	return raiseRotary(e, &onnx.Node{Name: n.Name, Op: n.Op, Attrs: n.Attrs, Outputs: n.Outputs,
		Inputs: []*onnx.Value{x, n.Inputs[2], n.Inputs[3], ids}})
}
