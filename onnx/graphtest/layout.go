package graphtest

import (
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// split writes a number of elements as a product of sizes.
func (d *drawing) split(n int) []int64 {
	out := []int64{}
	for _, k := range []int{2, 3, 2, 5} {
		if n%k == 0 && d.One(2) {
			out, n = append(out, int64(k)), n/k
		}
	}
	return slices.Insert(out, d.IntN(len(out)+1), int64(n))
}

func layout(makers table) {
	makers[":Reshape"] = func(d *drawing) {
		x := d.anything()
		if count(d.dims(x)) == 0 {
			return
		}
		to := d.split(count(d.dims(x)))
		if d.One(2) {
			to[d.IntN(len(to))] = -1
		}
		for i := range to {
			if i < d.rank(x) && to[i] == int64(d.dims(x)[i]) && d.One(2) {
				to[i] = 0 // as it was
			}
		}
		d.op("Reshape", nil, x, d.ints(to...))
	}
	makers[":Transpose"] = func(d *drawing) {
		x := d.anything()
		var attrs []onnx.Attr
		if d.rank(x) > 0 && !d.One(3) {
			attrs = []onnx.Attr{at("perm", d.Perm(d.rank(x)))}
		}
		d.op("Transpose", attrs, x)
	}
	makers[":Flatten"] = func(d *drawing) {
		x := d.floats(1, 5)
		d.op("Flatten", d.maybe("axis", int64(d.Between(-d.rank(x), d.rank(x)))), x)
	}
	makers[":Squeeze"] = func(d *drawing) {
		x := d.anything()
		var axes []int64
		for i, n := range d.dims(x) {
			if n == 1 && d.One(2) {
				axes = append(axes, int64(i-d.rank(x)*d.IntN(2)))
			}
		}
		if len(axes) > 0 {
			d.op("Squeeze", nil, x, d.ints(axes...))
		} else if !d.dynamic {
			d.op("Squeeze", nil, x)
		}
	}
	makers[":Unsqueeze"] = func(d *drawing) {
		x := d.anything()
		k := d.Between(1, 2)
		axes := d.Perm(d.rank(x) + k)[:k]
		for i := range axes {
			axes[i] -= int64((d.rank(x) + k) * d.IntN(2))
		}
		d.op("Unsqueeze", nil, x, d.ints(axes...))
	}
	makers[":Concat"] = func(d *drawing) {
		x := d.anything()
		if d.rank(x) == 0 {
			return
		}
		axis := d.axis(d.rank(x))
		i := int(axis+int64(d.rank(x))) % d.rank(x)
		in := []*onnx.Value{x}
		for range d.Between(1, 2) {
			s := slices.Clone(d.dims(x))
			s[i] = d.Between(1, 3)
			in = append(in, d.likeIn(x, s))
		}
		if d.One(3) {
			in = append(in, x)
		}
		d.op("Concat", []onnx.Attr{at("axis", axis)}, in...)
	}
	makers[":Split"] = func(d *drawing) {
		x := d.anything()
		if d.rank(x) == 0 {
			return
		}
		axis := d.axis(d.rank(x))
		n := d.dims(x)[int(axis+int64(d.rank(x)))%d.rank(x)]
		if n >= 2 && d.One(2) {
			k := d.Between(2, min(3, n))
			if per := (n + k - 1) / k; (k-1)*per < n {
				d.emit("Split", k, []onnx.Attr{at("axis", axis), at("num_outputs", k)}, x)
			}
			return
		}
		a := d.IntN(n + 1)
		if a == 0 || a == n {
			d.emit("Split", 1, []onnx.Attr{at("axis", axis)}, x, d.ints(int64(n)))
			return
		}
		d.emit("Split", 2, []onnx.Attr{at("axis", axis)}, x, d.ints(int64(a), int64(n-a)))
	}
	makers[":Slice"] = func(d *drawing) {
		x := d.anything()
		r := d.rank(x)
		axes := d.axes(r)
		if len(axes) == 0 {
			return
		}
		var starts, ends, steps []int64
		for _, a := range axes {
			n := d.dims(x)[int(a+int64(r))%r]
			first := d.IntN(n)
			last := first + d.IntN(n-first)
			step := int64(Pick(d.Choices, 1, 1, 2, 3))
			start, end := int64(first), int64(last+1)
			if last == n-1 && d.One(2) {
				end = Pick(d.Choices, math.MaxInt64, int64(n+3), math.MaxInt32)
			} else if end < int64(n) && d.One(2) {
				end -= int64(n)
			}
			if d.One(4) { // backwards
				step, start, end = -step, int64(last), int64(first-1)
				if first == 0 {
					end = Pick(d.Choices, math.MinInt64, int64(-n-1))
				}
			}
			if start > 0 && d.One(3) {
				start -= int64(n)
			}
			starts, ends, steps = append(starts, start), append(ends, end), append(steps, step)
		}
		in := []*onnx.Value{x, d.ints(starts...), d.ints(ends...), d.ints(axes...), d.ints(steps...)}
		if !slices.ContainsFunc(steps, func(s int64) bool { return s != 1 }) && d.One(2) {
			in = in[:4]
		}
		d.op("Slice", nil, in...)
	}
	makers[":Expand"] = func(d *drawing) {
		x := d.anything()
		to := d.against(d.dims(x))
		if d.One(2) { // the sizes that come out, and not only ones that give them
			if s, ok := broadcast(d.dims(x), to); ok {
				to = s
			}
		}
		d.op("Expand", nil, x, d.ints(list(to)...))
	}
	makers[":Tile"] = func(d *drawing) {
		x := d.numbers()
		if d.rank(x) == 0 {
			return
		}
		var times []int64
		for range d.dims(x) {
			times = append(times, int64(Pick(d.Choices, 1, 2, 3, 1)))
		}
		d.op("Tile", nil, x, d.ints(times...))
	}
	makers[":Pad"] = func(d *drawing) {
		x := d.floats(1, 4)
		mode := Pick(d.Choices, "constant", "reflect", "edge", "wrap")
		r := d.rank(x)
		pads := make([]int64, 2*r)
		for i := range pads {
			n := d.dims(x)[i%r]
			most := 2
			if mode == "reflect" {
				most = min(2, n-1)
			} else if mode == "wrap" {
				most = min(2, n)
			}
			pads[i] = int64(d.Between(0, most))
			if mode == "constant" && i >= r && n > 2 && d.One(4) {
				pads[i] = -1
			}
		}
		in := []*onnx.Value{x, d.ints(pads...)}
		if mode == "constant" && d.One(2) {
			in = append(in, d.number(1.5))
		}
		d.op("Pad", []onnx.Attr{at("mode", mode)}, in...)
	}
	makers[":Trilu"] = func(d *drawing) {
		x := d.floats(2, 4)
		in := []*onnx.Value{x}
		if d.One(2) {
			in = append(in, d.constant(d.scalarInt(d.Between(-2, 2))))
		}
		d.op("Trilu", d.maybe("upper", 0), in...)
	}
	makers[":Shape"] = func(d *drawing) {
		x := d.anything()
		r := d.rank(x)
		d.op("Shape", append(d.maybe("start", int64(d.Between(-r, r))), d.maybe("end", int64(d.Between(-r, r)))...), x)
	}
	makers[":Size"] = func(d *drawing) { d.op("Size", nil, d.anything()) }
	makers[":Constant"] = func(d *drawing) {
		switch d.IntN(4) {
		case 0:
			d.op("Constant", []onnx.Attr{at("value_ints", []int64{2, -1, 3})})
		case 1:
			d.op("Constant", []onnx.Attr{at("value_int", 2)})
		case 2:
			if d.float == onnx.Float {
				d.op("Constant", []onnx.Attr{at("value_floats", []float32{0.25, -1.5})})
			}
		default:
			d.keep(d.constant(ref.Floats([]float64{0.5, -2, 1}, 3).As(d.float)))
		}
	}
	makers[":ConstantOfShape"] = func(d *drawing) {
		to := d.ints(list(d.shape(0, 3))...)
		if x := d.floats(0, 4); d.One(2) {
			to = d.op("Shape", nil, x)
		}
		value := onnx.Int64Tensor([]int64{7}, 1)
		if d.One(2) {
			value, _ = ref.Floats([]float64{0.5}, 1).As(d.float).Tensor(d.float)
		}
		d.op("ConstantOfShape", []onnx.Attr{at("value", value)}, to)
	}
	makers[":Range"] = func(d *drawing) {
		if d.One(2) {
			d.op("Range", nil, d.number(Pick(d.Choices, 0.0, 1, -1)), d.number(Pick(d.Choices, 4.0, 2.5)), d.number(Pick(d.Choices, 1, 0.75)))
			return
		}
		d.op("Range", nil, d.constant(d.scalarInt(d.Between(0, 3))), d.constant(d.scalarInt(d.Between(4, 7))), d.constant(d.scalarInt(d.Between(1, 3))))
	}
	makers[":EyeLike"] = func(d *drawing) {
		d.op("EyeLike", d.maybe("k", d.Between(-2, 2)), d.floats(2, 2))
	}
}
