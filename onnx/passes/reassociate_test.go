package passes

import (
	"testing"

	"github.com/relevit/relevit/onnx"
)

// Sizes of the attention in the tests, all different: pictures, tokens, heads,
// width of a head, features.
const (
	pics, toks, hds, wid, feats = 2, 17, 3, 8, 10
)

// fewQueries is attention of which rows [from, to) are read.
func fewQueries(s *sketch, q, k, v *onnx.Value, from, to int64) *onnx.Value {
	scores := s.MatMul(s.Slice(q, 2, from, to), s.SwapLast(k))
	return s.MatMul(s.Softmax(scores, -1), v)
}

func (s *sketch) layer(x *onnx.Value, name string, width int64, bias bool) *onnx.Value {
	var c *onnx.Value
	if bias {
		c = s.weight(name+".bias", width)
	}
	flat := s.Reshape(x, onnx.Shape{x.Shape[:len(x.Shape)-1].Count(), x.Shape[len(x.Shape)-1]})
	return s.Op("Gemm", attrs("transB", 1), flat, s.weight(name+".weight", width, feats), c)
}

func TestReassociateFormsNoKeysAndValuesForFewQueries(t *testing.T) {
	separate := func(s *sketch, x *onnx.Value, name string, bias bool) *onnx.Value {
		y := s.Reshape(s.layer(x, name, hds*wid, bias), onnx.ShapeOf(pics, toks, hds, wid))
		return s.Transpose(y, 0, 2, 1, 3)
	}
	cases := map[string]func(s *sketch, x *onnx.Value) *onnx.Value{
		"one layer for q, k and v": func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.Reshape(s.layer(x, "qkv", 3*hds*wid, true), onnx.ShapeOf(pics, toks, 3, hds, wid))
			parts := s.Ops("Split", 3, attrs("axis", 0), s.Transpose(y, 2, 0, 3, 1, 4), s.Ints(1, 1, 1))
			return fewQueries(s, s.Squeeze(parts[0], 0), s.Squeeze(parts[1], 0), s.Squeeze(parts[2], 0), 0, 1)
		},
		"picked by Gather": func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.Transpose(s.Reshape(s.layer(x, "qkv", 3*hds*wid, false), onnx.ShapeOf(pics, toks, 3, hds, wid)), 2, 0, 3, 1, 4)
			pick := func(i int64) *onnx.Value {
				return s.Op("Gather", attrs("axis", 0), y, s.Const(onnx.Int64Tensor([]int64{i})))
			}
			return fewQueries(s, pick(0), pick(1), pick(-1), 0, 2)
		},
		"cut along the columns": func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.Reshape(s.layer(x, "qkv", 3*hds*wid, true), onnx.ShapeOf(pics, toks, 3*hds*wid))
			part := func(i int64) *onnx.Value {
				z := s.Slice(y, 2, i*hds*wid, (i+1)*hds*wid)
				return s.Transpose(s.Reshape(z, onnx.ShapeOf(pics, toks, hds, wid)), 0, 2, 1, 3)
			}
			return fewQueries(s, part(0), part(1), part(2), 0, 1)
		},
		"heads before q, k and v": func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.Transpose(s.Reshape(s.layer(x, "qkv", 3*hds*wid, true), onnx.ShapeOf(pics, toks, hds, 3*wid)), 0, 2, 1, 3)
			parts := s.Ops("Split", 3, attrs("axis", -1), y, s.Ints(wid, wid, wid))
			return fewQueries(s, parts[0], parts[1], parts[2], 1, 3)
		},
		"three layers": func(s *sketch, x *onnx.Value) *onnx.Value {
			return fewQueries(s, separate(s, x, "q", true), separate(s, x, "k", false), separate(s, x, "v", true), 0, 1)
		},
		"scaled keys": func(s *sketch, x *onnx.Value) *onnx.Value {
			k := s.Scale(separate(s, x, "k", true), 0.35)
			return fewQueries(s, separate(s, x, "q", true), s.Div(k, s.Scalar(1.5, k)), separate(s, x, "v", true), 0, 1)
		},
		"tokens before pictures": func(s *sketch, x *onnx.Value) *onnx.Value {
			x = s.Transpose(x, 1, 0, 2)
			heads := func(name string) *onnx.Value { // (B*H,N,d)
				y := s.Reshape(s.layer(x, name, hds*wid, true), onnx.ShapeOf(toks, pics*hds, wid))
				return s.Reshape(s.Transpose(y, 1, 0, 2), onnx.ShapeOf(pics, hds, toks, wid))
			}
			return fewQueries(s, heads("q"), heads("k"), heads("v"), 0, 1)
		},
		"maps of three dimensions": func(s *sketch, x *onnx.Value) *onnx.Value {
			heads := func(name string) *onnx.Value {
				return s.Reshape(separate(s, x, name, true), onnx.ShapeOf(pics*hds, toks, wid))
			}
			scores := s.MatMul(s.Slice(heads("q"), 1, 0, 1), s.SwapLast(heads("k")))
			return s.MatMul(s.Softmax(scores, -1), heads("v"))
		},
		"weights on the right": func(s *sketch, x *onnx.Value) *onnx.Value {
			layer := func(name string) *onnx.Value {
				y := s.Op("Gemm", nil, s.Reshape(x, onnx.ShapeOf(pics*toks, feats)), s.weight(name, feats, hds*wid), s.weight(name+".bias", hds*wid))
				return s.Transpose(s.Reshape(y, onnx.ShapeOf(pics, toks, hds, wid)), 0, 2, 1, 3)
			}
			return fewQueries(s, layer("q"), layer("k"), layer("v"), 0, 1)
		},
	}
	for name, build := range cases {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			g := s.done(t, s.Named("out", build(s, s.input("x", pics, toks, feats))))
			before := twin(g)
			must(t, Reassociate(g))
			sameOutputs(t, before, g)
			for _, n := range g.Nodes {
				if n.Op == "Gemm" && n.Outputs[0].Shape[0].Is(pics*toks) {
					t.Errorf("%v is still formed for all tokens\n%v", n, g)
				}
			}
		})
	}
}

