package passes

import (
	"math"

	"github.com/relevit/relevit/onnx"
)

// Raising of operators that are newer than the working dialect, by their
// definitions as functions.

func raiseSwish(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x := n.Inputs[0]
	inner := x
	if alpha := n.Float("alpha", 1); alpha != 1 {
		inner = e.Mul(x, e.number(float64(alpha), x))
	}
	return []*onnx.Value{e.Mul(x, e.Op("Sigmoid", nil, inner))}, nil
}

func raiseRMSNorm(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x, scale := n.Inputs[0], n.Inputs[1]
	axis, rank := n.Int("axis", -1), int64(len(x.Shape))
	if x.Shape == nil || axis < -rank || axis >= rank {
		return nil, refusal(n, 0, "its axis doesn't fit "+x.String())
	}
	var axes []int64
	for a := (axis + rank) % rank; a < rank; a++ {
		axes = append(axes, a-rank)
	}
	stash := onnx.DType(n.Int("stash_type", int64(onnx.Float)))
	if x.Type == onnx.Double {
		stash = onnx.Double
	}
	y := e.Cast(x, stash)
	mean := e.Reduce("ReduceMean", e.Mul(y, y), true, axes...)
	root := e.Op("Sqrt", nil, e.Add(mean, e.number(float64(n.Float("epsilon", 1e-5)), y)))
	return []*onnx.Value{e.Mul(e.Cast(e.Div(y, root), x.Type), scale)}, nil
}

// raiseRotary turns pairs of features by the angles in two tables:
// (x1, x2) becomes (cos x1 - sin x2, sin x1 + cos x2).
func raiseRotary(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x, cos, sin, ids := n.Inputs[0], n.Inputs[1], n.Inputs[2], n.In(3)
	heads := n.Int("num_heads", 0)
	y, headAxis := x, int64(1) // (B,H,N,d)
	if len(x.Shape) == 3 && heads > 0 {
		y, headAxis = e.Op("Reshape", nil, x, e.Ints(0, 0, heads, -1)), 2 // (B,N,H,d)
	}
	if len(y.Shape) != 4 || !y.Shape[3].Known() {
		return nil, refusal(n, 0, "its input "+x.String()+" is neither (B,H,N,d) nor (B,N,H*d) with num_heads")
	}
	width := y.Shape[3].N
	turned := n.Int("rotary_embedding_dim", 0)
	if turned == 0 {
		turned = width
	}
	if ids != nil {
		cos, sin = e.Op("Gather", nil, cos, ids), e.Op("Gather", nil, sin, ids)
	}
	cos, sin = e.Unsqueeze(cos, headAxis), e.Unsqueeze(sin, headAxis)
	var x1, x2 *onnx.Value
	interleaved := n.Int("interleaved", 0) != 0
	if interleaved {
		x1 = e.Op("Slice", nil, y, e.Ints(0), e.Ints(turned), e.Ints(3), e.Ints(2))
		x2 = e.Op("Slice", nil, y, e.Ints(1), e.Ints(turned), e.Ints(3), e.Ints(2))
	} else {
		x1, x2 = e.Slice(y, 3, 0, turned/2), e.Slice(y, 3, turned/2, turned)
	}
	real := e.Sub(e.Mul(cos, x1), e.Mul(sin, x2))
	imag := e.Add(e.Mul(sin, x1), e.Mul(cos, x2))
	out := e.Concat(3, real, imag)
	if interleaved {
		pairs := e.Concat(4, e.Unsqueeze(real, 4), e.Unsqueeze(imag, 4))
		out = e.Op("Reshape", nil, pairs, e.Ints(0, 0, 0, turned))
	}
	if turned < width {
		out = e.Concat(3, out, e.Slice(y, 3, turned, width))
	}
	if len(x.Shape) == 3 {
		out = e.Op("Reshape", nil, out, e.Ints(0, 0, width*heads))
	}
	return []*onnx.Value{out}, nil
}

// attention holds an Attention node of opset 23 or 24 while it is decomposed.
// Queries, keys and values are (B,H,N,d).
type attention struct {
	*editor
	n           *onnx.Node
	q, k, v     *onnx.Value
	pastLength  int64
	modes       [4]*onnx.Value // what qk_matmul_output shows, by its mode
	queriesKeys [2]onnx.Dim    // lengths
}

