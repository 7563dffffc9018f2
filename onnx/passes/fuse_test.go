package passes

import (
	"testing"

	"github.com/relevit/relevit/onnx"
)

// norm spells a decomposed LayerNormalization.
func norm(s *sketch, x, scale, bias *onnx.Value, square, divide func(s *sketch, centred, v *onnx.Value) *onnx.Value) *onnx.Value {
	centred := s.Sub(x, s.Reduce("ReduceMean", x, true, -1))
	variance := s.Reduce("ReduceMean", square(s, centred, nil), true, -1)
	deviation := s.Op("Sqrt", nil, s.Add(variance, s.Scalar(1e-3, x)))
	return s.Add(bias, s.Mul(divide(s, centred, deviation), scale))
}

func pow(s *sketch, v, _ *onnx.Value) *onnx.Value    { return s.Op("Pow", nil, v, s.Scalar(2, v)) }
func square(s *sketch, v, _ *onnx.Value) *onnx.Value { return s.Mul(v, v) }
func div(s *sketch, v, d *onnx.Value) *onnx.Value    { return s.Div(v, d) }
func reciprocal(s *sketch, v, d *onnx.Value) *onnx.Value {
	return s.Mul(s.Op("Reciprocal", nil, d), v)
}

func oneOver(s *sketch, v, d *onnx.Value) *onnx.Value {
	return s.Mul(v, s.Div(s.Scalar(1, d), d))
}

func TestFuseFindsLayerNormalization(t *testing.T) {
	for name, forms := range map[string][2]func(s *sketch, v, d *onnx.Value) *onnx.Value{
		"pow, div": {pow, div}, "mul, div": {square, div}, "pow, reciprocal": {pow, reciprocal},
		"mul, one over": {square, oneOver},
	} {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			x := s.input("x", "B", 3, 4)
			y := norm(s, s.Op("Relu", nil, x), s.weight("scale", 4), s.weight("bias", 4), forms[0], forms[1])
			g := s.done(t, s.Named("y", y))
			before := twin(g)
			must(t, Fuse(g))
			if ops(g) != "Relu LayerNormalization" || g.Outputs[0].Name != "y" {
				t.Errorf("got %v", g)
			}
			nearOutputs(t, before, g, 1e-7)
		})
	}
}

func TestFuseFindsLayerNormalizationThatSubtractsTwice(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 3, 4)
	mean := s.Reduce("ReduceMean", x, true, 2)
	once := s.node("Sub", 1, nil, x, mean)[0]
	twice := s.node("Sub", 1, nil, x, mean)[0]
	must(t, s.g.InferAll())
	variance := s.Reduce("ReduceMean", s.Mul(once, once), true, -1)
	normal := s.Div(twice, s.Op("Sqrt", nil, s.Add(s.Scalar(1e-5, x), variance)))
	g := s.done(t, s.Add(s.Mul(s.weight("scale", 4), normal), s.weight("bias", 4)))
	before := twin(g)
	must(t, Fuse(g))
	if ops(g) != "LayerNormalization" {
		t.Errorf("got %v", g)
	}
	nearOutputs(t, before, g, 1e-7)
}

func TestFuseLeavesLayerNormalizationWhoseInsideIsRead(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 3, 4)
	y := norm(s, x, s.weight("scale", 4), s.weight("bias", 4), pow, div)
	g := s.done(t, y, g0(s, "Sqrt"))
	before := twin(g)
	must(t, Fuse(g))
	if ops(g) != ops(before) {
		t.Errorf("got %v", g)
	}
}

func TestFuseLeavesNormsOfOtherAxesOrScales(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 3, 4)
	y := norm(s, x, s.weight("scale", 3, 4), s.weight("bias", 4), pow, div)
	g := s.done(t, y)
	count := len(g.Nodes)
	must(t, Fuse(g))
	if len(g.Nodes) != count {
		t.Errorf("got %v", g)
	}
}

// g0 is the output of the first node of an operator.
func g0(s *sketch, op string) *onnx.Value {
	for _, n := range s.g.Nodes {
		if n.Op == op {
			return n.Outputs[0]
		}
	}
	return nil
}

func TestFuseFindsGelu(t *testing.T) {
	const root = 1.4142135623730951
	forms := map[string]func(s *sketch, x *onnx.Value) *onnx.Value{
		"torch": func(s *sketch, x *onnx.Value) *onnx.Value {
			sum := s.Add(s.Op("Erf", nil, s.Div(x, s.Scalar(root, x))), s.Scalar(1, x))
			return s.Scale(s.Mul(x, sum), 0.5)
		},
		"half first": func(s *sketch, x *onnx.Value) *onnx.Value {
			sum := s.Add(s.Scalar(1, x), s.Op("Erf", nil, s.Scale(x, 1/root)))
			return s.Mul(s.Mul(s.Scalar(0.5, x), x), sum)
		},
		"half on the sum": func(s *sketch, x *onnx.Value) *onnx.Value {
			sum := s.Add(s.Op("Erf", nil, s.Scale(x, 1/root)), s.Scalar(1, x))
			return s.Mul(s.Scale(sum, 0.5), x)
		},
		"divided by two": func(s *sketch, x *onnx.Value) *onnx.Value {
			sum := s.Add(s.Op("Erf", nil, s.Scale(x, 1/root)), s.Scalar(1, x))
			return s.Div(s.Mul(x, sum), s.Scalar(2, x))
		},
		"half and half": func(s *sketch, x *onnx.Value) *onnx.Value {
			half := s.Scale(s.Op("Erf", nil, s.Div(x, s.Scalar(root, x))), 0.5)
			return s.Mul(x, s.Add(half, s.Scalar(0.5, x)))
		},
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			x := s.Add(s.input("x", "B", 4), s.weight("w", 4))
			g := s.done(t, s.Named("y", s.Mul(form(s, x), s.weight("scale", 4))))
			before := twin(g)
			must(t, Fuse(g))
			if ops(g) != "Add Gelu Mul" {
				t.Errorf("got %v", g)
			}
			nearOutputs(t, before, g, 1e-6)
		})
	}
}

func TestFuseLeavesWhatIsNoGelu(t *testing.T) {
	forms := map[string]func(s *sketch, x *onnx.Value) *onnx.Value{
		"coarse constant": func(s *sketch, x *onnx.Value) *onnx.Value {
			sum := s.Add(s.Op("Erf", nil, s.Div(x, s.Scalar(1.414, x))), s.Scalar(1, x))
			return s.Scale(s.Mul(x, sum), 0.5)
		},
		"divided by the sum": func(s *sketch, x *onnx.Value) *onnx.Value {
			sum := s.Add(s.Op("Erf", nil, s.Scale(x, 0.7071067811865476)), s.Scalar(1, x))
			return s.Scale(s.Div(x, sum), 0.5)
		},
		"another x": func(s *sketch, x *onnx.Value) *onnx.Value {
			sum := s.Add(s.Op("Erf", nil, s.Scale(s.Neg(x), 0.7071067811865476)), s.Scalar(1, x))
			return s.Scale(s.Mul(x, sum), 0.5)
		},
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			g := s.done(t, form(s, s.input("x", "B", 4)))
			count := len(g.Nodes)
			must(t, Fuse(g))
			if len(g.Nodes) != count {
				t.Errorf("got %v", g)
			}
		})
	}
}
