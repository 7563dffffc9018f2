package graphtest

import (
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

func reductions(makers table) {
	reduce := func(d *drawing, op string) {
		x := d.numbers()
		switch op {
		case "ReduceL2", "ReduceLogSum", "ReduceLogSumExp":
			x = d.floats(0, 5)
		}
		if op == "ReduceLogSum" {
			x = d.positive(d.dims(x))
		}
		attrs := d.maybe("keepdims", d.IntN(2))
		if axes := d.axes(d.rank(x)); len(axes) > 0 {
			d.op(op, attrs, x, d.ints(axes...))
			return
		}
		d.op(op, append(attrs, d.maybe("noop_with_empty_axes", 0)...), x)
	}
	makers.each(reduce, "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
		"ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
	makers.each(func(d *drawing, op string) {
		x := d.numbers()
		if d.rank(x) == 0 || count(d.dims(x)) == 0 {
			return
		}
		attrs := append(d.maybe("keepdims", d.IntN(2)), d.maybe("select_last_index", 1)...)
		d.op(op, append(attrs, at("axis", d.axis(d.rank(x)))), x)
	}, "ArgMax", "ArgMin")
	makers[":CumSum"] = func(d *drawing) {
		x := d.numbers()
		if d.rank(x) == 0 {
			return
		}
		axis := d.constant(d.scalarInt(int(d.axis(d.rank(x)))))
		d.op("CumSum", append(d.maybe("exclusive", 1), d.maybe("reverse", 1)...), x, axis)
	}
	makers[":TopK"] = func(d *drawing) {
		x := d.numbers()
		if d.rank(x) == 0 {
			return
		}
		axis := d.axis(d.rank(x))
		n := d.dims(x)[(axis+int64(d.rank(x)))%int64(d.rank(x))]
		if n == 0 {
			return
		}
		d.emit("TopK", 2, append(d.maybe("largest", 0), at("axis", axis)), x, d.ints(int64(d.Between(1, n))))
	}
	makers.each(func(d *drawing, op string) {
		x := d.floats(1, 5)
		d.op(op, d.maybe("axis", d.axis(d.rank(x))), x)
	}, "Softmax", "LogSoftmax")
}

func normalizations(makers table) {
	makers[":LayerNormalization"] = func(d *drawing) {
		x := d.filled(1, 4)
		axis := d.axis(d.rank(x))
		s := d.dims(x)[(axis+int64(d.rank(x)))%int64(d.rank(x)):]
		in := []*onnx.Value{x, d.leaf(s)}
		if d.One(2) {
			in = append(in, d.leaf(s))
		}
		d.emit("LayerNormalization", Pick(d.Choices, 1, 3), append(d.maybe("epsilon", float32(1e-3)), at("axis", axis)), in...)
	}
	makers[":RMSNormalization"] = func(d *drawing) {
		x := d.filled(1, 4)
		axis := d.axis(d.rank(x))
		s := d.dims(x)[(axis+int64(d.rank(x)))%int64(d.rank(x)):]
		d.opset = 23
		d.op("RMSNormalization", append(d.maybe("epsilon", float32(1e-3)), at("axis", axis)), x, d.leaf(s))
	}
	makers[":InstanceNormalization"] = func(d *drawing) {
		x := d.floats(3, 5)
		if count(d.dims(x)[2:]) == 1 { // its own mean: ONNX Runtime adds and subtracts multiples of it
			return
		}
		c := []int{d.dims(x)[1]}
		d.op("InstanceNormalization", []onnx.Attr{at("epsilon", float32(1e-2))}, x, d.leaf(c), d.leaf(c))
	}
	makers[":GroupNormalization"] = func(d *drawing) {
		x := d.floats(3, 5)
		c := d.dims(x)[1]
		groups := 1
		for _, k := range []int{2, 3, c} {
			if c%k == 0 && d.One(2) {
				groups = k
			}
		}
		if c/groups*count(d.dims(x)[2:]) == 1 {
			return
		}
		d.op("GroupNormalization", []onnx.Attr{at("num_groups", groups), at("epsilon", float32(1e-2))}, x, d.leaf([]int{c}), d.leaf([]int{c}))
	}
	makers[":BatchNormalization"] = func(d *drawing) {
		x := d.floats(2, 5)
		c := []int{d.dims(x)[1]}
		d.op("BatchNormalization", d.maybe("epsilon", float32(1e-3)), x, d.leaf(c), d.leaf(c), d.statistics(false, c), d.statistics(true, c))
	}
}

// statistics are constants, which no gradient goes to.
func (d *drawing) statistics(positive bool, shape []int) *onnx.Value {
	x := &ref.Array{Type: d.float, Shape: shape}
	for range count(shape) {
		v := d.rng.NormFloat64()
		if positive {
			v = 0.5 + v*v
		}
		x.F = append(x.F, float64(float32(v)))
	}
	return d.constant(x)
}