func TestReassociateLeavesWhatIsReadInOtherWays(t *testing.T) {
	cases := map[string]func(s *sketch, q, k, v *onnx.Value) *onnx.Value{
		"many queries": func(s *sketch, q, k, v *onnx.Value) *onnx.Value { return fewQueries(s, q, k, v, 0, 6) },
		"queries without": func(s *sketch, q, k, v *onnx.Value) *onnx.Value {
			return s.MatMul(s.Softmax(s.MatMul(q, s.SwapLast(k)), -1), v)
		},
		"normalised keys": func(s *sketch, q, k, v *onnx.Value) *onnx.Value {
			n := func(x *onnx.Value) *onnx.Value {
				return s.Op("LayerNormalization", axis(-1), x, s.weight(x.Name+"/w", wid))
			}
			return fewQueries(s, n(q), n(k), n(v), 0, 1)
		},
		"products with a vector": func(s *sketch, q, k, v *onnx.Value) *onnx.Value {
			right, left := s.MatMul(s.MatMul(q, s.weight("u", wid)), s.weight("w", toks)), s.MatMul(s.weight("l", toks), k)
			return s.Add(s.Mul(left, s.Sum(v, 2)), s.Op("Unsqueeze", nil, right, s.Ints(2)))
		},
		"no queries": func(s *sketch, q, k, v *onnx.Value) *onnx.Value { return fewQueries(s, q, k, v, 3, 3) },
	}
	for name, build := range cases {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			x := s.input("x", pics, toks, feats)
			part := func(name string) *onnx.Value {
				y := s.Reshape(s.layer(x, name, hds*wid, true), onnx.ShapeOf(pics, toks, hds, wid))
				return s.Transpose(y, 0, 2, 1, 3)
			}
			g := s.done(t, s.Named("out", build(s, part("q"), part("k"), part("v"))))
			before, was := twin(g), ops(g)
			must(t, Reassociate(g))
			sameOutputs(t, before, g)
			if ops(g) != was {
				t.Errorf("got %v", g)
			}
		})
	}
}
