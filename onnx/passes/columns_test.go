package passes

import (
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

func TestColumnsTakeVectorsFromTransposedMatrices(t *testing.T) {
	s := draw(t)
	x, v := s.input("x", "B", 3, 4), s.weight("v", 3)
	transposed := s.Named("y", s.MatMul(s.SwapLast(x), v))
	plain := s.Named("z", s.MatMul(x, s.weight("w", 4)))
	before := s.done(t, transposed, plain)
	after, _ := before.Clone()
	must(t, Columns(after))
	sound(t, after)
	sameOutputs(t, before, after)
	vectors := func(n *onnx.Node) bool { return n.Op == "MatMul" && len(n.Inputs[1].Shape) == 1 }
	if left := len(after.Nodes) - len(slices.DeleteFunc(slices.Clone(after.Nodes), vectors)); left != 1 {
		t.Errorf("%d products with a vector are left, expected that of z\n%v", left, after)
	}
}

// TestColumnsAreWhatONNXRuntimeMultiplies runs a prepared model with all
// optimizations. Without Columns it gives 321 for 951.
func TestColumnsAreWhatONNXRuntimeMultiplies(t *testing.T) {
	orttest.Need(t)
	s := draw(t)
	x, v := s.input("x", 3, 4), s.input("v", 3)
	m := &onnx.Model{Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: s.done(t, s.Named("y", s.MatMul(s.SwapLast(x), v)))}
	g, err := Prepare(m)
	must(t, err)
	m.Graph = g
	file, err := m.Encode()
	must(t, err)
	session, err := ort.NewSession(file, ort.Options{Threads: 1})
	must(t, err)
	defer session.Close()
	rows, err := ort.BufferOf([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 3, 4)
	must(t, err)
	defer rows.Close()
	vector, err := ort.BufferOf([]float32{1, 10, 100}, 3)
	must(t, err)
	defer vector.Close()
	out, err := session.Call(map[string]*ort.Buffer{"x": rows, "v": vector})
	must(t, err)
	defer out["y"].Close()
	if got, want := out["y"].Float32s(), []float32{951, 1062, 1173, 1284}; !slices.Equal(got, want) {
		t.Errorf("got %v, expected %v", got, want)
	}
}
