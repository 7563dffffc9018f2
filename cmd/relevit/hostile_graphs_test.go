package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/relevit/relevit/onnx"
)

func shape(dims ...int64) *onnx.Tensor { return onnx.Int64Tensor(dims, int64(len(dims))) }

func scalar(n int64) *onnx.Tensor { return onnx.Int64Tensor([]int64{n}) }

func ints(name string, v ...int64) onnx.Attr { return onnx.Attr{Name: name, Value: v} }

var (
	one    = onnx.FloatTensor([]float32{1}, 1)
	pixels = onnx.FloatTensor(make([]float32, 16), 1, 1, 4, 4)
)

// endlessGraphs change a good model's graph so that running it takes all memory.
func endlessGraphs() map[string]func(*onnx.Graph) {
	return map[string]func(*onnx.Graph){
		"Conv of dilations":      added("Conv", []onnx.Attr{ints("dilations", 1<<62, 1<<62)}, pixels, pixels),
		"MaxPool":                added("MaxPool", []onnx.Attr{ints("kernel_shape", 1<<31, 1<<31), ints("pads", 1<<31, 1<<31, 1<<31, 1<<31)}, pixels),
		"Reshape that overflows": added("Reshape", nil, pixels, shape(1<<32, 1<<32, 1<<32, 0)),
		"4 TB of one number":     added("ConstantOfShape", nil, shape(1<<20, 1<<20)),
		"32 GB of one number":    added("ConstantOfShape", nil, shape(1<<13, 1<<20)),
		"a shape that overflows": added("ConstantOfShape", nil, shape(1<<32, 1<<32)),
		"a shape of 2^63-1":      added("ConstantOfShape", nil, shape(math.MaxInt64, math.MaxInt64)),
		"Expand":                 added("Expand", nil, one, shape(1<<20, 1<<20)),
		"Expand that overflows":  added("Expand", nil, one, shape(1<<40, 1<<40)),
		"Tile":                   added("Tile", nil, one, shape(1<<40)),
		"Tile that overflows":    added("Tile", nil, pixels, shape(1<<62, 1<<62, 1<<62, 1<<62)),
		"Pad":                    added("Pad", nil, one, shape(0, 1<<40)),
		"OneHot":                 added("OneHot", nil, shape(1), scalar(1<<40), onnx.Int64Tensor([]int64{0, 1}, 2)),
		"Resize":                 added("Resize", nil, pixels, nil, nil, shape(1, 1, 1<<20, 1<<20)),
		"Resize by scales":       added("Resize", nil, pixels, nil, onnx.FloatTensor([]float32{1, 1, 1e9, 1e9}, 4)),
		"Conv of pads":           added("Conv", []onnx.Attr{ints("pads", 1<<30, 1<<30, 1<<30, 1<<30)}, pixels, pixels),
		"a batch of 2^62":        func(g *onnx.Graph) { g.Inputs[0].Shape[0] = onnx.D(1 << 62) },
		"a batch of 2^30":        func(g *onnx.Graph) { g.Inputs[0].Shape[0] = onnx.D(1 << 30) },
	}
}

