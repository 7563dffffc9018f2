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
		{"another node has that name", func(m *Model) { m.Graph.Nodes[0].Name, m.Graph.Nodes[1].Name = "n", "n" }},
		{"has no operator Rectify", func(m *Model) { m.Graph.Nodes[0].Op = "Rectify" }},
		{"exists from opset 24", func(m *Model) { m.Graph.Nodes[0].Op = "Swish" }},
		{"withdrawn in opset 10", func(m *Model) { m.Graph.Nodes[0].Op = "Upsample" }},
		{"at most 2", func(m *Model) { n := m.Graph.Nodes[0]; n.Inputs = append(n.Inputs, n.Inputs[0]) }},
		{"needs at least 2", func(m *Model) { n := m.Graph.Nodes[0]; n.Inputs = n.Inputs[:1] }},
		{"left out", func(m *Model) { m.Graph.Nodes[0].Inputs[1] = nil }},
		{"no attribute axis", func(m *Model) { m.Graph.Nodes[0].SetAttr("axis", int64(1)) }},
		{"is a float, expected an integer", func(m *Model) { n := m.Graph.Nodes[0]; n.Op = "Gather"; n.SetAttr("axis", float32(1)) }},
		{"needs the attribute axis", func(m *Model) { m.Graph.Nodes[0].Op = "Concat" }},
		{"x, is int64, and", func(m *Model) { n := m.Graph.Nodes[0]; n.Op = "Softmax"; m.Graph.Inputs[0].Type = Int64 }},
		{"takes one type", func(m *Model) { m.Graph.Inputs[0].Type = Double }},
		{"is said to be int64", func(m *Model) { m.Graph.Nodes[0].Outputs[0].Type = Int64 }},
		{"1 to 14 are known", func(m *Model) { m.IRVersion = 99 }},
		{"as IR version 3 wants", func(m *Model) { m.IRVersion = 3 }},
		{"function local.f: it calls itself", func(m *Model) { m.Bodies = []*Function{localFunction("f")} }},
		{"there are two of that name", func(m *Model) { m.Bodies = []*Function{localFunction("g"), localFunction("g")} }},
		{"node y", func(m *Model) { m.Graph.Outputs[0].Shape = ShapeOf(5, 5) }},
	} {
		m := small(t)
		c.damage(m)
		if got := fmt.Sprint(Check(m)); !strings.Contains(got, c.want) {
			t.Errorf("got %s, expected %q", got, c.want)
		}
	}
}

// localFunction calls f of its own domain.
func localFunction(name string) *Function {
	g := NewGraph(name)
	x := g.AddInput("a", Undefined, nil)
	n := &Node{Op: "f", Domain: "local", Inputs: []*Value{x}}
	y := &Value{Name: "b", Node: n}
	n.Outputs = []*Value{y}
	g.Nodes, g.Outputs = []*Node{n}, []*Value{y}
	return &Function{Domain: "local", Name: name, Opsets: []Opset{{"local", 1}}, Body: g}
}

// TestEveryInferredOperatorIsInTheTable compares two independent lists: the
// operators that inference has rules for, and those that ONNX declares.
func TestEveryInferredOperatorIsInTheTable(t *testing.T) {
	if _, err := operators(); err != nil {
		t.Fatal(err)
	}
	for key := range inferRules {
		domain, op, _ := strings.Cut(key, ":")
		if s, err := signatureOf(domain, op, newestOpset); s == nil || err != nil {
			t.Errorf("%s: %v, %v", key, s, err)
		}
	}
	for version, want := range map[int64]int{12: 1, 13: 2} { // Squeeze got its axes as an input in opset 13
		s, err := signatureOf("", "Squeeze", version)
		if err != nil || len(s.inputs) != want {
			t.Errorf("Squeeze of opset %d: %+v, %v, want %d inputs", version, s, err, want)
		}
	}
}
