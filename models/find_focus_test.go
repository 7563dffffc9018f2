package models

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

func focusOn(t *testing.T, g *onnx.Graph, opt FindOptions) *Focus {
	t.Helper()
	focus, err := FocusOn(g, opt)
	if err != nil {
		t.Fatal(err)
	}
	return focus
}

func TestFocusLeavesAPlainGraphAsItIs(t *testing.T) {
	g := (&toy{attention: (*toy).plain}).graph(t)
	before := g.String()
	focus := focusOn(t, g, FindOptions{})
	if focus.Changed || len(focus.Notes) > 0 || focus.Input != "pixels" || focus.Output != g.Outputs[0].Name || g.String() != before {
		t.Errorf("%+v", focus)
	}
}

func TestFocusTakesLogitsBeforeASoftmax(t *testing.T) {
	for name, last := range map[string]func(t *toy, x *onnx.Value) *onnx.Value{
		"Softmax":    func(t *toy, x *onnx.Value) *onnx.Value { return t.Softmax(x, -1) },
		"LogSoftmax": func(t *toy, x *onnx.Value) *onnx.Value { return t.Op("LogSoftmax", nil, x) },
		"Sigmoid":    func(t *toy, x *onnx.Value) *onnx.Value { return t.Op("Sigmoid", nil, x) },
	} {
		var logits *onnx.Value
		g := (&toy{attention: (*toy).plain, head: func(t *toy, x *onnx.Value) *onnx.Value {
			logits = t.classToken(x)
			return last(t, logits)
		}}).graph(t)
		focus := focusOn(t, g, FindOptions{})
		if !focus.Changed || focus.Behind != name || g.Outputs[0].Name != logits.Name || !strings.Contains(strings.Join(focus.Notes, " "), "is behind a "+name) {
			t.Errorf("%s: %+v, output %v", name, focus, g.Outputs[0])
		}
		if s := find(t, g); s.Err() != nil || s.Classes != 5 || len(s.Notes) > 0 {
			t.Errorf("%s: %v, notes %v", name, s.Err(), s.Notes)
		}
	}
}

func TestFocusTakesChannelsLastFirst(t *testing.T) {
	g := (&toy{attention: (*toy).plain, channelsLast: true}).graph(t)
	if s := find(t, g); s.Err() != nil || !s.ChannelsLast || s.Grid != [2]int64{2, 3} || s.Patch != [2]int64{4, 4} {
		t.Errorf("channels last: %+v", s)
	}
	focus := focusOn(t, g, FindOptions{})
	image := g.Inputs[0]
	if !focus.ChannelsLast || !focus.Changed || image.Name != "pixels" || image.Shape.String() != "(batch,3,8,12)" || len(g.Inputs) != 1 {
		t.Errorf("%+v, input %v", focus, image)
	}
	if s := find(t, g); s.Err() != nil || s.ChannelsLast || s.Image != image || s.Grid != [2]int64{2, 3} {
		t.Errorf("channels first: %+v", s)
	}
	if err := g.InferAll(); err != nil {
		t.Error(err)
	}
}

func TestFocusDropsWhatTheLogitsDontNeed(t *testing.T) {
	g := (&toy{attention: (*toy).plain, head: func(t *toy, x *onnx.Value) *onnx.Value {
		words := t.Graph.AddInput("words", onnx.Int64, onnx.Shape{{N: 1, Sym: "texts"}})
		text := t.Op("Gather", nil, t.weight(9, toyWidth), words)
		t.Graph.Outputs = []*onnx.Value{x, t.linear(text, 3)}
		return t.classToken(x)
	}}).graph(t)
	last := g.Outputs[2]
	g.Inputs = []*onnx.Value{g.Inputs[1], g.Inputs[0]}
	focus := focusOn(t, g, FindOptions{})
	if len(g.Inputs) != 1 || g.Inputs[0].Name != "pixels" || len(g.Outputs) != 1 || g.Outputs[0] != last || !focus.Changed {
		t.Errorf("inputs %v, outputs %v", g.Inputs, g.Outputs)
	}
	if !strings.Contains(strings.Join(focus.Notes, " "), last.Name+" is taken for the logits") {
		t.Errorf("notes %v", focus.Notes)
	}
}