// hostileGraphs change it so that knowing its sizes, or computing what can be
// computed ahead, would; or so that sizes make no sense.
func hostileGraphs() map[string]func(*onnx.Graph) {
	return map[string]func(*onnx.Graph){
		"Pad that overflows":      added("Pad", nil, one, shape(math.MaxInt64, math.MaxInt64)),
		"a shape of -2^63":        added("ConstantOfShape", nil, shape(math.MinInt64)),
		"Range":                   added("Range", nil, scalar(0), scalar(1<<40), scalar(1)),
		"Range backwards":         added("Range", nil, scalar(math.MaxInt64), scalar(math.MinInt64), scalar(-1)),
		"Range of 2^30":           added("Range", nil, scalar(0), scalar(1<<30), scalar(1)),
		"Conv of strides 0":       added("Conv", []onnx.Attr{ints("strides", 0, 0)}, pixels, pixels),
		"DepthToSpace":            added("DepthToSpace", []onnx.Attr{{Name: "blocksize", Value: int64(1 << 62)}}, pixels),
		"Slice backwards":         added("Slice", nil, pixels, shape(math.MinInt64), shape(math.MaxInt64), shape(3), shape(math.MinInt64)),
		"Slice by 0":              added("Slice", nil, pixels, shape(0), shape(9), shape(3), shape(0)),
		"Transpose of 2^62":       added("Transpose", []onnx.Attr{ints("perm", 1<<62, 1, 2, 3)}, pixels),
		"Unsqueeze of many":       added("Unsqueeze", nil, one, shape(count64(100_000)...)),
		"Flatten of 2^62":         added("Flatten", []onnx.Attr{{Name: "axis", Value: int64(1 << 62)}}, pixels),
		"many products":           products(400),
		"many numbers":            fillings(400),
		"many nodes":              chain("Neg", 10_000),
		"many sums":               chain("Add", 10_000),
		"many shapes":             chain("Shape", 20_000),
		"many inputs of Concat":   concat(50_000),
		"an Einsum of many loops": einsum,
		"a picture of 2^62 pixels": func(g *onnx.Graph) {
			g.Inputs[0].Shape[2], g.Inputs[0].Shape[3] = onnx.D(1<<62), onnx.D(1<<62)
		},
		"a picture of 2^20 pixels": func(g *onnx.Graph) {
			g.Inputs[0].Shape[2], g.Inputs[0].Shape[3] = onnx.D(1<<20), onnx.D(1<<20)
		},
		"outputs of 2^62": func(g *onnx.Graph) { g.Outputs[0].Shape = onnx.ShapeOf(1<<62, 1<<62) },
	}
}

