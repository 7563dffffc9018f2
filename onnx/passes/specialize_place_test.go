package passes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

// tokensFirst is an attention on (tokens, batch, width) as torchvision and
// open_clip export it, for a batch of that size, "B" or a number.
func tokensFirst(t *testing.T, batch any) *onnx.Graph {
	t.Helper()
	const tokens, heads, each, width = 5, 2, 3, 6
	s := draw(t)
	x := s.input("x", batch, tokens, width)
	n, merged := int64(-1), int64(-1)
	if k, ok := batch.(int); ok {
		n, merged = int64(k), int64(k)*heads
	}
	reshape := func(v *onnx.Value, sizes ...int64) *onnx.Value {
		return s.Op("Reshape", attrs("allowzero", 1), v, s.Ints(sizes...))
	}
	rows := int64(-1) // of tokens and pictures
	if n > 0 {
		rows = tokens * n
	}
	y := s.Transpose(x, 1, 0, 2) // (N,B,D)
	var p [3]*onnx.Value
	for i := range p {
		v := reshape(s.MatMul(y, s.weight("w", width, width)), tokens, merged, each) // (N,B*H,d)
		p[i] = s.Transpose(v, 1, 0, 2)
	}
	q := reshape(p[0], n, heads, tokens, each)
	k := s.Transpose(reshape(p[1], n, heads, tokens, each), 0, 1, 3, 2)
	if n > 0 { // as dynamo exports write it
		k = reshape(s.Transpose(reshape(p[1], -1, tokens, each), 0, 2, 1), n, heads, each, tokens)
	}
	v := reshape(p[2], n, heads, tokens, each)
	y = s.MatMul(s.Softmax(s.MatMul(q, k), -1), v) // (B,H,N,d)
	y = reshape(s.Transpose(y, 2, 0, 1, 3), rows, width)
	y = s.Op("Gemm", attrs("transB", 1), y, s.weight("out", width, width))
	y = s.Transpose(reshape(y, tokens, n, width), 1, 0, 2)
	return s.done(t, s.Named("y", s.Op("Gather", attrs("axis", 1), y, s.Int(0))))
}

func TestSpecializeFollowsThePicturesBehindTokens(t *testing.T) {
	want := evaluate(t, tokensFirst(t, "B"))
	for _, old := range []int{1, 2, 5, 6, 10, testBatch} {
		t.Run(fmt.Sprint(old), func(t *testing.T) {
			g := tokensFirst(t, old)
			must(t, Specialize(g, testBatch))
			compare(t, want, evaluate(t, g), 1e-12)
			g = tokensFirst(t, old)
			must(t, Rebatch(g, 0))
			sound(t, g)
			compare(t, want, evaluate(t, g), 1e-12)
		})
	}
}

// Otherwise the logits of one picture would silently depend on the others.
func TestSpecializeRefusesWhatMixesPictures(t *testing.T) {
	for name, mix := range map[string]func(s *sketch, x *onnx.Value) *onnx.Value{
		"softmax over pictures": func(s *sketch, x *onnx.Value) *onnx.Value { return s.Softmax(x, 0) },
		"product of pictures":   func(s *sketch, x *onnx.Value) *onnx.Value { return s.MatMul(x, s.SwapLast(x)) },
		"mean over pictures":    func(s *sketch, x *onnx.Value) *onnx.Value { return s.Reduce("ReduceMean", x, true, 0) },
		"one of the pictures":   func(s *sketch, x *onnx.Value) *onnx.Value { return s.Slice(x, 0, 0, 1) },
		"normalised pictures": func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Op("LayerNormalization", attrs("axis", 0), x, s.weight("scale", 2, 6))
		},
		"pictures as columns": func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Add(x, s.Op("Reshape", nil, s.Transpose(x, 1, 0), s.Ints(2, 6)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			g := s.done(t, mix(s, s.Op("Relu", nil, s.input("x", 2, 6))))
			err := Specialize(g, 3)
			if err == nil || !strings.Contains(err.Error(), "node ") {
				t.Errorf("got %v", err)
			}
		})
	}
}
