package passes

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/relevit/relevit/onnx"
)

// Fields of onnx.proto.
const (
	modelGraphField                              = 7
	graphInputField                              = 11
	attrNameField, attrGraphField, attrKindField = 1, 6, 20
	attrKindGraph                                = 5
)

// branchOf is an attribute that holds a graph, whose inputs in the sketch stand
// for values of the graphs around it.
func branchOf(t *testing.T, attr string, build func(s *sketch) []*onnx.Value) onnx.Attr {
	t.Helper()
	s := draw(t)
	g := s.done(t, build(s)...)
	data, err := (&onnx.Model{IRVersion: 8, Opsets: []onnx.Opset{{Version: 11}}, Graph: g}).Encode()
	must(t, err)
	var body []byte
	eachField(t, data, func(num protowire.Number, field, value []byte) {
		if num == modelGraphField {
			eachField(t, value, func(num protowire.Number, field, _ []byte) {
				if num != graphInputField {
					body = append(body, field...)
				}
			})
		}
	})
	out := protowire.AppendString(protowire.AppendTag(nil, attrNameField, protowire.BytesType), attr)
	out = protowire.AppendBytes(protowire.AppendTag(out, attrGraphField, protowire.BytesType), body)
	out = protowire.AppendVarint(protowire.AppendTag(out, attrKindField, protowire.VarintType), attrKindGraph)
	return onnx.Attr{Name: attr, Value: onnx.Opaque(out)}
}

func eachField(t *testing.T, data []byte, f func(num protowire.Number, field, value []byte)) {
	t.Helper()
	for len(data) > 0 {
		num, wire, n := protowire.ConsumeTag(data)
		m := protowire.ConsumeFieldValue(num, wire, data[n:])
		if n < 0 || m < 0 {
			t.Fatal("a broken field")
		}
		value := data[n : n+m]
		if wire == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(value)
		}
		f(num, data[:n+m], value)
		data = data[n+m:]
	}
}

// choice emits an If node whose branches read the given values by name.
func (s *sketch) choice(t *testing.T, cond *onnx.Value, then, otherwise func(s *sketch) []*onnx.Value, reads ...*onnx.Value) *onnx.Value {
	t.Helper()
	out := s.node("If", 1, []onnx.Attr{branchOf(t, "then_branch", then), branchOf(t, "else_branch", otherwise)}, cond)
	out[0].Node.Captures = reads
	return out[0]
}

// sizeIs is the condition that a size of x is n.
func (s *sketch) sizeIs(x *onnx.Value, axis, n int64) *onnx.Value {
	shape := s.node("Shape", 1, nil, x)[0]
	size := s.node("Gather", 1, nil, shape, s.Int(axis))[0]
	return s.node("Equal", 1, nil, size, s.Int(n))[0]
}

// fileOf writes a graph of opset 11 and reads it back.
func fileOf(t *testing.T, g *onnx.Graph) (*onnx.Model, *onnx.Document) {
	t.Helper()
	data, err := (&onnx.Model{IRVersion: 8, Opsets: []onnx.Opset{{Version: 11}}, Graph: g}).Encode()
	must(t, err)
	d, err := onnx.ParseDocument(data, "")
	must(t, err)
	m, err := d.Model()
	must(t, err)
	return m, d
}

func passOn(name string) func(s *sketch) []*onnx.Value {
	return func(s *sketch) []*onnx.Value { return s.node("Identity", 1, nil, s.g.AddInput(name, onnx.Float, nil)) }
}

// TestPrepareTakesBranchesThatAreCertain squeezes under a dynamic batch, in the
// spelling of opset 11, and then multiplies in an If within the If.
func TestPrepareTakesBranchesThatAreCertain(t *testing.T) {
	for _, size := range []int64{1, 2} {
		s := draw(t)
		x, w := s.input("x", "B", 1, 6), s.weight("w", 6, 4)
		inner := func(s *sketch) []*onnx.Value {
			product := s.node("MatMul", 1, nil, s.g.AddInput("flat", onnx.Float, nil), s.g.AddInput("w", onnx.Float, nil))[0]
			return s.node("Mul", 1, nil, product, s.weight("own", 4))
		}
		outer := func(s *sketch) []*onnx.Value {
			x, w := s.g.AddInput("x", onnx.Float, nil), s.g.AddInput("w", onnx.Float, nil)
			flat := s.node("Squeeze", 1, attrs("axes", []int64{1}), x)[0]
			s.g.Rename(flat, "flat")
			never := s.node("Not", 1, nil, s.g.AddInit("always", onnx.BoolTensor([]bool{true})))[0]
			return []*onnx.Value{s.choice(t, never, passOn("flat"), inner, flat, w)}
		}
		g := s.done(t, s.node("Relu", 1, nil, s.choice(t, s.sizeIs(x, 1, size), outer, passOn("x"), x, w))...)
		m, d := fileOf(t, g)
		got, err := Prepare(m)
		must(t, err)
		sound(t, got)

		s = draw(t)
		x = s.input("x", "B", 1, 6)
		want := []string{}
		var y *onnx.Value
		if size == 1 {
			want = []string{"w", "own"}
			w, own := m.Graph.Find("w"), got.Find("own")
			y = s.Op("MatMul", nil, s.Op("Squeeze", nil, x, s.Ints(1)), s.g.AddInit("w", w.Data))
			y = s.Mul(y, s.g.AddInit("own", own.Data))
		} else {
			y = x
		}
		sameOutputs(t, s.done(t, s.Named("Relu_out", s.Op("Relu", nil, y))), got)

		var names []string
		for _, p := range Parameters(got) {
			names = append(names, p.Name)
		}
		if !slices.Equal(names, want) {
			t.Errorf("size %d: parameters %v, want %v", size, names, want)
		}
		must(t, d.SetInitializer("own", onnx.FloatTensor([]float32{1, 2, 3, 4}, 4)))
		again, err := onnx.ParseDocument(d.Bytes(), "")
		must(t, err)
		m, err = again.Model()
		must(t, err)
		tensors, err := BranchTensors(m.Graph)
		must(t, err)
		at := slices.IndexFunc(tensors, func(v *onnx.Value) bool { return v.Name == "own" })
		if v, err := tensors[at].Data.Float32s(); err != nil || !slices.Equal(v, []float32{1, 2, 3, 4}) {
			t.Errorf("the branch holds %v (%v)", v, err)
		}
	}
}

