package passes

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

func TestSpecializeFixesTheBatch(t *testing.T) {
	for _, name := range oracleModels {
		g, dir := prepared(t, name)
		image := readTensor(t, filepath.Join(dir, "inputs.safetensors"), "image")
		must(t, Specialize(g, int64(image.Shape[0])))
		for _, n := range g.Nodes {
			for _, v := range n.Outputs {
				if !v.Shape.Known() || v.Type == onnx.Int64 {
					t.Errorf("%s: %v isn't known or is shape arithmetic", name, v)
				}
			}
		}
		got, err := ref.Run(g, map[string]*ref.Array{"image": image})
		must(t, err)
		want := readTensor(t, filepath.Join(dir, "expected.safetensors"), "logits")
		compare(t, map[string]*ref.Array{"logits": want}, got, 1e-6)
	}
}

// attend is a small transformer for a batch of that size, "B" or a number,
// with the constants that an exporter writes for it.
func attend(t *testing.T, batch any) *onnx.Graph {
	t.Helper()
	s := draw(t)
	x := s.input("x", batch, 3, 4, 4)
	n := int64(-1)
	if k, ok := batch.(int); ok {
		n = int64(k)
	}
	y := s.Op("Conv", attrs("strides", []int64{2, 2}), x, s.weight("w", 6, 3, 2, 2))
	y = s.Transpose(s.Op("Reshape", nil, y, s.Ints(n, 6, 4)), 0, 2, 1) // (B,4,6)
	token := s.weight("token", 1, 1, 6)
	switch {
	case n < 0:
		size := s.Op("Shape", attrs("start", 0, "end", 1), x)
		token = s.Op("Expand", nil, token, s.Concat(0, size, s.Ints(1, 6)))
	case n > 1:
		token = s.Op("Expand", nil, token, s.Ints(n, 1, 6))
	}
	y = s.Concat(1, token, y)                              // (B,5,6)
	qkv := s.MatMul(y, s.weight("qkv", 6, 18))             // (B,5,18)
	qkv = s.Op("Reshape", nil, qkv, s.Ints(n, 5, 3, 2, 3)) // (B,5,3,2,3)
	qkv = s.Transpose(qkv, 2, 0, 3, 1, 4)                  // (3,B,2,5,3)
	parts := s.Ops("Split", 3, attrs("axis", 0, "num_outputs", 3), qkv)
	q, k, v := s.Squeeze(parts[0], 0), s.Squeeze(parts[1], 0), s.Squeeze(parts[2], 0)
	if n > 0 { // old exporters multiply batch and heads
		q = s.Op("Reshape", nil, q, s.Ints(2*n, 5, 3))
		k = s.Op("Reshape", nil, k, s.Ints(2*n, 5, 3))
		v = s.Op("Reshape", nil, v, s.Ints(2*n, -1, 3))
	}
	a := s.Softmax(s.MatMul(q, s.SwapLast(k)), -1)
	y = s.MatMul(a, v)
	if n > 0 {
		y = s.Op("Reshape", nil, y, s.Ints(n, 2, 5, 3))
	}
	y = s.Op("Reshape", nil, s.Transpose(y, 0, 2, 1, 3), s.Ints(n, 5, 6))
	return s.done(t, s.Named("y", s.Op("Gather", attrs("axis", 1), y, s.Int(0))))
}

func TestSpecializeChangesAFixedBatch(t *testing.T) {
	want := evaluate(t, attend(t, "B"))
	for _, old := range []int{1, 2, 5, testBatch} {
		t.Run(fmt.Sprint(old), func(t *testing.T) {
			g := attend(t, old)
			must(t, Specialize(g, testBatch))
			compare(t, want, evaluate(t, g), 1e-12)
		})
	}
}

func TestSpecializeTiesRowsThatRepeatForTheBatch(t *testing.T) {
	for _, batch := range []int64{2, 5} {
		s := draw(t)
		token := s.g.AddInit("token", onnx.FloatTensor([]float32{1, 2, 3, 1, 2, 3}, 2, 1, 3))
		g := s.done(t, s.Concat(1, token, s.Op("Relu", nil, s.input("x", 2, 4, 3))))
		must(t, Specialize(g, batch))
		sound(t, g)
		if got := g.Outputs[0].Shape.String(); got != fmt.Sprintf("(%d,5,3)", batch) || !strings.Contains(ops(g), "ReduceMean Expand Concat") {
			t.Errorf("got %v", g)
		}
		y := evaluate(t, g)[g.Outputs[0].Name].F
		for i := range batch {
			if row := y[i*15 : i*15+3]; row[0] != 1 || row[1] != 2 || row[2] != 3 {
				t.Errorf("the token of picture %d is %v", i, row)
			}
		}
		if p := Parameters(g); len(p) != 1 || p[0] != token {
			t.Errorf("parameters are %v", p)
		}
	}
}

func TestSpecializeFindsTheBatchBehindTokens(t *testing.T) {
	s := draw(t)
	x := s.input("x", 1, 5, 6)
	g := s.done(t, s.Op("Reshape", nil, s.Transpose(x, 1, 0, 2), s.Ints(5, 1, 2, 3)))
	must(t, Specialize(g, 4))
	if got := g.Outputs[0].Shape.String(); got != "(5,4,2,3)" {
		t.Errorf("the output became %s", got)
	}
}

func TestSpecializeSaysWhatHoldsTheOldBatch(t *testing.T) {
	s := draw(t)
	x := s.input("x", 4, 6)
	g := s.done(t, s.Add(x, s.weight("w", 4, 6)))
	err := Specialize(g, 3)
	if err == nil || !strings.Contains(err.Error(), "node add") || !strings.Contains(err.Error(), "from batch size 4 to 3") {
		t.Errorf("got %v", err)
	}
	if err := Specialize(attend(t, "B"), 0); err == nil {
		t.Error("batch size 0 was accepted")
	}
}
