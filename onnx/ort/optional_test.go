package ort_test

import (
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

func TestInputsWithADefaultMayBeGivenOrLeft(t *testing.T) {
	orttest.Need(t)
	g := onnx.NewGraph("shift")
	x := g.AddInput("x", onnx.Int64, onnx.Shape{{N: 1, Sym: "batch"}})
	by := g.AddInit("by", onnx.Int64Tensor([]int64{-1}, 1))
	by.Shape = onnx.Shape{{N: 1, Sym: "shifts"}}
	g.Inputs = append(g.Inputs, by)
	b := onnx.NewBuilder(g)
	g.Outputs = append(g.Outputs, b.Named("y", b.Add(x, by)))
	data, err := (&onnx.Model{IRVersion: 8, Opsets: []onnx.Opset{{Version: 17}}, Graph: g}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, data, ort.Options{})
	if in, optional := s.Inputs(), s.Optional(); len(in) != 1 || len(optional) != 1 || optional[0].Name != "by" {
		t.Fatalf("inputs %v, optional %v", in, optional)
	}
	feed := map[string]*ort.Buffer{"x": buffer(t, []int64{0, 1, 2}, 3)}
	check := func(want ...int64) {
		t.Helper()
		out, err := s.Call(feed, "y")
		if err != nil {
			t.Fatal(err)
		}
		defer out["y"].Close()
		if got := out["y"].Int64s(); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	check(-1, 0, 1)
	feed["by"] = buffer(t, []int64{10}, 1)
	check(10, 11, 12)
	feed["by"] = buffer(t, []int64{10, 20, 30}, 3)
	check(10, 21, 32)

	y := buffer(t, make([]int64, 3), 3)
	bind(t, s, map[string]*ort.Buffer{"x": feed["x"], "y": y})
	run := func(want ...int64) {
		t.Helper()
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(y.Int64s(), want) {
			t.Errorf("got %v, want %v", y.Int64s(), want)
		}
	}
	run(-1, 0, 1)
	bind(t, s, map[string]*ort.Buffer{"by": feed["by"]})
	run(10, 21, 32)
}
