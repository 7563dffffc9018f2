package graphtest

import (
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

func products(makers table) {
	makers[":MatMul"] = func(d *drawing) {
		x := d.floats(1, 5)
		s := d.dims(x)
		k, n := s[len(s)-1], d.Between(1, 4)
		y := d.leaf([]int{k, n})
		switch d.IntN(4) {
		case 1:
			y = d.leaf([]int{k})
		case 2:
			if len(s) > 2 {
				y = d.leaf(append(d.against(s[:len(s)-2]), k, n))
			}
		case 3:
			y = d.op("Transpose", nil, x)
			if len(s) > 2 {
				p := make([]int64, len(s))
				for i := range p {
					p[i] = int64(i)
				}
				p[len(s)-1], p[len(s)-2] = p[len(s)-2], p[len(s)-1]
				y = d.op("Transpose", []onnx.Attr{at("perm", p)}, x)
			}
		}
		d.op("MatMul", nil, x, y)
	}
	makers[":Gemm"] = func(d *drawing) {
		x := d.floats(2, 2)
		m, k, n := d.dims(x)[0], d.dims(x)[1], d.Between(1, 5)
		attrs := append(d.maybe("alpha", float32(0.5)), d.maybe("beta", float32(1.5))...)
		if d.One(3) {
			attrs = append(attrs, at("transA", 1))
			m, k = k, m
		}
		w := []int{k, n}
		if d.One(2) {
			attrs = append(attrs, at("transB", 1))
			w = []int{n, k}
		}
		in := []*onnx.Value{x, d.leaf(w)}
		if d.One(2) {
			in = append(in, d.leaf(Pick(d.Choices, []int{n}, []int{m, 1}, []int{1, n}, []int{1}, []int{}, []int{m, n})))
		}
		d.op("Gemm", attrs, in...)
	}
	makers[":Einsum"] = func(d *drawing) {
		x := d.floats(1, 4)
		letters, sizes := "abcdef", map[byte]int{}
		var parts []string
		in := []*onnx.Value{x}
		first := letters[:d.rank(x)]
		for i, n := range d.dims(x) {
			sizes[first[i]] = n
		}
		parts = append(parts, first)
		for range d.IntN(3) {
			var part strings.Builder
			shape := []int{}
			for _, i := range d.Some(6) {
				if len(shape) == 3 {
					break
				}
				c := letters[i]
				if _, ok := sizes[c]; !ok {
					sizes[c] = d.Between(1, 3)
				}
				part.WriteByte(c)
				shape = append(shape, sizes[c])
			}
			if len(shape) == 0 {
				continue
			}
			parts, in = append(parts, part.String()), append(in, d.leaf(shape))
		}
		var used []byte
		for c := range sizes {
			used = append(used, c)
		}
		slices.Sort(used)
		equation := strings.Join(parts, ",")
		if !d.One(5) {
			equation += "->"
			for _, i := range d.Some(len(used)) {
				equation += string(used[i])
			}
		}
		d.op("Einsum", []onnx.Attr{at("equation", equation)}, in...)
	}
	makers[":Attention"] = func(d *drawing) {
		b, h, n, m, k, v := d.Between(1, 2), d.Between(1, 2), d.Between(1, 3), d.Between(1, 3), d.Between(1, 3), d.Between(1, 3)
		var attrs []onnx.Attr
		attrs = append(attrs, d.maybe("scale", float32(0.4))...)
		attrs = append(attrs, d.maybe("softcap", float32(1.5))...)
		attrs = append(attrs, d.maybe("is_causal", 1)...)
		in := []*onnx.Value{d.leaf([]int{b, h, n, k}), d.leaf([]int{b, h, m, k}), d.leaf([]int{b, h, m, v})}
		if d.One(2) {
			in = append(in, d.leaf(Pick(d.Choices, []int{n, m}, []int{b, 1, n, m}, []int{1, h, n, m})))
		}
		d.opset = 23
		d.op("Attention", attrs, in...)
	}
	makers[":RotaryEmbedding"] = func(d *drawing) {
		b, h, n, k := d.Between(1, 2), d.Between(1, 2), d.Between(1, 3), 2*d.Between(1, 2)
		d.opset = 23
		x := d.leaf([]int{b, h, n, k})
		if d.One(2) {
			d.op("RotaryEmbedding", d.maybe("interleaved", 1), x, d.leaf([]int{b, n, k / 2}), d.leaf([]int{b, n, k / 2}))
			return
		}
		positions := d.arrays[d.indices(5, b, n)]
		for i := range positions.I {
			positions.I[i] = (positions.I[i] + 5) % 5
		}
		d.op("RotaryEmbedding", d.maybe("interleaved", 1), x, d.leaf([]int{5, k / 2}), d.leaf([]int{5, k / 2}), d.constant(positions))
	}
}
