package gradients

import (
	"fmt"

	"github.com/relevit/relevit/onnx"
)

// Fusion is how the heads of an attention become one map; "" is MeanHeads.
type Fusion string

// MeanHeads is the published choice for relevance and rollout alike.
const (
	MeanHeads Fusion = "mean"
	MaxHeads  Fusion = "max"
)

// of reduces (B,H,N,N) to (B,N,N).
func (f Fusion) of(b *onnx.Builder, v *onnx.Value) *onnx.Value {
	if f == MaxHeads {
		return b.Reduce("ReduceMax", v, false, 1)
	}
	return b.Mean(v, 1)
}

// Tokens are all tokens in one value: (B,N,D), or (N,B,D) where Axis is 0.
type Tokens struct {
	Value *onnx.Value
	Axis  int
}

// tokens is how many there are, patches and others.
func (s Subject) tokens() int64 { return s.Prefix + s.Grid[0]*s.Grid[1] }

// start is whose row of the attention the classifier reads: e_0, or the mean
// over the patches: (1,1,N).
func (s Subject) start(b *onnx.Builder) *onnx.Value {
	n := s.tokens()
	row := make([]float64, n)
	if s.Mean {
		for i := s.Prefix; i < n; i++ {
			row[i] = 1 / float64(n-s.Prefix)
		}
	} else {
		row[0] = 1
	}
	return b.Floats(row, s.Logits, 1, 1, n)
}

// patches takes those of a row over all tokens (B,1,N): (B,P).
func (s Subject) patches(b *onnx.Builder, row *onnx.Value) *onnx.Value {
	return b.Reshape(b.Slice(row, 2, s.Prefix, onnx.End), onnx.Shape{s.Logits.Shape[0], onnx.D(s.Grid[0] * s.Grid[1])})
}

// heat is the map of a row over all tokens (B,1,N).
func (s Subject) heat(b *onnx.Builder, method string, row *onnx.Value) Relevance {
	return s.heatOf(b, method, s.patches(b, row))
}

// heatOf is the map of what every patch has (B,P).
func (s Subject) heatOf(b *onnx.Builder, method string, row *onnx.Value) Relevance {
	r := Relevance{Row: b.Named(method+"/patches", row)}
	r.Map, r.Constant = s.picture(b, method, r.Row)
	return r
}

// byBlock groups maps from a block on; those of one block are parallel.
func byBlock(maps []AttentionMap, from int) [][]AttentionMap {
	var out [][]AttentionMap
	for i, m := range maps {
		switch {
		case m.Block < from:
		case len(out) > 0 && maps[i-1].Block == m.Block:
			out[len(out)-1] = append(out[len(out)-1], m)
		default:
			out = append(out, []AttentionMap{m})
		}
	}
	return out
}

// attention is a block's map with its heads fused, the mean of parallel ones:
// (B,N,N).
func (s Subject) attention(b *onnx.Builder, block []AttentionMap) *onnx.Value {
	var sum *onnx.Value
	for _, m := range block {
		a := s.Heads.of(b, m.Square(b, m.Value))
		if sum == nil {
			sum = a
		} else {
			sum = b.Add(sum, a)
		}
	}
	return b.Scale(sum, 1/float64(len(block)))
}

// AttentionRollout is Abnar and Zuidema's (ACL 2020), with r the row of a token
// as in Rollout:
//
//	r = e_0, then r = r (0.5 A + 0.5 I) from the last block to the first
//
// with A fused over heads. Where its rows don't add up to 1, as the largest of
// heads don't, those of A + I are divided by their sums instead of by 2.
func AttentionRollout(b *onnx.Builder, s Subject, from int) (Relevance, error) {
	former := b.In("rollout")
	defer b.In(former)
	blocks := byBlock(s.Maps, from)
	if len(blocks) == 0 {
		return Relevance{}, fmt.Errorf("no attention lies in block %d or behind it", from)
	}
	row := s.start(b)
	for i := len(blocks) - 1; i >= 0; i-- {
		a := s.attention(b, blocks[i])
		if s.Heads == MaxHeads {
			sums := b.SwapLast(b.Reduce("ReduceSum", a, true, 2)) // (B,1,N)
			row = b.Div(row, b.Add(sums, b.Scalar(1, sums)))
		} else {
			row = b.Scale(row, 0.5)
		}
		row = b.Add(row, b.MatMul(row, a)) // (B,1,N)
	}
	return s.heat(b, "rollout", row), nil
}

