package passes

import (
	"path/filepath"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

var oracleModels = []string{"micro", "micro-rect", "micro-deep"}

func prepared(t *testing.T, name string) (*onnx.Graph, string) {
	t.Helper()
	dir := oracle(t, name)
	m, _, err := onnx.ReadModel(filepath.Join(dir, "model.onnx"))
	must(t, err)
	g, err := Prepare(m)
	must(t, err)
	sound(t, g)
	return g, dir
}

func TestPrepareLeavesNoShapeArithmeticInForeignModels(t *testing.T) {
	for _, name := range oracleModels {
		g, _ := prepared(t, name)
		whole := 0 // operators on integers: what is left asks for the batch size
		for _, n := range g.Nodes {
			for _, v := range n.Outputs {
				if v.Type == onnx.Int64 {
					whole++
				}
				if v.Shape == nil {
					t.Errorf("%s: the rank of %v isn't known", name, v)
				}
				for _, d := range v.Shape {
					if !d.Known() && d.Sym != "batch" {
						t.Errorf("%s: a size of %v isn't known", name, v)
					}
				}
			}
		}
		if whole > 2 {
			t.Errorf("%s: %d operators on integers are left, expected Shape and Concat for the class token alone\n%v", name, whole, g)
		}
	}
}

func TestPrepareKeepsTheLogitsOfForeignModels(t *testing.T) {
	for _, name := range oracleModels {
		g, dir := prepared(t, name)
		image := readTensor(t, filepath.Join(dir, "inputs.safetensors"), "image")
		want := readTensor(t, filepath.Join(dir, "expected.safetensors"), "logits")
		got, err := ref.Run(g, map[string]*ref.Array{"image": image})
		must(t, err)
		compare(t, map[string]*ref.Array{"logits": want}, got, 1e-6)
	}
}

func TestPrepareKeepsParametersAndTheModel(t *testing.T) {
	dir := oracle(t, "micro")
	m, _, err := onnx.ReadModel(filepath.Join(dir, "model.onnx"))
	must(t, err)
	before := m.Graph.String()
	g, err := Prepare(m)
	must(t, err)
	if m.Graph.String() != before {
		t.Error("the model's own graph has changed")
	}
	var want []*onnx.Value
	for _, v := range m.Graph.Inits {
		if IsParameter(v) {
			want = append(want, v)
		}
	}
	got := Parameters(g)
	if len(got) != len(want) {
		t.Fatalf("%d parameters, the file has %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Name != want[i].Name || got[i].Data != want[i].Data {
			t.Errorf("parameter %d is %v, in the file %v", i, got[i], want[i])
		}
	}
}

func TestPrepareNamesOpenSizesAndTakesInitializersOffTheInputs(t *testing.T) {
	s := draw(t)
	x := s.g.AddInput("x", onnx.Float, onnx.Shape{onnx.Unknown, onnx.D(4)})
	w := s.weight("w", 4, 5)
	s.g.Inputs = append(s.g.Inputs, w) // as files of IR version 3 list them
	g := s.done(t, s.Named("y", s.MatMul(x, w)))
	p, err := Prepare(&onnx.Model{Graph: g, Opsets: []onnx.Opset{{Version: 17}}})
	must(t, err)
	if len(p.Inputs) != 1 || p.Inputs[0].Shape.String() != "(batch,4)" || p.Outputs[0].Shape.String() != "(batch,5)" {
		t.Errorf("got %v", p)
	}
}

func TestAllPassesKeepTheLogitsOfForeignModels(t *testing.T) {
	for _, name := range oracleModels {
		g, dir := prepared(t, name)
		must(t, Linear(g))
		must(t, Patchify(g))
		must(t, Tidy(g))
		sound(t, g)
		for _, n := range g.Nodes {
			if n.Op == "Conv" || n.Op == "Erf" || (n.Op == "MatMul" && len(n.Inputs[1].Shape) == 2) {
				t.Errorf("%s: %v is left", name, n)
			}
		}
		image := readTensor(t, filepath.Join(dir, "inputs.safetensors"), "image")
		want := readTensor(t, filepath.Join(dir, "expected.safetensors"), "logits")
		got, err := ref.Run(g, map[string]*ref.Array{"image": image})
		must(t, err)
		compare(t, map[string]*ref.Array{"logits": want}, got, 1e-6)
	}
}

func TestPrepareFindsWeightsInConstantNodes(t *testing.T) {
	build := func(withInit bool) *onnx.Graph {
		s := draw(t)
		w := s.Op("Constant", attrs("value", onnx.FloatTensor([]float32{1, 2, 3, 4}, 2, 2)))
		y := s.MatMul(s.input("x", "B", 2), w)
		if withInit {
			y = s.Add(y, s.weight("b", 2))
		}
		return s.done(t, y)
	}
	for withInit, want := range map[bool]string{false: "constant", true: "b"} {
		g, err := Prepare(&onnx.Model{Graph: build(withInit), Opsets: []onnx.Opset{{Version: 21}}})
		must(t, err)
		sound(t, g)
		if p := Parameters(g); len(p) != 1 || p[0].Name != want {
			t.Errorf("parameters are %v, expected %s alone", p, want)
		}
	}
}
