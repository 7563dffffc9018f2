package passes

import (
	"reflect"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// newAttrs are attributes that came after the operators that have them, with
// the value that means what the operator did before.
var newAttrs = []struct {
	ops   []string
	name  string
	since int64
	def   any
}{
	{[]string{"ArgMax", "ArgMin"}, "select_last_index", 12, int64(0)},
	{[]string{"AveragePool"}, "dilations", 19, []int64{1, 1}},
	{[]string{"BatchNormalization"}, "training_mode", 14, int64(0)},
	{[]string{"Cast", "CastLike"}, "saturate", 19, int64(1)},
	{[]string{"GatherND"}, "batch_dims", 12, int64(0)},
	{[]string{"GRU", "LSTM", "RNN"}, "layout", 14, int64(0)},
	{[]string{"Reshape"}, "allowzero", 14, int64(0)},
	{[]string{"Resize"}, "antialias", 18, int64(0)},
	{[]string{"Resize"}, "axes", 18, nil},
	{[]string{"Resize"}, "keep_aspect_ratio_policy", 18, "stretch"},
	{[]string{"ScatterElements", "ScatterND"}, "reduction", 16, "none"},
}

// newValues are values of attributes that came after the attributes.
var newValues = []struct {
	op, attr, value string
	since           int64
}{
	{"Pad", "mode", "wrap", 19},
	{"Resize", "coordinate_transformation_mode", "half_pixel_symmetric", 19},
	{"ScatterElements", "reduction", "max", 18},
	{"ScatterElements", "reduction", "min", 18},
	{"ScatterND", "reduction", "max", 18},
	{"ScatterND", "reduction", "min", 18},
}

// newTypes are element types that operators took up late.
var newTypes = []struct {
	ops   []string
	is    func(onnx.DType) bool
	what  string
	since int64
}{
	{[]string{"Clip"}, integral, "of integers", 12},
	{[]string{"ReduceMax", "ReduceMin"}, func(t onnx.DType) bool { return t == onnx.Bool }, "of truth values", 20},
	{[]string{"CumSum"}, half, "of 16-bit numbers", 14},
	{[]string{"Where", "LessOrEqual", "GreaterOrEqual"}, func(t onnx.DType) bool { return t == onnx.BFloat16 }, "of bfloat16", 16},
}

func integral(t onnx.DType) bool {
	return slices.Contains([]onnx.DType{onnx.Int8, onnx.Int16, onnx.Int32, onnx.Int64, onnx.Uint8, onnx.Uint16, onnx.Uint32, onnx.Uint64}, t)
}

func half(t onnx.DType) bool { return t == onnx.Float16 || t == onnx.BFloat16 }

// spell writes a node's attributes and inputs as the opset wants them.
func (l *lowering) spell(g *onnx.Graph, n *onnx.Node) error {
	for _, v := range n.Outputs {
		if v != nil && v.Type == onnx.BFloat16 && l.opset < 13 {
			return l.needs(n, 13, "bfloat16")
		}
	}
	if n.Domain != "" {
		return nil
	}
	if err := l.late(n); err != nil {
		return err
	}
	switch n.Op {
	case "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare":
		return l.inputToAttr(n, 18, 1, "axes")
	case "ReduceSum", "Squeeze", "Unsqueeze":
		return l.inputToAttr(n, 13, 1, "axes")
	case "Split":
		return l.split(g, n)
	case "Dropout":
		return l.dropout(n)
	case "Resize":
		if l.opset < 13 {
			for i := 1; i <= 2; i++ {
				if n.In(i) == nil {
					setInput(n, i, g.AddInit(n.Label()+"/none", onnx.FloatTensor(nil, 0)))
				}
			}
		}
	case "GridSample":
		modes := map[string]string{"linear": "bilinear", "cubic": "bicubic"}
		if old := modes[n.Str("mode", "linear")]; old != "" && l.opset < 20 {
			n.SetAttr("mode", old)
		}
	case "Constant":
		if t := onnx.ConstantTensor(n); t != nil && l.opset < 12 {
			n.Attrs = []onnx.Attr{{Name: "value", Value: t}}
		}
	case "RoiAlign":
		if l.opset < 16 && n.Str("coordinate_transformation_mode", "half_pixel") != "output_half_pixel" {
			return l.needs(n, 16, "its coordinate_transformation_mode")
		}
		n.DropAttr("coordinate_transformation_mode")
	}
	return nil
}

// late drops attributes that the opset lacks where they say nothing new, and
// refuses them, late values and late types elsewhere.
func (l *lowering) late(n *onnx.Node) error {
	for _, a := range newAttrs {
		value := n.Attr(a.name)
		if !slices.Contains(a.ops, n.Op) || l.opset >= a.since || value == nil {
			continue
		}
		if a.name != "saturate" && !reflect.DeepEqual(value, a.def) && !harmless(n, a.name) {
			return l.needs(n, a.since, "attribute "+a.name)
		}
		n.DropAttr(a.name)
	}
	for _, v := range newValues {
		if n.Op == v.op && l.opset < v.since && n.Str(v.attr, "") == v.value {
			return l.needs(n, v.since, v.attr+" "+v.value)
		}
	}
	for _, t := range newTypes {
		if slices.Contains(t.ops, n.Op) && l.opset < t.since && n.In(0) != nil && t.is(n.Inputs[0].Type) {
			return l.needs(n, t.since, n.Op+" "+t.what)
		}
	}
	return nil
}

// harmless reports whether a new attribute changes nothing although it is set.
func harmless(n *onnx.Node, attr string) bool {
	if n.Op == "Reshape" && attr == "allowzero" {
		target, ok := constInts(n.In(1))
		return ok && !slices.Contains(target, 0)
	}
	return false
}

// inputToAttr makes input i the attribute that it was below opset since.
func (l *lowering) inputToAttr(n *onnx.Node, since int64, i int, name string) error {
	if l.opset >= since {
		return nil
	}
	n.DropAttr("noop_with_empty_axes")
	if n.In(i) == nil {
		return nil
	}
	values, ok := constInts(n.In(i))
	if !ok {
		return l.needs(n, since, name+" that are computed")
	}
	if len(values) > 0 {
		n.SetAttr(name, values)
	}
	n.Inputs = slices.Clone(n.Inputs[:i])
	return nil
}

// split: opset 18 gave equal parts a number, and lets the last be smaller.
func (l *lowering) split(g *onnx.Graph, n *onnx.Node) error {
	if l.opset >= 18 {
		return nil
	}
	n.DropAttr("num_outputs")
	x, parts := n.Inputs[0], int64(len(n.Outputs))
	axis, rank := n.Int("axis", 0), int64(len(x.Shape))
	if n.In(1) == nil && axis >= -rank && axis < rank {
		size := x.Shape[(axis+rank)%rank]
		if size.Known() && size.N%parts != 0 {
			each := (size.N + parts - 1) / parts
			sizes := slices.Repeat([]int64{each}, int(parts))
			sizes[parts-1] = size.N - each*(parts-1)
			setInput(n, 1, g.AddInit(n.Label()+"/split", onnx.Int64Tensor(sizes, parts)))
		}
	}
	return l.inputToAttr(n, 13, 1, "split")
}

// dropout: the ratio doesn't matter outside of training, and training was no
// input before opset 12.
func (l *lowering) dropout(n *onnx.Node) error {
	if l.opset >= 12 {
		return nil
	}
	if t := constantOf(n.In(2)); n.In(2) != nil {
		training, err := []int64{1}, error(nil)
		if t != nil {
			training, err = t.Int64s()
		}
		if err != nil || len(training) != 1 || training[0] != 0 {
			return l.needs(n, 12, "Dropout in training")
		}
	}
	n.DropAttr("seed")
	n.Inputs = slices.Clone(n.Inputs[:1])
	return nil
}
