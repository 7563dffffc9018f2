package passes

import (
	"testing"

	"github.com/relevit/relevit/onnx"
)

func axis(n int64) []onnx.Attr { return []onnx.Attr{{Name: "axis", Value: n}} }

func narrowed(t *testing.T, g *onnx.Graph, keep ...*onnx.Value) {
	t.Helper()
	if _, err := Narrow(g, keep...); err != nil {
		t.Fatal(err)
	}
}

func TestNarrowComputesOnlyTheRowsThatAreRead(t *testing.T) {
	cases := map[string]struct {
		build func(s *sketch) *onnx.Value // (2,5,4)
		want  string
	}{
		"elementwise": {func(s *sketch) *onnx.Value {
			return s.Add(s.Mul(s.input("x", 2, 5, 4), s.weight("scale", 4)), s.weight("positions", 1, 5, 4))
		}, "Slice Mul Slice Add Gather"},
		"residual": {func(s *sketch) *onnx.Value {
			x := s.Op("Tanh", nil, s.input("x", 2, 5, 4))
			y := s.Op("LayerNormalization", axis(-1), x, s.weight("scale", 4), s.weight("bias", 4))
			return s.Add(x, s.Op("Gelu", nil, s.MatMul(y, s.weight("w", 4, 4))))
		}, "Slice Tanh LayerNormalization MatMul Gelu Add Gather"},
		"attention": {func(s *sketch) *onnx.Value {
			v := s.input("v", 2, 3, 5, 4)
			y := s.MatMul(s.Softmax(s.input("scores", 2, 3, 5, 5), -1), v) // (2,3,5,4)
			y = s.Reshape(s.Transpose(y, 0, 2, 1, 3), onnx.ShapeOf(2, 5, 12))
			return s.MatMul(y, s.weight("w", 12, 4))
		}, "Slice Softmax MatMul Transpose Reshape MatMul Gather"},
		"normalised over the tokens": {func(s *sketch) *onnx.Value {
			return s.Op("LayerNormalization", axis(1), s.input("x", 2, 5, 4), s.weight("scale", 5, 4))
		}, "LayerNormalization Gather"},
		"mixed by a product": {func(s *sketch) *onnx.Value {
			return s.Transpose(s.MatMul(s.Transpose(s.input("x", 2, 5, 4), 0, 2, 1), s.weight("w", 5, 5)), 0, 2, 1)
		}, "Transpose MatMul Slice Transpose Gather"},
		"tokens merged with the batch": {func(s *sketch) *onnx.Value {
			y := s.Op("Tanh", nil, s.Reshape(s.input("x", 2, 5, 4), onnx.ShapeOf(10, 4)))
			return s.Op("Reshape", nil, y, s.Ints(2, 5, 4))
		}, "Reshape Tanh Reshape Gather"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			row := s.Named("row", s.Op("Gather", axis(1), c.build(s), s.Int(-2)))
			g := s.done(t, row)
			before := twin(g)
			narrowed(t, g)
			if ops(g) != c.want {
				t.Errorf("got %v", g)
			}
			sameOutputs(t, before, g)
		})
	}
}

func TestNarrowJoinsRowsOfSeveralReaders(t *testing.T) {
	s := draw(t)
	y := s.Op("Tanh", nil, s.Op("Erf", nil, s.input("x", 2, 9, 4)))
	g := s.done(t, s.Op("Gather", axis(1), y, s.Int(2)), s.Op("Gather", axis(1), y, s.Ints(4)))
	before := twin(g)
	narrowed(t, g)
	if ops(g) != "Slice Erf Tanh Gather Gather" {
		t.Errorf("got %v", g)
	}
	sameOutputs(t, before, g)
}

func TestNarrowKeepsWhatOthersReadWhole(t *testing.T) {
	s := draw(t)
	y := s.Named("tokens", s.Op("Tanh", nil, s.input("x", 2, 9, 4)))
	g := s.done(t, s.Op("Gather", axis(1), s.Op("Erf", nil, y), s.Int(0)), y)
	before := twin(g)
	narrowed(t, g)
	if ops(g) != "Tanh Slice Erf Gather" {
		t.Errorf("got %v", g)
	}
	sameOutputs(t, before, g)
}

func TestNarrowWorksOnAnOpenBatch(t *testing.T) {
	s := draw(t)
	v := s.input("v", "batch", 3, 5, 4)
	y := s.MatMul(s.Softmax(s.MatMul(v, s.SwapLast(v)), -1), v)
	y = s.Reshape(s.Transpose(y, 0, 2, 1, 3), shape("batch", 5, 12))
	row := s.Op("Gather", axis(1), s.MatMul(y, s.weight("w", 12, 4)), s.Int(0))
	g := s.done(t, row)
	before := twin(g)
	narrowed(t, g)
	if want := "Transpose Slice MatMul Softmax MatMul Transpose Reshape MatMul Gather"; ops(g) != want {
		t.Errorf("got %v", g)
	}
	for _, c := range []*onnx.Graph{before, g} {
		must(t, Resolve(c, map[string]int64{"batch": 2}))
	}
	sameOutputs(t, before, g)
}

// TestNarrowKeepsMaps has a map that an elementwise node gives: rows are cut
// behind it, so that it still leads to the output.
func TestNarrowKeepsMaps(t *testing.T) {
	g := onnx.NewGraph("map")
	b := onnx.NewBuilder(g)
	x := g.AddInput("x", onnx.Float, onnx.ShapeOf(1, 5, 5))
	A := b.Op("Relu", nil, b.Softmax(x, -1))
	y := b.MatMul(A, x)
	g.Outputs = []*onnx.Value{b.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, y, b.Int(0))}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	narrowed(t, g, A)
	uses := g.Uses()
	if len(uses[A]) == 0 {
		t.Errorf("nothing reads the map any more:\n%v", g)
	}
	if !g.Outputs[0].Node.In(0).Shape[1].Is(1) {
		t.Errorf("nothing was narrowed:\n%v", g)
	}
}
