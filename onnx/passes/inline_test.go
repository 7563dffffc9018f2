package passes

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

// body makes a function of one input that applies nodes of these operators in
// a chain; a name with a dot is of domain local.
func body(name string, chain ...string) *onnx.Function {
	g := onnx.NewGraph(name)
	x := g.AddInput("x", onnx.Undefined, nil)
	g.Outputs = []*onnx.Value{x}
	for _, op := range chain {
		n := &onnx.Node{Op: strings.TrimPrefix(op, "local."), Inputs: []*onnx.Value{g.Outputs[0]}}
		if n.Op != op {
			n.Domain = "local"
		}
		n.Outputs = []*onnx.Value{{Name: g.Fresh("y"), Node: n}}
		g.Nodes, g.Outputs = append(g.Nodes, n), n.Outputs
	}
	return &onnx.Function{Domain: "local", Name: name, Opsets: []onnx.Opset{{Version: 17}}, Body: g}
}

func calling(t *testing.T, f string) *onnx.Graph {
	t.Helper()
	s := draw(t)
	y := s.node(f, 1, nil, s.input("x", "B", 3))
	y[0].Node.Domain = "local"
	return s.done(t, y...)
}

func TestInlineUnfoldsNestedFunctions(t *testing.T) {
	functions := []*onnx.Function{body("F", "Tanh", "local.G", "local.G"), body("G", "Exp", "local.Same"), body("Same")}
	g := calling(t, "F")
	must(t, Inline(g, functions, 17))
	if got := ops(g); strings.Count(got, "Exp") != 2 || strings.Contains(got, "Same") || g.Outputs[0].Name != "F_out" {
		t.Errorf("got %v", g)
	}
	must(t, Raise(g, 17))
	must(t, Fold(g))
	s := draw(t)
	want := s.done(t, s.Named("F_out", s.Op("Exp", nil, s.Op("Exp", nil, s.Op("Tanh", nil, s.input("x", "B", 3))))))
	sameOutputs(t, want, g)
}

func TestInlineBindsAttributes(t *testing.T) {
	for _, given := range []bool{true, false} {
		f := body("F", "LeakyRelu", "Elu")
		f.Attrs = attrs("slope", float32(0.5))
		f.Body.Nodes[0].Attrs = attrs("alpha", onnx.AttrRef("slope"))
		f.Body.Nodes[1].Attrs = attrs("alpha", onnx.AttrRef("absent"))
		g := calling(t, "F")
		want := float32(0.5)
		if given {
			want = 0.25
			g.Nodes[0].Attrs = attrs("slope", want)
		}
		must(t, Inline(g, []*onnx.Function{f}, 17))
		if got := g.Nodes[0].Float("alpha", 0); got != want || len(g.Nodes[1].Attrs) != 0 {
			t.Errorf("alpha is %v, want %v; the other node has %v", got, want, g.Nodes[1].Attrs)
		}
	}
}

func TestInlineRefusesWhatHasNoEndOrMeaning(t *testing.T) {
	var bomb []*onnx.Function
	for i := range 30 {
		next := fmt.Sprintf("local.F%d", i+1)
		bomb = append(bomb, body(fmt.Sprintf("F%d", i), next, next))
	}
	old := body("F0", "Softmax")
	old.Opsets[0].Version = 11
	wide := body("F0", "Exp")
	wide.Body.Inputs = nil
	branch := body("F0", "If")
	branch.Body.Nodes[0].Attrs = []onnx.Attr{{Name: "then_branch", Value: onnx.Opaque{}}}
	cases := map[string]struct {
		functions []*onnx.Function
		says      string
	}{
		"itself":        {[]*onnx.Function{body("F0", "local.F0")}, "calls itself"},
		"each other":    {[]*onnx.Function{body("F0", "local.F1"), body("F1", "local.F0")}, "calls itself"},
		"bomb":          {append(bomb, body("F30")), "more than 131072 nodes"},
		"another opset": {[]*onnx.Function{old}, "opset 11"},
		"inputs":        {[]*onnx.Function{wide}, "1 inputs"},
		"overloads":     {[]*onnx.Function{body("F0"), body("F0")}, "overloads"},
		"control flow":  {[]*onnx.Function{branch}, "control flow"},
	}
	for name, c := range cases {
		var refused *RaiseError
		var beyond *onnx.FormatError
		if err := Inline(calling(t, "F0"), c.functions, 17); !errors.As(err, &refused) && !errors.As(err, &beyond) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want a RaiseError or a FormatError that says %q", name, err, c.says)
		}
	}
}
