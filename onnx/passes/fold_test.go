package passes

import (
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestFoldResolvesShapeArithmetic(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 6, 4)
	size := s.Op("Shape", nil, x)
	batch := s.Op("Gather", nil, size, s.Int(0))
	tokens := s.Op("Gather", nil, size, s.Int(1))
	target := s.Concat(0, s.Unsqueeze(batch, 0), s.Unsqueeze(tokens, 0), s.Ints(2), s.Ints(2))
	y := s.Op("Reshape", nil, x, target)
	g := s.done(t, s.Named("y", y))
	before := twin(g)
	must(t, Fold(g))
	if ops(g) != "Reshape" || g.Nodes[0].Inputs[1].Data == nil {
		t.Errorf("shape arithmetic is left: %v", g)
	}
	sameOutputs(t, before, g)
}

func TestFoldShortensExpandToTheBatch(t *testing.T) {
	s := draw(t)
	x, token := s.input("x", "B", 6, 4), s.weight("token", 1, 1, 4)
	batch := s.Op("Gather", nil, s.Op("Shape", nil, x), s.Int(0))
	want := s.Op("Reshape", nil, s.Concat(0, s.Unsqueeze(batch, 0), s.Ints(-1), s.Ints(-1)), s.Ints(-1))
	ones := s.Op("ConstantOfShape", attrs("value", onnx.Int64Tensor([]int64{1}, 1)), s.Op("Shape", nil, want))
	kept := s.Op("Equal", nil, want, s.Mul(ones, s.Int(-1)))
	g := s.done(t, s.Op("Expand", nil, token, s.Where(kept, ones, want)))
	before := twin(g)
	must(t, Fold(g))
	if ops(g) != "Shape Concat Expand" {
		t.Errorf("got %v", g)
	}
	sameOutputs(t, before, g)
}

func TestFoldUsesZerosForSeveralOpenSizes(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", "T", 6)
	size := s.Op("Shape", nil, x)
	target := s.Concat(0, s.Op("Slice", nil, size, s.Ints(0), s.Ints(2)), s.Ints(2, 3))
	g := s.done(t, s.Op("Reshape", nil, x, target))
	before := twin(g)
	must(t, Fold(g))
	if got := g.Nodes[0].Inputs[1].Elems; ops(g) != "Reshape" || onnx.Shape(got).String() != "(0,-1,2,3)" && len(got) != 4 {
		t.Errorf("got %v", g)
	}
	sameOutputs(t, before, g)
}

func TestFoldEvaluatesConstantsButNotParameters(t *testing.T) {
	s := draw(t)
	x, w := s.input("x", "B", 4), s.weight("w", 4, 4)
	root := s.Op("Sqrt", nil, s.Cast(s.Int(4), onnx.Float))
	table := s.Op("Sin", nil, s.Cast(s.Op("Range", nil, s.Int(0), s.Int(4), s.Int(1)), onnx.Float))
	y := s.Add(s.MatMul(s.Div(x, root), s.Transpose(w, 1, 0)), table)
	g := s.done(t, y)
	before := twin(g)
	must(t, Fold(g))
	if ops(g) != "Div Transpose MatMul Constant Add" && ops(g) != "Constant Div Transpose MatMul Add" {
		t.Errorf("got %s", ops(g))
	}
	if p := Parameters(g); len(p) != 1 || p[0] != w {
		t.Errorf("parameters are %v, expected w alone", p)
	}
	nearOutputs(t, before, g, 1e-7)
}

func TestFoldRemovesWhatDoesNothing(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 4)
	a := s.Op("Identity", nil, x)
	a = s.Op("Dropout", nil, a)
	a = s.Op("Cast", attrs("to", 1), a)
	a = s.Op("Reshape", nil, a, s.Ints(-1, 4))
	a = s.Op("Transpose", attrs("perm", []int64{0, 1}), a)
	a = s.Op("Slice", nil, a, s.Ints(0), s.Ints(onnx.End), s.Ints(0))
	a = s.Op("Resize", attrs("mode", "cubic"), s.Op("Relu", nil, a), nil, nil, s.Op("Shape", nil, a))
	half := s.Op("Cast", attrs("to", 10), a)
	back := s.Op("Cast", attrs("to", 1), half)
	g := s.done(t, s.Named("y", s.Op("Identity", nil, back)))
	before := twin(g)
	must(t, Fold(g))
	if ops(g) != "Relu Cast Cast" || g.Outputs[0].Name != "y" {
		t.Errorf("got %v", g)
	}
	sameOutputs(t, before, g)
}

func TestFoldKeepsOutputsThatCannotBeRenamed(t *testing.T) {
	s := draw(t)
	x, w := s.input("x", "B", 4), s.weight("w", 4)
	r := s.Named("r", s.Op("Relu", nil, x))
	g := s.done(t, r, s.Named("twice", s.Op("Identity", nil, r)), s.Named("in", s.Op("Identity", nil, x)),
		s.Named("weight", s.Op("Identity", nil, w)))
	before := twin(g)
	must(t, Fold(g))
	if ops(g) != "Relu Identity Identity Identity" {
		t.Errorf("got %v", g)
	}
	sameOutputs(t, before, g)
}

func TestFoldKeepsReversingSlices(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 4)
	g := s.done(t, s.Op("Slice", nil, x, s.Ints(-1), s.Ints(-onnx.End), s.Ints(1), s.Ints(-1)))
	before := twin(g)
	must(t, Fold(g))
	if ops(g) != "Slice" {
		t.Errorf("got %s", ops(g))
	}
	sameOutputs(t, before, g)
}

func TestFoldShortensShapesThatHoldTheBatch(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", "T", 4)
	size := func(axis int64) *onnx.Value {
		return s.Unsqueeze(s.Op("Gather", nil, s.Op("Shape", nil, x), s.Int(axis)), 0)
	}
	zeros := s.Op("ConstantOfShape", nil, s.Concat(0, s.Mul(size(0), s.Ints(2)), s.Ints(3)))
	tiled := s.Op("Tile", nil, s.weight("w", 1, 4), s.Concat(0, size(0), s.Ints(2)))
	swapped := s.Op("Reshape", nil, s.Transpose(x, 1, 0, 2), s.Concat(0, size(1), s.Ints(2), size(0), s.Ints(2)))
	g := s.done(t, zeros, tiled, swapped)
	before := twin(g)
	must(t, Fold(g))
	if len(g.Nodes) > len(before.Nodes)-4 {
		t.Errorf("got %v", g)
	}
	for _, n := range g.Nodes {
		if n.Op == "Gather" || n.Op == "Unsqueeze" {
			t.Errorf("%v is left", n)
		}
	}
	sameOutputs(t, before, g)
}
