package graphtest

import (
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// An error of a thousandth in one node must not hide in the bounds.
func TestBoundsCatchASmallError(t *testing.T) {
	tried, caught := 0, 0
	for seed := range uint64(100) {
		c, err := Draw(NewChoices(Bytes(seed)), Options{Type: onnx.Float})
		if err != nil {
			t.Fatal(err)
		}
		bounds, err := Bounds(c.Graph, c.Inputs, Single)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range c.Graph.Outputs {
			b := bounds[v]
			for i, x := range b.F {
				if x == 0 || b.Undecided {
					continue
				}
				wrong := *b.Array
				wrong.F = append([]float64{}, b.F...)
				wrong.F[i] *= 1.001
				tried++
				if b.Within(&wrong) != nil {
					caught++
				}
			}
		}
	}
	if tried < 1000 || caught < tried*9/10 {
		t.Errorf("of %d small errors %d are outside of the bounds", tried, caught)
	}
	t.Logf("of %d small errors %d are outside of the bounds", tried, caught)
}

// Rounding every value to float32 is what the bounds are for.
func TestBoundsAdmitRounding(t *testing.T) {
	for seed := range uint64(100) {
		c, err := Draw(NewChoices(Bytes(seed)), Options{Type: onnx.Float})
		if err != nil {
			t.Fatal(err)
		}
		bounds, err := Bounds(c.Graph, c.Inputs, Single)
		if err != nil {
			t.Fatal(err)
		}
		rounded := map[*onnx.Value]*ref.Array{}
		for _, n := range c.Graph.Nodes {
			in := make([]*ref.Array, len(n.Inputs))
			for i, v := range n.Inputs {
				if v != nil && rounded[v] == nil {
					rounded[v] = bounds[v].Array
				}
				in[i] = rounded[v]
			}
			out, err := ref.Node(n, in)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range n.Outputs {
				if v == nil {
					continue
				}
				y := *out[i]
				y.F = append([]float64(nil), y.F...)
				for j := range y.F {
					y.F[j] = float64(float32(y.F[j]))
				}
				rounded[v] = &y
				if bounds[v].Undecided {
					continue
				}
				if err := bounds[v].Within(&y); err != nil {
					t.Errorf("seed %d: %v of %v: %v", seed, v, n, err)
				}
			}
		}
	}
}

// TestBoundsLeaveTheTruthOfNearlyNothingOpen casts a sum to bool that rounding may
// make zero, and one that it can't.
func TestBoundsLeaveTheTruthOfNearlyNothingOpen(t *testing.T) {
	g := onnx.NewGraph("truth")
	b := onnx.NewBuilder(g)
	x, y := g.AddInput("x", onnx.Float, onnx.ShapeOf(1)), g.AddInput("y", onnx.Float, onnx.ShapeOf(1))
	g.Outputs = []*onnx.Value{b.Op("Cast", []onnx.Attr{{Name: "to", Value: int64(onnx.Bool)}}, b.Add(x, y))}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	for second, open := range map[float64]bool{-1 + Single: true, 0.5: false} {
		feed := map[string]*ref.Array{"x": ref.Floats([]float64{1}, 1).As(onnx.Float), "y": ref.Floats([]float64{second}, 1).As(onnx.Float)}
		bounds, err := Bounds(g, feed, Single)
		if err != nil {
			t.Fatal(err)
		}
		if bounds[g.Outputs[0]].Undecided != open {
			t.Errorf("the truth of 1 + %v is open: %v, expected %v", second, !open, open)
		}
	}
}

// TestBoundsLeaveTheEqualityOfNearlyEqualsOpen compares a sum with what it is but
// for rounding, and with what it isn't.
func TestBoundsLeaveTheEqualityOfNearlyEqualsOpen(t *testing.T) {
	for other, open := range map[float64]bool{1: true, 1 + Single: true, 1.5: false} {
		g := onnx.NewGraph("equality")
		b := onnx.NewBuilder(g)
		x, y := g.AddInput("x", onnx.Float, onnx.ShapeOf(1)), g.AddInput("y", onnx.Float, onnx.ShapeOf(1))
		g.Outputs = []*onnx.Value{b.Op("Equal", nil, b.Add(x, x), y)}
		if err := b.Err(); err != nil {
			t.Fatal(err)
		}
		feed := map[string]*ref.Array{"x": ref.Floats([]float64{0.5}, 1).As(onnx.Float), "y": ref.Floats([]float64{other}, 1).As(onnx.Float)}
		bounds, err := Bounds(g, feed, Single)
		if err != nil {
			t.Fatal(err)
		}
		if bounds[g.Outputs[0]].Undecided != open {
			t.Errorf("whether 1 is %v is open: %v, expected %v", other, !open, open)
		}
	}
}

// TestBoundsCountTheErrorsOfBothFactors multiplies differences that are none but
// for rounding.
func TestBoundsCountTheErrorsOfBothFactors(t *testing.T) {
	for _, op := range []string{"Mul", "ReduceProd"} {
		g := onnx.NewGraph("factors")
		b := onnx.NewBuilder(g)
		x := g.AddInput("x", onnx.Float, onnx.ShapeOf(2))
		nothing := b.Sub(b.Add(x, x), b.Mul(x, b.Floats([]float64{2}, x)))
		in := []*onnx.Value{nothing, nothing}
		if op == "ReduceProd" {
			in = in[:1]
		}
		g.Outputs = []*onnx.Value{b.Op(op, nil, in...)}
		if err := b.Err(); err != nil {
			t.Fatal(err)
		}
		bounds, err := Bounds(g, map[string]*ref.Array{"x": ref.Floats([]float64{1, 1}, 2).As(onnx.Float)}, Single)
		if err != nil {
			t.Fatal(err)
		}
		if got := bounds[g.Outputs[0]].Error[0]; got < Single*Single {
			t.Errorf("%s of two differences is off by %g at most, expected %g or more", op, got, Single*Single)
		}
	}
}
