package passes

import (
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// risky operators lose too much in float16, or overflow in it, or don't exist
// in it.
var risky = setOf("AveragePool", "BatchNormalization", "Bernoulli", "CumSum", "EyeLike", "Erf", "Exp", "GlobalAveragePool",
	"GlobalLpPool", "GridSample", "GroupNormalization", "InstanceNormalization", "IsInf", "LRN", "LayerNormalization", "Log",
	"LogSoftmax", "LpNormalization", "LpPool", "Mean", "MeanVarianceNormalization", "Multinomial", "NegativeLogLikelihoodLoss",
	"Pow", "RMSNormalization", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range", "Reciprocal",
	"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare",
	"Resize", "RoiAlign", "Sin", "Cos", "Softmax", "SoftmaxCrossEntropyLoss", "Softplus", "Sqrt", "Tan", "Tanh", "Upsample")

// elementwise operators join float32 neighbours where that costs no Cast.
var elementwise = setOf("Abs", "Add", "Clip", "Div", "Equal", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity",
	"LeakyRelu", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "PRelu", "Relu", "Sigmoid", "Sign", "Sub", "Sum", "Where")

// movers only move elements; they join where that saves a Cast.
var movers = setOf("Cast", "Concat", "Expand", "Flatten", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze")

// typeless operators take any type and don't pass it on.
var typeless = setOf("Cast", "IsNaN", "NonZero", "Shape", "Size")

func setOf(ops ...string) map[string]bool {
	set := map[string]bool{}
	for _, op := range ops {
		set[op] = true
	}
	return set
}

// cast is a value in another type.
type cast struct {
	v  *onnx.Value
	to onnx.DType
}

// halving is a graph on its way to float16.
type halving struct {
	g       *onnx.Graph
	keepEnd func(*onnx.Value) bool       // whether an input or output stays float32
	safe    map[*onnx.Node]bool          // computes in float32
	kept    map[*onnx.Node]bool          // because it was asked for
	readers map[*onnx.Value][]*onnx.Node // with repetitions
	result  map[*onnx.Value]bool         // is an output of the graph
	was     map[*onnx.Value]bool         // was float32 at first
	casts   map[cast]*onnx.Value         // made so far
	report  Halved
}

// survey notes who reads what, and which nodes stay in float32 by themselves.
func (h *halving) survey(keep func(*onnx.Node) bool) {
	h.g.Each(func(v *onnx.Value) { h.was[v] = v.Type == onnx.Float })
	for _, v := range h.g.Outputs {
		h.result[v] = true
	}
	for _, n := range h.g.Nodes {
		for _, v := range n.Inputs {
			if v != nil {
				h.readers[v] = append(h.readers[v], n)
			}
		}
		h.kept[n] = keep != nil && keep(n)
		h.safe[n] = n.Domain != "" || risky[n.Op] || h.kept[n]
	}
}

// native is the type in which a value is computed or comes in; constants have
// none of their own.
func (h *halving) native(v *onnx.Value) onnx.DType {
	if v.Node == nil && h.keepEnd(v) || v.Node != nil && h.safe[v.Node] {
		return onnx.Float
	}
	return onnx.Float16
}

// wanted is the type in which a node wants a value that was float32; Undefined
// where any will do.
func (h *halving) wanted(n *onnx.Node) onnx.DType {
	switch {
	case typeless[n.Op] && n.Domain == "":
		return onnx.Undefined
	case h.safe[n]:
		return onnx.Float
	}
	return onnx.Float16
}

// wantedOutside is the type of an output of the graph.
func (h *halving) wantedOutside(v *onnx.Value) onnx.DType {
	if h.keepEnd(v) || h.kept[v.Node] {
		return onnx.Float
	}
	return onnx.Float16
}

// cost is the number of Casts that a value takes.
func (h *halving) cost(v *onnx.Value) int {
	if v == nil || !h.was[v] || constantOf(v) != nil {
		return 0
	}
	own := h.native(v)
	if h.result[v] && own != h.wantedOutside(v) {
		return 1
	}
	for _, n := range h.readers[v] {
		if w := h.wanted(n); w != onnx.Undefined && w != own {
			return 1
		}
	}
	return 0
}

// around is the cost of all values that a node reads and gives.
func (h *halving) around(n *onnx.Node) int {
	total := 0
	for i, v := range n.Inputs {
		if !slices.Contains(n.Inputs[:i], v) {
			total += h.cost(v)
		}
	}
	for _, v := range n.Outputs {
		total += h.cost(v)
	}
	return total
}

// grow takes nodes between and beside those in float32 along, until none is
// left whose joining costs nothing.
func (h *halving) grow() {
	for grown := true; grown; {
		grown = false
		for _, n := range h.g.Nodes {
			if !h.safe[n] && (elementwise[n.Op] || movers[n.Op]) && h.joins(n) {
				h.safe[n], grown = true, true
			}
		}
	}
}

func (h *halving) joins(n *onnx.Node) bool {
	if !slices.ContainsFunc(n.Outputs, func(v *onnx.Value) bool { return h.was[v] }) &&
		!slices.ContainsFunc(n.Inputs, func(v *onnx.Value) bool { return h.was[v] }) {
		return false
	}
	before := h.around(n)
	h.safe[n] = true
	after := h.around(n)
	h.safe[n] = false
	if after != before || !elementwise[n.Op] || slices.ContainsFunc(n.Inputs, weighs) {
		return after < before
	}
	for _, v := range n.Inputs {
		if v != nil && h.was[v] && v.Node != nil && h.safe[v.Node] {
			return true
		}
	}
	inside := 0
	for _, v := range n.Outputs {
		for _, r := range h.readers[v] {
			if h.wanted(r) == onnx.Float16 {
				return false
			}
			inside++
		}
	}
	return inside > 0 && !slices.ContainsFunc(n.Outputs, func(v *onnx.Value) bool { return h.result[v] })
}

// weighs reports whether v is a weight. Nodes that apply one, as a norm's
// scale, don't join: ONNX Runtime, which looks for norms that were taken apart,
// expects scale and bias in the type of the norm's input.
func weighs(v *onnx.Value) bool {
	t := constantOf(v)
	if t == nil || !several(t) {
		return false
	}
	x, err := t.Float64s()
	return err == nil && !slices.ContainsFunc(x, func(f float64) bool { return !(math.Abs(f) < maskedFrom) })
}

// convert gives every value its type, and puts Casts where a reader wants
// another.
func (h *halving) convert() error {
	if err := h.constants(); err != nil {
		return err
	}
	nodes := h.g.Nodes
	for v := range h.was {
		if h.was[v] && constantOf(v) == nil {
			v.Type = h.native(v)
		}
	}
	h.g.Nodes = make([]*onnx.Node, 0, len(nodes))
	for _, n := range nodes {
		want := h.wanted(n)
		for i, v := range n.Inputs {
			if v != nil && h.was[v] && want != onnx.Undefined && !(n.Op == "CastLike" && i == 0) {
				n.Inputs[i] = h.as(v, want)
			}
		}
		if err := h.attributes(n); err != nil {
			return err
		}
		h.g.Nodes = append(h.g.Nodes, n)
	}
	for i, v := range h.g.Outputs {
		if to := h.wantedOutside(v); h.was[v] && v.Type != to {
			name := v.Name
			h.g.Rename(v, name+"/"+v.Type.String())
			h.g.Outputs[i] = h.emit(v, to, h.g.Fresh(name))
			h.g.Outputs[i].Node.Name = name + "/cast"
		}
	}
	return nil
}

// attributes changes the type that a node's attributes give its output.
func (h *halving) attributes(n *onnx.Node) error {
	if n.Domain != "" || h.safe[n] || n.Out(0) == nil || !h.was[n.Outputs[0]] {
		return nil
	}
	switch n.Op {
	case "Cast":
		n.SetAttr("to", int64(onnx.Float16))
	case "ConstantOfShape":
		t, _ := n.Attr("value").(*onnx.Tensor)
		if t == nil {
			t = onnx.FloatTensor([]float32{0}, 1)
		}
		half, err := h.report.inHalf(n.Label(), t, false)
		if err != nil {
			return err
		}
		n.SetAttr("value", half)
	}
	return nil
}

// as is a value in a type: itself, or by a Cast before the present node.
func (h *halving) as(v *onnx.Value, to onnx.DType) *onnx.Value {
	if v.Type == to {
		return v
	}
	key := cast{v, to}
	if h.casts[key] == nil {
		h.casts[key] = h.emit(v, to, h.g.Fresh(v.Name+"/"+to.String()))
	}
	return h.casts[key]
}

func (h *halving) emit(v *onnx.Value, to onnx.DType, name string) *onnx.Value {
	n := &onnx.Node{Name: name, Op: "Cast", Attrs: []onnx.Attr{{Name: "to", Value: int64(to)}}, Inputs: []*onnx.Value{v}}
	out := &onnx.Value{Name: name, Type: to, Shape: v.Shape.Clone(), Node: n}
	n.Outputs = []*onnx.Value{out}
	h.g.Nodes = append(h.g.Nodes, n)
	return out
}

// constants makes those float16 that a node in float16 reads. A small one that
// others read in float32 gets a second value, a parameter a Cast.
func (h *halving) constants() error {
	nodes := h.g.Nodes
	h.g.Nodes = make([]*onnx.Node, 0, len(nodes))
	for _, v := range slices.Clone(h.g.Inits) {
		if err := h.constant(v); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		h.g.Nodes = append(h.g.Nodes, n)
		if n.Op == "Constant" && n.Domain == "" && n.Out(0) != nil {
			if err := h.constant(n.Outputs[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *halving) constant(v *onnx.Value) error {
	t := constantOf(v)
	if !h.was[v] || t == nil {
		return nil
	}
	wants := map[onnx.DType]bool{h.wantedOutside(v): h.result[v]}
	for _, n := range h.readers[v] {
		wants[h.wanted(n)] = true
	}
	if !wants[onnx.Float16] {
		return nil
	}
	narrow, err := h.report.inHalf(v.Name, t, several(t))
	if err != nil {
		return err
	}
	if several(t) {
		h.report.Parameters++
	}
	if wants[onnx.Float] && !several(t) {
		h.casts[cast{v, onnx.Float16}] = h.twin(v, narrow)
		return nil
	}
	v.Type = onnx.Float16
	if v.Node == nil {
		v.Data = narrow
	} else {
		v.Node.Attrs = []onnx.Attr{{Name: "value", Value: narrow}}
	}
	return nil
}

// twin is a constant beside v, of the same kind.
func (h *halving) twin(v *onnx.Value, t *onnx.Tensor) *onnx.Value {
	if v.Node == nil {
		return h.g.AddInit(v.Name+"/"+t.Type.String(), t)
	}
	name := h.g.Fresh(v.Name + "/" + t.Type.String())
	n := &onnx.Node{Name: name, Op: "Constant", Attrs: []onnx.Attr{{Name: "value", Value: t}}}
	out := &onnx.Value{Name: name, Type: t.Type, Shape: t.Shape(), Node: n}
	n.Outputs = []*onnx.Value{out}
	h.g.Nodes = append(h.g.Nodes, n)
	return out
}