func raiseAttention(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	a := &attention{editor: e, n: n}
	if err := a.heads(); err != nil {
		return nil, err
	}
	present := []*onnx.Value{a.k, a.v}
	if err := a.group(); err != nil {
		return nil, err
	}
	bias, err := a.bias()
	if err != nil {
		return nil, err
	}
	root := math.Sqrt(float64(n.Float("scale", float32(1/math.Sqrt(float64(a.q.Shape[3].N))))))
	factor := e.number(root, a.q)
	scores := e.MatMul(e.Mul(a.q, factor), e.SwapLast(e.Mul(a.k, factor))) // (B,H,N,N)
	a.modes[0], a.modes[1] = scores, scores
	if limit := n.Float("softcap", 0); limit > 0 {
		c := e.number(float64(limit), scores)
		scores = e.Mul(e.Op("Tanh", nil, e.Div(scores, c)), c)
		a.modes[1] = scores
	}
	if bias != nil {
		scores = e.Add(scores, bias)
	}
	a.modes[2] = scores
	precision := onnx.DType(n.Int("softmax_precision", int64(scores.Type)))
	map_ := e.Cast(e.Softmax(e.Cast(scores, precision), -1), scores.Type)
	if n.In(3) != nil { // a row without any key to look at is zero, not NaN
		full := e.Op("Equal", nil, e.Reduce("ReduceMax", bias, true, -1), e.number(math.Inf(-1), bias))
		map_ = e.Where(full, e.number(0, map_), map_)
	}
	a.modes[3] = map_
	y := e.MatMul(map_, a.v)
	if len(n.Inputs[0].Shape) == 3 {
		y = e.Op("Reshape", nil, e.Transpose(y, 0, 2, 1, 3), e.Ints(0, 0, -1))
	}
	mode := n.Int("qk_matmul_output_mode", 0)
	if mode < 0 || mode > 3 {
		return nil, refusal(n, 0, "qk_matmul_output_mode isn't 0 to 3")
	}
	return []*onnx.Value{y, present[0], present[1], a.modes[mode]}[:min(4, len(n.Outputs))], nil
}

// heads brings the inputs to (B,H,N,d) and puts cached keys and values before
// the present ones.
func (a *attention) heads() error {
	n := a.n
	if n.In(6) != nil {
		return refusal(n, 0, "nonpad_kv_seqlen, for padded key caches, isn't understood")
	}
	for i, to := range []**onnx.Value{&a.q, &a.k, &a.v} {
		x := n.Inputs[i]
		heads := n.Int("kv_num_heads", 0)
		if i == 0 {
			heads = n.Int("q_num_heads", 0)
		}
		switch {
		case len(x.Shape) == 4:
		case len(x.Shape) == 3 && heads > 0:
			x = a.Transpose(a.Op("Reshape", nil, x, a.Ints(0, 0, heads, -1)), 0, 2, 1, 3)
		default:
			return refusal(n, 0, "its input "+x.String()+" is neither (B,H,N,d) nor (B,N,H*d) with the number of heads")
		}
		*to = x
	}
	if past := n.In(4); past != nil && n.In(5) != nil {
		if len(past.Shape) != 4 || !past.Shape[2].Known() {
			return refusal(n, 0, "the length of its past keys "+past.String()+" isn't known")
		}
		a.pastLength = past.Shape[2].N
		a.k, a.v = a.Concat(2, past, a.k), a.Concat(2, n.In(5), a.v)
	}
	if !a.q.Shape[3].Known() {
		return refusal(n, 0, "the width of the heads of "+a.q.String()+" isn't known")
	}
	a.queriesKeys = [2]onnx.Dim{a.q.Shape[2], a.k.Shape[2]}
	return nil
}

// group repeats keys and values where several query heads share one.
func (a *attention) group() error {
	q, k := a.q.Shape[1], a.k.Shape[1]
	if q.Same(k) {
		return nil
	}
	if !q.Known() || !k.Known() || k.N == 0 || q.N%k.N != 0 {
		return refusal(a.n, 0, "its query heads "+q.String()+" don't divide among key heads "+k.String())
	}
	for _, x := range []**onnx.Value{&a.k, &a.v} {
		if !(*x).Shape[3].Known() {
			return refusal(a.n, 0, "the width of the heads of "+(*x).String()+" isn't known")
		}
		wide := a.Op("Expand", nil, a.Unsqueeze(*x, 2), a.Ints(1, 1, q.N/k.N, 1, 1))
		*x = a.Op("Reshape", nil, wide, a.Ints(0, q.N, -1, (*x).Shape[3].N))
	}
	return nil
}

// bias is what is added to the scores: the mask, causal or given or both; nil
// where there is none.
func (a *attention) bias() (*onnx.Value, error) {
	off := a.number(math.Inf(-1), a.q)
	on := a.number(0, a.q)
	bias := a.n.In(3)
	if bias != nil && bias.Type == onnx.Bool {
		bias = a.Where(bias, on, off)
	}
	if bias != nil && len(bias.Shape) > 0 {
		keys := bias.Shape[len(bias.Shape)-1]
		if keys.Known() && a.queriesKeys[1].Known() && keys.N < a.queriesKeys[1].N && keys.N != 1 {
			return nil, refusal(a.n, 0, "its mask "+a.n.In(3).String()+" is shorter than its keys")
		}
	}
	if a.n.Int("is_causal", 0) == 0 {
		return bias, nil
	}
	rows, columns := a.queriesKeys[0], a.queriesKeys[1]
	if !rows.Known() || !columns.Known() || rows.N > 1<<12 || columns.N > 1<<12 {
		return nil, refusal(a.n, 0, "a causal mask needs known lengths up to 4096; the queries are "+a.q.String())
	}
	seen := make([]bool, rows.N*columns.N)
	for i := range rows.N {
		for j := range columns.N {
			seen[i*columns.N+j] = j <= i+a.pastLength
		}
	}
	causal := a.Where(a.Const(onnx.BoolTensor(seen, rows.N, columns.N)), on, off)
	if bias == nil {
		return causal, nil
	}
	return a.Add(bias, causal), nil
}
