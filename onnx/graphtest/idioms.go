package graphtest

import "github.com/relevit/relevit/onnx"

// idiom draws several nodes that exporters write together and passes look for.
func (d *drawing) idiom() {
	switch d.IntN(8) {
	case 0: // a layer
		x := d.floats(2, 4)
		s := d.dims(x)
		w := d.leaf([]int{s[len(s)-1], d.Between(1, 4)})
		if d.One(2) {
			w = d.op("Transpose", []onnx.Attr{at("perm", []int64{1, 0})}, d.leaf([]int{d.Between(1, 4), s[len(s)-1]}))
		}
		if len(d.dims(w)) == 2 { // there may be no transposed one, of no elements
			d.op("Add", nil, d.op("MatMul", nil, x, w), d.leaf([]int{d.dims(w)[1]}))
		}
	case 1: // LayerNormalization
		x := d.floats(2, 4)
		if x.Node != nil && (x.Node.Op == "Cast" || x.Node.Op == "CastLike") { // ONNX Runtime fuses a Cast of integers too, and then refuses its own graph
			x = d.op("Neg", nil, x)
		}
		s := d.dims(x)
		last := []onnx.Attr{at("keepdims", 1)}
		centred := d.op("Sub", nil, x, d.op("ReduceMean", last, x, d.ints(-1)))
		variance := d.op("ReduceMean", last, d.op("Pow", nil, centred, d.number(2)), d.ints(-1))
		y := d.op("Div", nil, centred, d.op("Sqrt", nil, d.op("Add", nil, variance, d.number(0.01))))
		c := []int{s[len(s)-1]}
		d.op("Add", nil, d.op("Mul", nil, y, d.leaf(c)), d.leaf(c))
	case 2: // Gelu
		x := d.floats(1, 4)
		y := d.op("Add", nil, d.op("Erf", nil, d.op("Div", nil, x, d.number(1.4142135))), d.number(1))
		d.op("Mul", nil, d.op("Mul", nil, x, y), d.number(0.5))
	case 3: // a reshape to sizes that are computed
		x := d.floats(2, 4)
		first := d.op("Gather", []onnx.Attr{at("axis", 0)}, d.op("Shape", nil, x), d.ints(0))
		y := d.op("Reshape", nil, x, d.op("Concat", []onnx.Attr{at("axis", 0)}, first, d.ints(-1)))
		if d.One(2) {
			d.op("Reshape", nil, y, d.op("Shape", nil, x))
		}
	case 4: // patches
		p := d.Between(1, 2)
		x := d.leaf([]int{int(d.batch), d.Between(1, 2), 2 * p, 2 * p})
		c := d.Between(1, 3)
		in := []*onnx.Value{x, d.leaf([]int{c, d.dims(x)[1], p, p})}
		if d.One(2) {
			in = append(in, d.leaf([]int{c}))
		}
		y := d.op("Conv", []onnx.Attr{at("strides", []int64{int64(p), int64(p)})}, in...)
		y = d.op("Reshape", nil, y, d.ints(0, int64(c), -1))
		d.op("Transpose", []onnx.Attr{at("perm", []int64{0, 2, 1})}, y)
	case 5: // one row, after row-by-row work
		x := d.floats(3, 3)
		y := d.op(Pick(d.Choices, "Tanh", "Relu", "Gelu"), nil, x)
		y = d.op("MatMul", nil, y, d.leaf([]int{d.dims(x)[2], 2}))
		d.op("Gather", []onnx.Attr{at("axis", 1)}, y, d.constant(d.scalarInt(d.IntN(d.dims(x)[1]))))
	case 6: // attention
		b, h, n, k := int(d.batch), d.Between(1, 2), d.Between(2, 3), d.Between(1, 2)
		x := d.leaf([]int{b, n, h * k})
		heads := func(perm ...int64) *onnx.Value {
			y := d.op("MatMul", nil, x, d.leaf([]int{h * k, h * k}))
			y = d.op("Reshape", nil, y, d.ints(0, int64(n), int64(h), int64(k)))
			return d.op("Transpose", []onnx.Attr{at("perm", perm)}, y)
		}
		scores := d.op("MatMul", nil, heads(0, 2, 1, 3), heads(0, 2, 3, 1))
		a := d.op("Softmax", []onnx.Attr{at("axis", -1)}, d.op("Mul", nil, scores, d.number(0.5)))
		y := d.op("Transpose", []onnx.Attr{at("perm", []int64{0, 2, 1, 3})}, d.op("MatMul", nil, a, heads(0, 2, 1, 3)))
		d.op("Reshape", nil, y, d.ints(0, 0, -1))
	default: // a gradient of a mean
		x := d.floats(1, 4)
		y := d.op("Mul", nil, x, d.op("Expand", nil, d.number(0.5), d.op("Shape", nil, x)))
		d.op("ReduceSum", []onnx.Attr{at("keepdims", 0)}, y)
	}
}
