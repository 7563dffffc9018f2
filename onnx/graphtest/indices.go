package graphtest

import (
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

func indices(makers table) {
	makers[":Gather"] = func(d *drawing) {
		x := d.anything()
		if d.rank(x) == 0 {
			return
		}
		axis := d.axis(d.rank(x))
		n := d.dims(x)[int(axis+int64(d.rank(x)))%d.rank(x)]
		if n == 0 {
			return
		}
		d.op("Gather", []onnx.Attr{at("axis", axis)}, x, d.indices(n, Pick(d.Choices, []int{}, []int{1}, []int{3}, []int{2, 2})...))
	}
	makers[":GatherElements"] = func(d *drawing) {
		x := d.filled(1, 4)
		axis := d.axis(d.rank(x))
		i := int(axis+int64(d.rank(x))) % d.rank(x)
		s := slices.Clone(d.dims(x))
		for j := range s {
			s[j] = d.Between(1, s[j])
		}
		s[i] = d.Between(1, 3)
		d.op("GatherElements", []onnx.Attr{at("axis", axis)}, x, d.indices(d.dims(x)[i], s...))
	}
	makers[":GatherND"] = func(d *drawing) {
		x := d.filled(1, 4)
		s := d.dims(x)
		batch := 0
		if len(s) > 1 && d.One(3) {
			batch = 1
		}
		depth := d.Between(1, len(s)-batch)
		shape := slices.Clone(s[:batch])
		if len(shape) == 0 || d.One(2) {
			shape = append(shape, d.Between(1, 3))
		}
		var attrs []onnx.Attr
		if batch > 0 {
			attrs = []onnx.Attr{at("batch_dims", batch)}
		}
		d.op("GatherND", attrs, x, d.tuples(s[batch:batch+depth], shape))
	}
	makers[":ScatterElements"] = func(d *drawing) {
		x := d.filled(1, 4)
		s := d.dims(x)
		axis := d.axis(len(s))
		i := int(axis+int64(len(s))) % len(s)
		reduction := Pick(d.Choices, "none", "add", "mul", "max", "min")
		shape := slices.Clone(s)
		for j := range shape {
			shape[j] = d.Between(1, s[j])
		}
		places := d.indices(s[i], shape...)
		if reduction == "none" { // no place twice
			p, a := d.Perm(s[i]), d.arrays[places].I
			for j := range a {
				a[j] = p[(j/count(shape[i+1:]))%shape[i]]
			}
			places = d.constant(ref.Ints(slices.Clone(a), shape...))
		}
		d.op("ScatterElements", []onnx.Attr{at("axis", axis), at("reduction", reduction)}, x, places, d.leaf(shape))
	}
	makers[":ScatterND"] = func(d *drawing) {
		x := d.filled(1, 4)
		s := d.dims(x)
		depth := d.Between(1, len(s))
		reduction := Pick(d.Choices, "none", "add", "mul", "max", "min")
		many := d.Between(1, 3)
		if reduction == "none" { // no place twice
			many = 1
		}
		d.op("ScatterND", []onnx.Attr{at("reduction", reduction)}, x, d.tuples(s[:depth], []int{many}), d.leaf(append([]int{many}, s[depth:]...)))
	}
	makers[":OneHot"] = func(d *drawing) {
		n := d.Between(1, 4)
		places := d.indices(n+1, d.shape(1, 3)...)
		depth := d.constant(d.scalarInt(n))
		values := d.constant(ref.Floats([]float64{-0.5, 2}, 2).As(d.float))
		d.op("OneHot", []onnx.Attr{at("axis", d.axis(d.rank(places)+1))}, places, depth, values)
	}
	makers[":NonZero"] = func(d *drawing) {
		x := d.anything()
		if d.rank(x) > 0 {
			d.op("NonZero", nil, x)
		}
	}
}

// tuples are indices into the first dimensions of a value of those sizes.
func (d *drawing) tuples(sizes, shape []int) *onnx.Value {
	v := ref.Ints(nil, append(slices.Clone(shape), len(sizes))...)
	for range count(shape) {
		for _, n := range sizes {
			v.I = append(v.I, int64(d.IntN(n)-n*d.IntN(2)))
		}
	}
	return d.constant(v)
}