// LastAttention is what the classifier's token, or the mean of the patches,
// attends to in the last block.
func LastAttention(b *onnx.Builder, s Subject) Relevance {
	former := b.In("attention")
	defer b.In(former)
	blocks := byBlock(s.Maps, 0)
	return s.heat(b, "attention", b.MatMul(s.start(b), s.attention(b, blocks[len(blocks)-1])))
}

// GradTimesAttention is the last block's term of the rollout alone: the row
// e_0 of the fused heads of max(G A, 0), where G is the gradient of the target's
// logit with respect to A.
func GradTimesAttention(b *onnx.Builder, s Subject, target *onnx.Value) (Relevance, error) {
	maps, grads, err := AttentionGradients(b, s, target, s.Maps[len(s.Maps)-1].Block)
	if err != nil {
		return Relevance{}, err
	}
	former := b.In("grad-x-attention")
	defer b.In(former)
	return s.heat(b, "grad-x-attention", b.MatMul(s.start(b), s.flow(b, maps, grads))), nil
}

// flow is the fused heads of max(G A, 0), added up over parallel maps: (B,N,N).
func (s Subject) flow(b *onnx.Builder, maps []AttentionMap, grads []*onnx.Value) *onnx.Value {
	var sum *onnx.Value
	for i, m := range maps {
		flow := s.Heads.of(b, positive(b, m.Square(b, grads[i]), m.Square(b, m.Value)))
		if sum == nil {
			sum = flow
		} else {
			sum = b.Add(sum, flow)
		}
	}
	return sum
}

// positive is max(G A, 0). Of a softmax it is spelled A max(G, 0), whose gradient
// towards A is one product: nothing there is below zero, and where it is zero,
// no gradient comes through the softmax.
func positive(b *onnx.Builder, grad, attention *onnx.Value) *onnx.Value {
	if ofSoftmax(attention) {
		return b.Mul(attention, b.Op("Clip", nil, grad, b.Scalar(0, grad)))
	}
	product := b.Mul(grad, attention)
	return b.Op("Clip", nil, product, b.Scalar(0, product))
}

// ofSoftmax reports whether a value holds elements of a softmax, moved about, or
// zeros where a mask put them.
func ofSoftmax(v *onnx.Value) bool {
	for v != nil && v.Node != nil && v.Node.Domain == "" {
		n := v.Node
		switch n.Op {
		case "Softmax":
			return true
		case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Cast", "Identity", "Dropout":
			v = n.Inputs[0]
		case "Where":
			return zeroOrSoftmax(n.Inputs[1]) && zeroOrSoftmax(n.Inputs[2])
		default:
			return false
		}
	}
	return false
}

func zeroOrSoftmax(v *onnx.Value) bool {
	if v.Data == nil {
		return ofSoftmax(v)
	}
	values, err := v.Data.Float64s()
	return err == nil && len(values) == 1 && values[0] == 0
}

// GradCAM is Selvaraju et al.'s (ICCV 2017) on tokens as pytorch-grad-cam has it
// for ViTs: of the activation x (B,N,D) of one layer, the last block's first
// normalisation,
//
//	max(sum_d w_d x[p,d], 0)   with w_d the mean over the patches of dlogit/dx[.,d]
//
// and p the patches: the class token takes no part.
func GradCAM(b *onnx.Builder, s Subject, x Tokens, target *onnx.Value) (Relevance, error) {
	grads, err := walkLogit(b, s, target, []*onnx.Value{x.Value})
	if err != nil {
		return Relevance{}, err
	}
	if grads[0] == nil {
		return Relevance{}, fmt.Errorf("the tokens %s have no influence on the logits %s", x.Value.Name, s.Logits.Name)
	}
	former := b.In("gradcam")
	defer b.In(former)
	patches := func(v *onnx.Value) *onnx.Value {
		if x.Axis == 0 {
			v = b.Transpose(v, 1, 0, 2)
		}
		return b.Slice(v, 1, s.Prefix, onnx.End) // (B,P,D)
	}
	weights := b.Reduce("ReduceMean", patches(grads[0]), true, 1) // (B,1,D)
	cam := b.Sum(b.Mul(patches(x.Value), weights), 2)             // (B,P)
	return s.heatOf(b, "gradcam", b.Op("Clip", nil, cam, b.Scalar(0, cam))), nil
}