func TestFocusFixesAnOpenImageSize(t *testing.T) {
	open := onnx.Shape{{N: 1, Sym: "batch"}, {N: 1, Sym: "channels"}, {N: 1, Sym: "height"}, {N: 1, Sym: "width"}}
	for _, c := range []struct {
		name string
		opt  FindOptions
		side int64
		size string
	}{
		{"position embedding", FindOptions{}, 3, "(batch,3,12,12)"},
		{"stated size", FindOptions{ImageSize: [2]int64{8, 12}}, 0, "(batch,3,8,12)"},
		{"stated grid", FindOptions{Grid: [2]int64{2, 3}}, 0, "(batch,3,8,12)"},
		{"nothing", FindOptions{}, 0, open.String()},
	} {
		toy := &toy{attention: (*toy).plain, shape: open, embed: func(t *toy, image *onnx.Value) *onnx.Value {
			x := t.Op("Conv", []onnx.Attr{{Name: "kernel_shape", Value: []int64{4, 4}}, {Name: "strides", Value: []int64{4, 4}}}, image, t.weight(toyWidth, 3, 4, 4))
			x = t.Transpose(t.Op("Reshape", nil, x, t.Ints(0, toyWidth, -1)), 0, 2, 1)
			if x = t.withClass(x); c.side > 0 {
				x = t.Add(x, t.weight(1, c.side*c.side+1, toyWidth))
			}
			return x
		}}
		g := toy.graph(t)
		focus := focusOn(t, g, c.opt)
		s := find(t, g)
		if got := g.Inputs[0].Shape.String(); got != c.size || focus.Changed != (c.name != "nothing") {
			t.Errorf("%s: the picture is %s, %+v", c.name, got, focus)
		}
		if err := s.Err(); (err == nil) != (c.name != "nothing") || (err != nil && !strings.Contains(err.Error(), "state it by --image-size")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFocusRefusesASizeThatDoesNotFit(t *testing.T) {
	open := onnx.Shape{{N: 1, Sym: "batch"}, onnx.D(3), {N: 1, Sym: "side"}, {N: 1, Sym: "side"}}
	g := (&toy{attention: (*toy).plain, shape: open, embed: func(t *toy, image *onnx.Value) *onnx.Value {
		x := t.Op("Conv", []onnx.Attr{{Name: "strides", Value: []int64{4, 4}}}, image, t.weight(toyWidth, 3, 4, 4))
		return t.withClass(t.Transpose(t.Op("Reshape", nil, x, t.Ints(0, toyWidth, -1)), 0, 2, 1))
	}}).graph(t)
	_, err := FocusOn(g, FindOptions{ImageSize: [2]int64{8, 12}})
	var e *Error
	if !errors.As(err, &e) || e.ExitCode() != 2 || !strings.Contains(err.Error(), "can't be of 8x12 pixels") {
		t.Errorf("a square picture of 8x12 pixels gives %v", err)
	}
}

func TestFindNamesInputsThatTheLogitsNeed(t *testing.T) {
	g := (&toy{attention: (*toy).plain, head: func(t *toy, x *onnx.Value) *onnx.Value {
		words := t.Graph.AddInput("input_ids", onnx.Int64, onnx.Shape{onnx.D(5)})
		return t.MatMul(t.Squeeze(t.Slice(x, 1, 0, 1), 1), t.Transpose(t.Op("Gather", nil, t.weight(9, toyWidth), words), 1, 0))
	}}).graph(t)
	if err := find(t, g).Err(); err == nil || !strings.Contains(err.Error(), "need input_ids int64(5) besides the picture") {
		t.Errorf("two towers give %v", err)
	}
}

func TestFindChoosesTheLogitsAmongOutputs(t *testing.T) {
	g := (&toy{attention: (*toy).plain, head: func(t *toy, x *onnx.Value) *onnx.Value {
		pooled := t.Squeeze(t.Slice(x, 1, 0, 1), 1)
		t.Graph.Outputs = []*onnx.Value{t.Named("pooler_output", t.linear(pooled, 6)), t.Op("Tanh", nil, pooled)}
		return t.Named("scores", t.linear(pooled, 5))
	}}).graph(t)
	s := find(t, g)
	if s.Err() != nil || s.Logits.Name != "scores" {
		t.Errorf("%v of %v, %v", s.Logits, g.Outputs, s.Err())
	}
	s, err := Find(g, FindOptions{Output: "pooler_output"})
	if err != nil || s.Err() != nil || s.Logits.Name != "pooler_output" {
		t.Errorf("a named output gives %v, %v, %v", s.Logits, err, s.Err())
	}
	g.Outputs = slices.DeleteFunc(g.Outputs, func(v *onnx.Value) bool { return v.Name == "scores" })
	if err := find(t, g).Err(); err == nil || !strings.Contains(err.Error(), "has the name of features") {
		t.Errorf("features alone give %v", err)
	}
}

func TestFindSaysWhyNoInputIsAPicture(t *testing.T) {
	for want, v := range map[string]onnx.Value{
		"holds bytes":     {Name: "x", Type: onnx.Uint8, Shape: onnx.ShapeOf(1, 8, 12, 3)},
		"five dimensions": {Name: "x", Type: onnx.Float, Shape: onnx.ShapeOf(1, 4, 3, 8, 12)},
		"no input is":     {Name: "x", Type: onnx.Float, Shape: onnx.ShapeOf(1, 8)},
	} {
		g := onnx.NewGraph("g")
		b := onnx.NewBuilder(g)
		x := b.Cast(g.AddInput(v.Name, v.Type, v.Shape), onnx.Double)
		g.Outputs = []*onnx.Value{x}
		p, err := passes.Prepare(&onnx.Model{IRVersion: 10, Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: g})
		if err != nil {
			t.Fatal(err)
		}
		if err := find(t, p).Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
