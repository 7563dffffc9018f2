package passes

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/ref"
)

// contribCase is one node of com.microsoft with random inputs of the shapes given.
type contribCase struct {
	op      string
	attrs   []onnx.Attr
	in      [][]int64 // nil for an input left out
	outputs []bool    // which are read; nil for the first alone
	masks   []int     // inputs that are int32, 0 or 1
	domain  string
}

var contribCases = map[string]contribCase{
	"attention":          {op: "Attention", attrs: attrs("num_heads", 2), in: [][]int64{{3, 5, 8}, {8, 24}, {24}}},
	"attention, no bias": {op: "Attention", attrs: attrs("num_heads", 2, "scale", float32(0.3)), in: [][]int64{{3, 5, 8}, {8, 24}}},
	"attention, widths": {op: "Attention", attrs: attrs("num_heads", 2, "qkv_hidden_sizes", []int64{8, 8, 4}),
		in: [][]int64{{3, 5, 8}, {8, 20}, {20}}},
	"attention, mask": {op: "Attention", attrs: attrs("num_heads", 2, "mask_filter_value", float32(-50)), in: [][]int64{{3, 5, 8}, {8, 24}, {24}, {3, 5}}, masks: []int{3}},
	"attention, square mask": {op: "Attention", attrs: attrs("num_heads", 2, "mask_filter_value", float32(-50)),
		in: [][]int64{{3, 5, 8}, {8, 24}, {24}, {3, 5, 5}}, masks: []int{3}},
	"attention, positions": {op: "Attention", attrs: attrs("num_heads", 2),
		in: [][]int64{{3, 5, 8}, {8, 24}, {24}, nil, nil, {1, 2, 5, 5}}},
	"heads":            {op: "MultiHeadAttention", attrs: attrs("num_heads", 2), in: [][]int64{{3, 5, 8}, {3, 7, 8}, {3, 7, 4}}},
	"heads, bias":      {op: "MultiHeadAttention", attrs: attrs("num_heads", 2, "scale", float32(0.2)), in: [][]int64{{3, 5, 8}, {3, 5, 8}, {3, 5, 8}, {24}}},
	"heads, positions": {op: "MultiHeadAttention", attrs: attrs("num_heads", 2), in: [][]int64{{3, 5, 8}, {3, 5, 8}, {3, 5, 8}, nil, nil, {1, 2, 5, 5}}},
	"heads, split":     {op: "MultiHeadAttention", attrs: attrs("num_heads", 2), in: [][]int64{{3, 5, 8}, {3, 2, 5, 4}, {3, 2, 5, 4}}},
	"heads, mask":      {op: "MultiHeadAttention", attrs: attrs("num_heads", 2), in: [][]int64{{3, 5, 8}, {3, 5, 8}, {3, 5, 8}, nil, {3, 5}}, masks: []int{4}},
	"skip":             {op: "SkipLayerNormalization", attrs: attrs("epsilon", float32(0.1)), in: [][]int64{{3, 5, 8}, {3, 5, 8}, {8}, {8}}},
	"skip, all":        {op: "SkipLayerNormalization", attrs: attrs("epsilon", float32(0.1)), in: [][]int64{{3, 5, 8}, {5, 8}, {8}, {8}, {8}}, outputs: []bool{true, false, false, true}},
	"skip, no beta":    {op: "SkipLayerNormalization", in: [][]int64{{3, 5, 8}, {3, 5, 8}, {8}}},
	"skip simplified":  {op: "SkipSimplifiedLayerNormalization", attrs: attrs("epsilon", float32(0.1)), in: [][]int64{{3, 5, 8}, {3, 5, 8}, {8}, {8}}, outputs: []bool{true, false, false, true}},
	"simplified":       {op: "SimplifiedLayerNormalization", attrs: attrs("epsilon", float32(0.1)), in: [][]int64{{3, 5, 8}, {8}}, domain: "-"},
	"gelu":             {op: "Gelu", in: [][]int64{{3, 5, 8}}},
	"bias gelu":        {op: "BiasGelu", in: [][]int64{{3, 5, 8}, {8}}},
	"fast gelu":        {op: "FastGelu", in: [][]int64{{3, 5, 8}}},
	"fast gelu, bias":  {op: "FastGelu", in: [][]int64{{3, 5, 8}, {8}}},
	"quick gelu":       {op: "QuickGelu", attrs: attrs("alpha", float32(1.3)), in: [][]int64{{3, 5, 8}}},
	"product":          {op: "FusedMatMul", attrs: attrs("alpha", float32(0.3), "transA", 1, "transB", 1), in: [][]int64{{2, 4, 3}, {2, 5, 4}}},
	"product, batch":   {op: "FusedMatMul", attrs: attrs("transBatchA", 1, "transBatchB", 1), in: [][]int64{{3, 2, 4}, {4, 2, 5}}},
	"product, all": {op: "FusedMatMul", attrs: attrs("transBatchA", 1, "transBatchB", 1, "transA", 1, "transB", 1),
		in: [][]int64{{4, 2, 6, 3}, {5, 2, 6, 4}}},
	"gemm":            {op: "FusedGemm", attrs: attrs("transB", 1, "alpha", float32(0.5), "activation", "Relu"), in: [][]int64{{3, 4}, {5, 4}, {5}}},
	"leaky gemm":      {op: "FusedGemm", attrs: attrs("activation", "LeakyRelu", "activation_alpha", float32(0.3)), in: [][]int64{{3, 4}, {4, 5}}},
	"convolution":     {op: "FusedConv", attrs: attrs("strides", []int64{2, 2}, "activation", "Relu"), in: [][]int64{{2, 3, 4, 4}, {5, 3, 2, 2}, {5}}},
	"clipped, sum":    {op: "FusedConv", attrs: attrs("strides", []int64{2, 2}, "activation", "Clip", "activation_params", []float32{-0.5, 0.5}), in: [][]int64{{2, 3, 4, 4}, {5, 3, 2, 2}, {5}, {2, 5, 2, 2}}},
	"rotary":          {op: "RotaryEmbedding", attrs: attrs("num_heads", 2), in: [][]int64{{3, 5, 8}, {1}, {9, 2}, {9, 2}}, masks: []int{1}},
	"rotary by token": {op: "RotaryEmbedding", attrs: attrs("interleaved", 1), in: [][]int64{{3, 2, 5, 4}, {3, 5}, {9, 2}, {9, 2}}, masks: []int{1}},
}