func count64(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

// emit appends a node of one output.
func emit(g *onnx.Graph, op string, attrs []onnx.Attr, in ...*onnx.Value) *onnx.Value {
	n := &onnx.Node{Name: g.Fresh("odd"), Op: op, Attrs: attrs, Inputs: in}
	v := &onnx.Value{Name: g.Fresh("odd"), Node: n}
	n.Outputs = []*onnx.Value{v}
	g.Nodes = append(g.Nodes, n)
	return v
}

func constants(g *onnx.Graph, tensors []*onnx.Tensor) []*onnx.Value {
	out := make([]*onnx.Value, len(tensors))
	for i, t := range tensors {
		if t != nil {
			out[i] = emit(g, "Constant", []onnx.Attr{{Name: "value", Value: t}})
		}
	}
	return out
}

// join adds what a value sums up to to the logits.
func join(g *onnx.Graph, v *onnx.Value) {
	sum := emit(g, "ReduceSum", []onnx.Attr{{Name: "keepdims", Value: int64(0)}}, v)
	number := emit(g, "Cast", []onnx.Attr{{Name: "to", Value: int64(onnx.Float)}}, sum)
	g.Outputs[0] = emit(g, "Add", nil, g.Outputs[0], number)
	g.Outputs[0].Type = onnx.Float
}

// added is an operator on constants.
func added(op string, attrs []onnx.Attr, in ...*onnx.Tensor) func(*onnx.Graph) {
	return func(g *onnx.Graph) { join(g, emit(g, op, attrs, constants(g, in)...)) }
}

func products(n int) func(*onnx.Graph) {
	return func(g *onnx.Graph) {
		shape := constants(g, []*onnx.Tensor{onnx.Int64Tensor([]int64{512, 1024}, 2)})[0]
		x := emit(g, "ConstantOfShape", nil, shape)
		for range n {
			x = emit(g, "MatMul", nil, x, emit(g, "Transpose", nil, x))
		}
		join(g, x)
	}
}

func fillings(n int) func(*onnx.Graph) {
	return func(g *onnx.Graph) {
		shape := constants(g, []*onnx.Tensor{onnx.Int64Tensor([]int64{512, 1024}, 2)})[0]
		var all []*onnx.Value
		for i := range n {
			all = append(all, emit(g, "ConstantOfShape", []onnx.Attr{{Name: "value", Value: onnx.FloatTensor([]float32{float32(i)}, 1)}}, shape))
		}
		join(g, emit(g, "Concat", []onnx.Attr{{Name: "axis", Value: int64(0)}}, all...))
	}
}

func chain(op string, n int) func(*onnx.Graph) {
	return func(g *onnx.Graph) {
		x := g.Inputs[0]
		for range n {
			in := []*onnx.Value{x, x}
			if op != "Add" {
				in = in[:1]
			}
			x = emit(g, op, nil, in...)
		}
		join(g, x)
	}
}

func concat(n int) func(*onnx.Graph) {
	return func(g *onnx.Graph) {
		join(g, emit(g, "Concat", []onnx.Attr{{Name: "axis", Value: int64(0)}}, slices.Repeat(constants(g, []*onnx.Tensor{onnx.FloatTensor([]float32{1}, 1)}), n)...))
	}
}

func einsum(g *onnx.Graph) {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	shape := constants(g, []*onnx.Tensor{onnx.Int64Tensor(slices.Repeat([]int64{2}, 20), 20)})[0]
	x := emit(g, "ConstantOfShape", nil, shape)
	join(g, emit(g, "Einsum", []onnx.Attr{{Name: "equation", Value: letters[:20] + "," + letters[6:] + "->a"}}, x, x))
}

// loop runs 2^62 times.
func loop(g *onnx.Graph) {
	in := constants(g, []*onnx.Tensor{onnx.Int64Tensor([]int64{1 << 62}), onnx.BoolTensor([]bool{true}), onnx.FloatTensor([]float32{1}, 1)})
	info := func(num protowire.Number, name string, kind int64) string {
		return field(num, field(1, name), field(2, field(1, number(1, kind), field(2))))
	}
	body := field(2, "body") + info(11, "i", 7) + info(11, "go", 9) + info(11, "a", 1) +
		node("Identity", "go", "went") + node("Neg", "a", "b") + info(12, "went", 9) + info(12, "b", 1)
	attr := field(1, "body") + number(20, 5) + field(6, body)
	join(g, emit(g, "Loop", []onnx.Attr{{Name: "body", Value: onnx.Opaque(attr)}}, in...))
}

// hostileFunctions are files whose functions unfold without measure.
func hostileFunctions() map[string]string {
	function := func(name string, nodes ...string) string {
		var s string
		for _, n := range nodes {
			s += strings.Replace(n, n[:1], string(rune(7<<3|2)), 1) // a function's nodes are field 7
		}
		return field(25, field(1, name), field(10, "d"), field(4, "x"), field(5, "y"), s, field(9, field(1, "d"), number(2, 1)), field(9, number(2, 17)))
	}
	call := func(name, in, out string) string { return node(name, in, out, field(7, "d")) }
	opsets := field(8, field(1, "d"), number(2, 1)) + field(8, number(2, 17))
	doubling := ""
	for i := range 60 {
		doubling += function(fmt.Sprint("f", i), call(fmt.Sprint("f", i+1), "x", "a"), call(fmt.Sprint("f", i+1), "a", "y"))
	}
	graph := input("x", 1) + output("y")
	return map[string]string{
		"a function of itself":     modelIn(opsets, graph, call("f", "x", "y")) + function("f", call("f", "x", "y")),
		"two functions in turn":    modelIn(opsets, graph, call("f", "x", "y")) + function("f", call("g", "x", "y")) + function("g", call("f", "x", "y")),
		"2^60 calls of a function": modelIn(opsets, graph, call("f0", "x", "y")) + doubling + function("f60", node("Neg", "x", "y")),
	}
}

func graphFile(change func(*onnx.Graph)) func(string) error {
	return func(dir string) error {
		m, _, err := onnx.ReadModel(filepath.Join(dir, "model.onnx"))
		if err != nil {
			return err
		}
		change(m.Graph)
		return onnx.WriteModel(filepath.Join(dir, "bad.onnx"), m, onnx.WriteOptions{})
	}
}
