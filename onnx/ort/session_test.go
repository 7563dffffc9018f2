package ort_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// momentumModel updates m and p as an optimizer does:
// m' = m*beta + g, p' = p - lr*m'.
func momentumModel(n int) []byte {
	vec := func(name string) testPort { return testPort{name, onnx.Float, []any{n}} }
	scalar := func(name string) testPort { return testPort{name, onnx.Float, []any{}} }
	return modelBytes(
		[]testPort{vec("p"), vec("m"), vec("g"), scalar("beta"), scalar("lr")},
		[]testPort{vec("p.new"), vec("m.new"), scalar("sum")},
		testNode{op: "Mul", in: []string{"m", "beta"}, out: []string{"decayed"}},
		testNode{op: "Add", in: []string{"decayed", "g"}, out: []string{"m.new"}},
		testNode{op: "Mul", in: []string{"m.new", "lr"}, out: []string{"step"}},
		testNode{op: "Sub", in: []string{"p", "step"}, out: []string{"p.new"}},
		testNode{op: "ReduceSum", in: []string{"p.new"}, out: []string{"sum"},
			attrs: message(nil, 5, number(number(text(nil, 1, "keepdims"), 3, 0), 20, 2))},
	)
}

func open(t testing.TB, model []byte, opt ort.Options) *ort.Session {
	t.Helper()
	s, err := ort.NewSession(model, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func buffer[T ort.Element](t testing.TB, data []T, shape ...int64) *ort.Buffer {
	t.Helper()
	b, err := ort.BufferOf(data, shape...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func bind(t testing.TB, s *ort.Session, buffers map[string]*ort.Buffer) {
	t.Helper()
	for name, b := range buffers {
		if err := s.Bind(name, b); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInPlaceUpdateAccumulatesOverRuns(t *testing.T) {
	orttest.Need(t)
	const n = 1000
	s := open(t, momentumModel(n), ort.Options{Threads: 2})
	p := buffer(t, make([]float32, n), n)
	m := buffer(t, make([]float32, n), n)
	g := buffer(t, make([]float32, n), n)
	for i := range n {
		p.Float32s()[i] = float32(i)
		g.Float32s()[i] = float32(i%7) - 3
	}
	lr := buffer(t, []float32{0.5})
	sum := buffer(t, []float32{0})
	bind(t, s, map[string]*ort.Buffer{"p": p, "p.new": p, "m": m, "m.new": m, "g": g, "sum": sum,
		"beta": buffer(t, []float32{0.5}), "lr": lr})

	wantP, wantM := make([]float32, n), make([]float32, n)
	copy(wantP, p.Float32s())
	for step := range 5 {
		lr.Float32s()[0] = 0.5 / float32(step+1) // a bound scalar is read afresh by each run
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		var total float64
		for i := range n {
			wantM[i] = wantM[i]*0.5 + g.Float32s()[i]
			wantP[i] -= lr.Float32s()[0] * wantM[i]
			if got := p.Float32s()[i]; math.Abs(float64(got-wantP[i])) > 1e-4 {
				t.Fatalf("step %d: p[%d] = %v, expected %v", step, i, got, wantP[i])
			}
			if got := m.Float32s()[i]; got != wantM[i] {
				t.Fatalf("step %d: m[%d] = %v, expected %v", step, i, got, wantM[i])
			}
			total += float64(wantP[i])
		}
		if got := float64(sum.Float32s()[0]); math.Abs(got-total) > 1e-6*math.Abs(total) {
			t.Fatalf("step %d: sum = %v, expected %v", step, got, total)
		}
	}
}

func TestCallGivesOutputsOfAnyTypeAndShape(t *testing.T) {
	orttest.Need(t)
	model := modelBytes(
		[]testPort{{"x", onnx.Float, []any{"batch", 2}}},
		[]testPort{{"half", onnx.Float16, []any{"batch", 2}}, {"where", onnx.Int64, nil}, {"total", onnx.Float, nil}, {"wide", onnx.Double, []any{"batch", 2}}},
		testNode{op: "Cast", in: []string{"x"}, out: []string{"half"}, attrs: castTo(onnx.Float16)},
		testNode{op: "NonZero", in: []string{"x"}, out: []string{"where"}},
		testNode{op: "ReduceSum", in: []string{"x"}, out: []string{"total"},
			attrs: message(nil, 5, number(number(text(nil, 1, "keepdims"), 3, 0), 20, 2))},
		testNode{op: "Cast", in: []string{"x"}, out: []string{"wide"}, attrs: castTo(onnx.Double)},
	)
	s := open(t, model, ort.Options{})
	out, err := s.Call(map[string]*ort.Buffer{"x": buffer(t, []float32{1, 0, -2, 4, 0, 0}, 3, 2)})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"half": "float16(3,2)", "where": "int64(2,3)", "total": "float32()", "wide": "float64(3,2)",
	} {
		if got := out[name].String(); got != want {
			t.Errorf("%s is %s, expected %s", name, got, want)
		}
		defer out[name].Close()
	}
	if got := out["half"].Bytes()[:2]; got[0] != 0 || got[1] != 0x3c {
		t.Errorf("half[0] has bytes %v, expected those of 1.0", got)
	}
	if got := out["total"].Float32s()[0]; got != 3 {
		t.Errorf("total = %v, expected 3", got)
	}
	if got := out["where"].Int64s(); got[0] != 0 || got[1] != 1 || got[2] != 1 || got[3] != 0 || got[4] != 0 || got[5] != 1 {
		t.Errorf("where = %v", got)
	}
	if got := out["wide"].Float64s()[2]; got != -2 {
		t.Errorf("wide[1,0] = %v, expected -2", got)
	}
	// An empty batch and a subset of the outputs.
	empty, err := s.Call(map[string]*ort.Buffer{"x": buffer(t, []float32{}, 0, 2)}, "total", "wide")
	if err != nil {
		t.Fatal(err)
	}
	defer empty["total"].Close()
	defer empty["wide"].Close()
	if len(empty) != 2 || empty["wide"].Len() != 0 || empty["total"].Float32s()[0] != 0 {
		t.Errorf("empty batch gave %v", empty)
	}
}

func TestOutputsThatAModelNamesTwiceAreGivenOnce(t *testing.T) {
	orttest.Need(t)
	vec := func(name string) testPort { return testPort{name, onnx.Float, []any{2}} }
	model := modelBytes([]testPort{vec("x")}, []testPort{vec("minus"), vec("minus"), vec("root")},
		testNode{op: "Neg", in: []string{"x"}, out: []string{"minus"}},
		testNode{op: "Sqrt", in: []string{"x"}, out: []string{"root"}})
	s := open(t, model, ort.Options{})
	if got := len(s.Outputs()); got != 2 {
		t.Errorf("%d outputs, expected minus and root", got)
	}
	out, err := s.Call(map[string]*ort.Buffer{"x": buffer(t, []float32{4, 9}, 2)})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]float32{"minus": {-4, -9}, "root": {2, 3}} {
		if got := out[name].Float32s(); !slices.Equal(got, want) {
			t.Errorf("%s is %v, expected %v", name, got, want)
		}
		out[name].Close()
	}
}

func TestPortsTellNamesTypesAndShapes(t *testing.T) {
	orttest.Need(t)
	model := modelBytes(
		[]testPort{{"x", onnx.Float, []any{"batch", 2}}},
		[]testPort{{"y", onnx.Float, nil}},
		testNode{op: "NonZero", in: []string{"x"}, out: []string{"at"}},
		testNode{op: "Shape", in: []string{"at"}, out: []string{"size"}},
		testNode{op: "ConstantOfShape", in: []string{"size"}, out: []string{"y"}},
	)
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, model, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := ort.Open(path, ort.Options{AsIs: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.Inputs()[0].String(); got != "x float32(batch,2)" {
		t.Errorf("input is %s", got)
	}
	if got := s.Outputs()[0]; got.Name != "y" || got.Type != onnx.Float {
		t.Errorf("output is %v", got)
	}
}

func TestWrongBuffersGiveTypedErrors(t *testing.T) {
	orttest.Need(t)
	s := open(t, momentumModel(3), ort.Options{Name: "optimizer_model.onnx"})
	good := buffer(t, []float32{1, 2, 3}, 3)
	closed := buffer(t, []float32{1, 2, 3}, 3)
	closed.Close()
	for _, c := range []struct {
		name string
		b    *ort.Buffer
		want string
	}{
		{"p", buffer(t, []float32{1, 2}, 2), `binding "p" of optimizer_model.onnx: found float32(2), expected float32(3)`},
		{"p", buffer(t, []float64{1, 2, 3}, 3), `found float64(3), expected float32(3)`},
		{"lr", buffer(t, []float32{1}, 1), `found float32(1), expected float32()`},
		{"m.new", buffer(t, []float32{1, 2, 3}, 1, 3), `found float32(1,3), expected float32(3)`},
		{"q", good, `expected an input or output of the graph: p, m, g, beta, lr -> p.new, m.new, sum`},
		{"p", closed, `found a closed buffer`},
	} {
		err := s.Bind(c.name, c.b)
		if be := (*ort.BindError)(nil); !errors.As(err, &be) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("binding %s: got %v, expected a BindError with %q", c.name, err, c.want)
		}
	}
	if err := s.Run(); err == nil || !strings.Contains(err.Error(), `binding "p"`) {
		t.Errorf("running with nothing bound: got %v", err)
	}
	if _, err := s.Call(map[string]*ort.Buffer{"p": good}); err == nil || !strings.Contains(err.Error(), `binding "m"`) {
		t.Errorf("calling with a missing input: got %v", err)
	}
	bind(t, s, map[string]*ort.Buffer{"p": good, "m": good, "g": good, "p.new": buffer(t, make([]float32, 3), 3),
		"beta": buffer(t, []float32{1}), "lr": buffer(t, []float32{1})})
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	good.Close()
	if be := (*ort.BindError)(nil); !errors.As(s.Run(), &be) {
		t.Error("running with a closed buffer is no BindError")
	}
	if err := ort.Set(closed, []float32{1, 2, 3}); err == nil {
		t.Error("filling a closed buffer is no error")
	}
}

func TestBrokenModelsGiveLoadErrors(t *testing.T) {
	orttest.Need(t)
	model := momentumModel(3)
	unknown := modelBytes(nil, []testPort{{"y", onnx.Float, nil}}, testNode{op: "NoSuchOperator", out: []string{"y"}})
	for name, bytes := range map[string][]byte{"truncated": model[:len(model)/2], "empty": nil, "unknown operator": unknown} {
		_, err := ort.NewSession(bytes, ort.Options{})
		if le := (*ort.LoadError)(nil); !errors.As(err, &le) {
			t.Errorf("%s model: got %v, expected a LoadError", name, err)
		}
	}
	if _, err := ort.Open(filepath.Join(t.TempDir(), "absent.onnx"), ort.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent model: got %v", err)
	}
}