// graph makes the node and its inputs.
func (c contribCase) graph() (*onnx.Graph, map[string]*ref.Array) {
	rng := rand.New(rand.NewPCG(3, 4))
	g := onnx.NewGraph("case")
	domain := contribDomain
	if c.domain == "-" {
		domain = ""
	}
	n := &onnx.Node{Name: "fused", Op: c.op, Domain: domain, Attrs: c.attrs}
	inputs := map[string]*ref.Array{}
	for i, dims := range c.in {
		if dims == nil {
			n.Inputs = append(n.Inputs, nil)
			continue
		}
		x := &ref.Array{Type: onnx.Float}
		count := 1
		for _, d := range dims {
			x.Shape = append(x.Shape, int(d))
			count *= int(d)
		}
		integer := false
		for _, k := range c.masks {
			integer = integer || k == i
		}
		if integer {
			x.Type, x.I = onnx.Int32, make([]int64, count)
			if c.op == "RotaryEmbedding" {
				x.Type = onnx.Int64
			}
			for k := range x.I {
				x.I[k] = int64(rng.IntN(2))
			}
			x.I[0] = 1
		} else {
			x.F = make([]float64, count)
			for k := range x.F {
				x.F[k] = float64(float32(rng.NormFloat64()))
			}
		}
		v := g.AddInput("x"+string(rune('0'+i)), x.Type, onnx.ShapeOf(dims...))
		n.Inputs = append(n.Inputs, v)
		inputs[v.Name] = x
	}
	read := c.outputs
	if read == nil {
		read = []bool{true}
	}
	for i, yes := range read {
		if !yes {
			n.Outputs = append(n.Outputs, nil)
			continue
		}
		v := &onnx.Value{Name: "y" + string(rune('0'+i)), Type: onnx.Float, Node: n}
		n.Outputs = append(n.Outputs, v)
		g.Outputs = append(g.Outputs, v)
	}
	g.Nodes = []*onnx.Node{n}
	return g, inputs
}

