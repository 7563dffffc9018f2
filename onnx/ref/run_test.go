package ref

import (
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestRunEvaluatesOutputsByName(t *testing.T) {
	g := onnx.NewGraph("g")
	x := g.AddInput("x", onnx.Float, onnx.Shape{{N: 1, Sym: "batch"}, onnx.D(2)})
	w := g.AddInit("w", onnx.FloatTensor([]float32{1, 2, 3, 4, 5, 6}, 2, 3))
	b := onnx.NewBuilder(g)
	y := b.Named("y", b.Add(b.MatMul(x, w), b.Scalar(1, x)))
	g.Outputs = []*onnx.Value{y}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	out, err := Run(g, map[string]*Array{"x": Floats([]float64{1, 0, 1, 1}, 2, 2)})
	if err != nil {
		t.Fatal(err)
	}
	equals(t, out["y"], Floats([]float64{2, 3, 4, 6, 8, 10}, 2, 3).As(onnx.Float))

	out, err = Run(g, map[string]*Array{"x": Floats([]float64{1, 0}, 1, 2), "w": Floats(make([]float64, 6), 2, 3)})
	if err != nil {
		t.Fatal(err)
	}
	equals(t, out["y"], Floats([]float64{1, 1, 1}, 1, 3).As(onnx.Float))
}

// equals fails unless the arrays are equal to 1e-12 of 1 or of the value.
func equals(t *testing.T, got, want *Array) {
	t.Helper()
	if err := differ(got, want, 1e-12); err != nil {
		t.Error(err)
	}
}

func TestRunSaysWhatDoesNotFit(t *testing.T) {
	g := onnx.NewGraph("g")
	x := g.AddInput("x", onnx.Float, onnx.Shape{{N: 1, Sym: "batch"}, onnx.D(2)})
	z := g.AddInput("z", onnx.Float, onnx.Shape{{N: 1, Sym: "batch"}})
	i := g.AddInput("i", onnx.Int64, onnx.ShapeOf(2))
	b := onnx.NewBuilder(g)
	sum := b.Named("sum", b.Add(b.Sum(x, 1), z))
	odd := &onnx.Node{Name: "odd", Op: "NoSuch", Inputs: []*onnx.Value{i}}
	odd.Outputs = []*onnx.Value{{Name: "o", Node: odd}}
	g.Nodes = append(g.Nodes, odd)
	g.Outputs = []*onnx.Value{sum}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	x2, z2 := Floats(make([]float64, 4), 2, 2), Floats(make([]float64, 2), 2)
	if _, err := Run(g, map[string]*Array{"x": x2, "z": z2}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		inputs map[string]*Array
		values []*onnx.Value
		want   string
	}{
		"missing":   {map[string]*Array{"x": x2}, g.Outputs, "input z float32(batch) is missing"},
		"unknown":   {map[string]*Array{"x": x2, "z": z2, "q": z2}, g.Outputs, `no input or initializer "q"`},
		"rank":      {map[string]*Array{"x": z2, "z": z2}, g.Outputs, "input x: is float32(2), the graph says (batch,2)"},
		"size":      {map[string]*Array{"x": Floats(make([]float64, 6), 2, 3), "z": z2}, g.Outputs, "3 instead of 2"},
		"batch":     {map[string]*Array{"x": x2, "z": Floats(make([]float64, 3), 3)}, g.Outputs, "3 instead of batch with batch=2"},
		"kind":      {map[string]*Array{"x": x2, "z": Ints(make([]int64, 2), 2)}, g.Outputs, "is int64, the graph says float32"},
		"elements":  {map[string]*Array{"x": Floats(nil, 2, 2), "z": z2}, g.Outputs, "needs 4 elements of its kind, has 0"},
		"operator":  {map[string]*Array{"i": Ints([]int64{1, 2}, 2)}, odd.Outputs, "node odd: the evaluator doesn't know operator NoSuch"},
		"nil input": {map[string]*Array{"x": nil}, g.Outputs, "input x is nil"},
	} {
		_, err := Eval(g, c.inputs, c.values)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, expected one with %q", name, err, c.want)
		}
	}
}

func TestNodesAgreeWithWhatTheGraphDeclares(t *testing.T) {
	g := onnx.NewGraph("g")
	x := g.AddInput("x", onnx.Float, onnx.ShapeOf(2))
	n := &onnx.Node{Op: "Neg", Inputs: []*onnx.Value{x}}
	n.Outputs = []*onnx.Value{{Name: "y", Type: onnx.Float, Shape: onnx.ShapeOf(3), Node: n}}
	g.Nodes, g.Outputs = []*onnx.Node{n}, n.Outputs
	_, err := Run(g, map[string]*Array{"x": Floats([]float64{1, 2}, 2)})
	if err == nil || !strings.Contains(err.Error(), "node y (Neg)") {
		t.Errorf("got error %v, expected one that names node y", err)
	}
}
