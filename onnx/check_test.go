package onnx

import (
	"fmt"
	"strings"
	"testing"
)

// small is y = MatMul(x, w) + Const in the working dialect.
func small(t *testing.T) *Model {
	t.Helper()
	g := NewGraph("small")
	x := g.AddInput("x", Float, Shape{{1, "batch"}, D(3)})
	w := g.AddInit("w", FloatTensor(make([]float32, 6), 3, 2))
	b := NewBuilder(g)
	y := b.Named("y", b.Add(b.MatMul(x, w), b.Scalar(1, x)))
	g.Outputs = []*Value{y}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	return &Model{IRVersion: 10, Opsets: []Opset{{"", Dialect}}, Graph: g}
}

func TestSoundModelsHaveNoProblems(t *testing.T) {
	if p := Check(small(t)); len(p) != 0 {
		t.Errorf("%v", p)
	}
	for _, path := range oracleModels(t) {
		m, _, err := ReadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		if p := Check(m); len(p) != 0 {
			t.Errorf("%s: %v", path, p)
		}
	}
}

func TestCheckFindsEachBrokenRule(t *testing.T) {
	for _, c := range []struct {
		want   string
		damage func(*Model)
	}{
		{"it has no graph", func(m *Model) { m.Graph = nil }},
		{"imports no operator set", func(m *Model) { m.Opsets = nil }},
		{"imported twice", func(m *Model) { m.Opsets = append(m.Opsets, Opset{"ai.onnx", 17}) }},
		{`domain "com.microsoft"`, func(m *Model) { m.Graph.Nodes[0].Domain = "com.microsoft" }},
		{"nothing before it gives", func(m *Model) { n := m.Graph.Nodes; n[0], n[1] = n[1], n[0] }},
		{"reads stranger", func(m *Model) { m.Graph.Nodes[0].Inputs[1] = &Value{Name: "stranger"} }},
		{"another value has that name", func(m *Model) { m.Graph.Inits[0].Name = "x" }},
		{"no name", func(m *Model) { m.Graph.Inits[0].Name = "" }},
		{"given twice", func(m *Model) { m.Graph.Nodes = append(m.Graph.Nodes, m.Graph.Nodes[0]) }},
		{"belongs to another node", func(m *Model) { m.Graph.Nodes[0].Outputs[0].Node = nil }},
		{"no operator", func(m *Model) { m.Graph.Nodes[0].Op = "" }},
		{"two attributes a", func(m *Model) { m.Graph.Nodes[0].Attrs = []Attr{{"a", int64(1)}, {"a", int64(2)}} }},
		{"no tensor type", func(m *Model) { m.Graph.Inputs[0].Type = Undefined }},
		{"has no data", func(m *Model) { m.Graph.Inits[0].Data = nil }},
		{"needs 24", func(m *Model) { m.Graph.Inits[0].Data.Raw = make([]byte, 4) }},
		{"is said to be", func(m *Model) { m.Graph.Inits[0].Shape = ShapeOf(2, 3) }},
		{"has no output", func(m *Model) { m.Graph.Outputs = nil }},
		{"nothing in the graph gives it", func(m *Model) { m.Graph.Outputs = []*Value{{Name: "z"}} }},
		{"node y", func(m *Model) { m.Graph.Outputs[0].Shape = ShapeOf(5, 5) }},
	} {
		m := small(t)
		c.damage(m)
		if got := fmt.Sprint(Check(m)); !strings.Contains(got, c.want) {
			t.Errorf("got %s, expected %q", got, c.want)
		}
	}
}