func TestContribOperatorsAreWhatONNXRuntimeComputes(t *testing.T) {
	orttest.Need(t)
	for name, c := range contribCases {
		t.Run(name, func(t *testing.T) {
			g, inputs := c.graph()
			want := runFused(t, g, inputs)
			must(t, Raise(g, 17))
			for _, n := range g.Nodes {
				if n.Domain != "" || strings.Contains(n.Op, "Fused") {
					t.Fatalf("%s of domain %q is left", n.Op, n.Domain)
				}
			}
			got, err := ref.Run(g, inputs)
			must(t, err)
			for _, v := range g.Outputs {
				compareFused(t, v.Name, got[v.Name], want[v.Name])
			}
		})
	}
}

func compareFused(t *testing.T, name string, got, want *ref.Array) {
	t.Helper()
	if len(got.F) != len(want.F) || len(got.Shape) != len(want.Shape) {
		t.Fatalf("%s has shape %v, want %v", name, got.Shape, want.Shape)
	}
	for i, w := range want.F {
		if math.Abs(got.F[i]-w) > 2e-5*max(1, math.Abs(w)) {
			t.Fatalf("%s[%d] is %v, want %v", name, i, got.F[i], w)
		}
	}
}

// runFused runs the node as it is.
func runFused(t *testing.T, g *onnx.Graph, inputs map[string]*ref.Array) map[string]*ref.Array {
	t.Helper()
	file, err := (&onnx.Model{IRVersion: 8, Opsets: []onnx.Opset{{Version: 17}, {Domain: contribDomain, Version: 1}}, Graph: g}).Encode()
	must(t, err)
	session, err := ort.NewSession(file, ort.Options{Threads: 1, AsIs: true})
	must(t, err)
	defer session.Close()
	buffers := map[string]*ort.Buffer{}
	for name, x := range inputs {
		tensor, err := x.Tensor(x.Type)
		must(t, err)
		buffers[name], err = ort.BufferFrom(tensor)
		must(t, err)
		defer buffers[name].Close()
	}
	outputs, err := session.Call(buffers)
	must(t, err)
	out := map[string]*ref.Array{}
	for name, b := range outputs {
		out[name], err = ref.FromTensor(b.Tensor())
		must(t, err)
		b.Close()
	}
	return out
}

func TestContribRefusalsSayWhatToDo(t *testing.T) {
	cases := []struct{ domain, op, says string }{
		{contribDomain, "MatMulNBits", "quantise the result"},
		{contribDomain, "QAttention", "quantise the result"},
		{"", "DequantizeLinear", "quantise the result"},
		{"com.microsoft.nchwc", "Conv", "level extended"},
		{contribDomain, "PackedAttention", "before ONNX Runtime optimized it"},
		{contribDomain, "GroupQueryAttention", "before ONNX Runtime optimized it"},
		{contribDomain, "FusedMatMul", "damaged"},
	}
	for _, c := range cases {
		s := draw(t)
		out := s.node(c.op, 1, nil, s.input("x", 2, 3, 4))
		out[0].Node.Domain = c.domain
		s.g.Outputs = out
		var typed *RaiseError
		if err := Raise(s.g, 17); !errors.As(err, &typed) || !strings.Contains(err.Error(), c.says) || typed.Op != c.op || typed.Opset != 17 {
			t.Errorf("%s: got %v, want a RaiseError that says %q", c.op, err, c.says)
		}
	}
}

// ONNX Runtime has the packed layouts for GPUs only.
func TestPackedHeadsEqualSeparateOnes(t *testing.T) {
	for _, queries := range []bool{true, false} {
		s := draw(t)
		packed := s.input("packed", 3, 5, 2, 3, 4) // (B,N,H,3,d)
		part := func(from, to int64) *onnx.Value { return s.Slice(packed, 3, from, to) }
		flat := func(x *onnx.Value) *onnx.Value { return s.Op("Reshape", nil, x, s.Ints(3, 5, 8)) }
		q, k, v := flat(part(0, 1)), flat(part(1, 2)), flat(part(2, 3))
		separate := s.node("MultiHeadAttention", 1, attrs("num_heads", 2), q, k, v)
		in := []*onnx.Value{packed}
		if !queries {
			in = []*onnx.Value{q, part(1, 3)}
		}
		together := s.node("MultiHeadAttention", 1, attrs("num_heads", 2), in...)
		separate[0].Node.Domain, together[0].Node.Domain = contribDomain, contribDomain
		g := s.done(t, separate[0], together[0])
		must(t, Raise(g, 21))
		out := evaluate(t, g)
		compareFused(t, "packed", out[g.Outputs[1].Name], out[g.Outputs[0].Name])
	}
}