// TestTensorsThatShareANameInBranchesStay holds weights fixed to which the file
// has no single name, and gives values of both branches names of their own.
func TestTensorsThatShareANameInBranchesStay(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 3)
	scale := func(from string) func(s *sketch) []*onnx.Value {
		return func(s *sketch) []*onnx.Value {
			return s.node("Mul", 1, nil, s.g.AddInput(from, onnx.Float, nil), s.weight("scale", 3))
		}
	}
	y := s.choice(t, s.sizeIs(x, 1, 3), scale("x"), passOn("x"), x)
	z := s.choice(t, s.sizeIs(x, 1, 3), scale(y.Name), passOn(y.Name), y)
	m, d := fileOf(t, s.done(t, z))
	g, err := Prepare(m)
	must(t, err)
	sound(t, g)
	if p := Parameters(g); len(p) != 0 || strings.Count(ops(g), "Mul") != 2 {
		t.Errorf("parameters %v of %v", p, g)
	}
	err = d.SetInitializer("scale", onnx.FloatTensor([]float32{1, 2, 3}, 3))
	if err == nil || !strings.Contains(err.Error(), "subgraphs have 2 tensors of that name") {
		t.Errorf("got %v", err)
	}
}

func TestBranchesThatAreUncertainAreRefusedByName(t *testing.T) {
	for name, cond := range map[string]func(s *sketch, x *onnx.Value) *onnx.Value{
		"batch": func(s *sketch, x *onnx.Value) *onnx.Value { return s.sizeIs(x, 0, 1) },
		"picture": func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.node("Cast", 1, attrs("to", int(onnx.Bool)), s.node("ReduceMax", 1, attrs("keepdims", 0), x)[0])[0]
		},
		"weight": func(s *sketch, _ *onnx.Value) *onnx.Value {
			return s.node("Cast", 1, attrs("to", int(onnx.Bool)), s.node("ReduceMax", 1, attrs("keepdims", 0), s.weight("w", 3))[0])[0]
		},
	} {
		s := draw(t)
		x := s.input("x", "B", 3)
		m, _ := fileOf(t, s.done(t, s.choice(t, cond(s, x), passOn("x"), passOn("x"), x)))
		_, err := Prepare(m)
		var refused *RaiseError
		if !errors.As(err, &refused) || refused.Op != "If" || !strings.Contains(err.Error(), "onnxsim") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, op := range []string{"Loop", "Scan"} {
		s := draw(t)
		x := s.input("x", "B", 3)
		out := s.node(op, 1, []onnx.Attr{branchOf(t, "body", passOn("x"))}, s.Int(1), nil)
		out[0].Node.Captures = []*onnx.Value{x}
		m, _ := fileOf(t, s.done(t, out...))
		_, err := Prepare(m)
		if err == nil || !strings.Contains(err.Error(), "node "+op+" ("+op+")") || !strings.Contains(err.Error(), "without control flow") {
			t.Errorf("got %v", err)
		}
	}
}

// TestBranchesAreMeasured meets a value that no ViT has within a branch.
func TestBranchesAreMeasured(t *testing.T) {
	s := draw(t)
	x := s.input("x", 1, 3)
	bomb := func(s *sketch) []*onnx.Value {
		large := s.node("Expand", 1, nil, s.g.AddInput("x", onnx.Float, nil), s.Ints(1<<20, 1<<20, 3))[0]
		return s.node("ReduceMax", 1, attrs("axes", []int64{0}, "keepdims", 0), large)
	}
	m, _ := fileOf(t, s.done(t, s.choice(t, s.sizeIs(x, 1, 3), bomb, passOn("x"), x)))
	_, err := Prepare(m)
	if beyond := (*onnx.FormatError)(nil); !errors.As(err, &beyond) {
		t.Errorf("got %v", err)
	}
}
