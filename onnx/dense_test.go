package onnx

import (
	"fmt"
	"slices"
	"testing"

	"gorgonia.org/tensor"
)

func TestDenseRoundTripKeepsTypeShapeAndData(t *testing.T) {
	for kind := range denseTypes {
		for _, dims := range [][]int64{{}, {1}, {6}, {2, 3}, {1, 3, 2, 1}} {
			n := 1
			for _, d := range dims {
				n *= int(d)
			}
			in := &Tensor{Type: kind, Dims: dims, Raw: make([]byte, n*kind.Size())}
			for i := range in.Raw {
				if in.Raw[i] = byte(i*7 + 1); kind == Bool {
					in.Raw[i] &= 1
				}
			}
			d, err := in.Dense()
			if err != nil {
				t.Fatalf("%v%v: %v", kind, dims, err)
			}
			if len(dims) > 0 && fmt.Sprint(d.Shape()) != fmt.Sprint(tensor.Shape(ints(dims))) {
				t.Errorf("%v%v: gorgonia's shape is %v", kind, dims, d.Shape())
			}
			out, err := FromDense(d)
			if err != nil {
				t.Fatalf("%v%v: %v", kind, dims, err)
			}
			if out.Type != kind || !slices.Equal(out.Dims, dims) || !slices.Equal(out.Raw, in.Raw) {
				t.Errorf("%v%v % x came back as %v%v % x", kind, dims, in.Raw, out.Type, out.Dims, out.Raw)
			}
		}
	}
}

func ints(v []int64) []int {
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}

func TestFromDenseReadsViewsInRowMajorOrder(t *testing.T) {
	base := func() *tensor.Dense {
		return tensor.New(tensor.WithShape(2, 3), tensor.WithBacking([]float32{1, 2, 3, 4, 5, 6}))
	}
	transposed := base()
	if err := transposed.T(); err != nil {
		t.Fatal(err)
	}
	column, err := base().Slice(nil, tensor.S(1))
	if err != nil {
		t.Fatal(err)
	}
	block, err := base().Slice(nil, tensor.S(1, 3))
	if err != nil {
		t.Fatal(err)
	}
	row, err := base().Slice(tensor.S(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		d    *tensor.Dense
		dims []int64
		want []float64
	}{
		{"transposed", transposed, []int64{3, 2}, []float64{1, 4, 2, 5, 3, 6}},
		{"column", column.(*tensor.Dense), []int64{2}, []float64{2, 5}},
		{"block", block.(*tensor.Dense), []int64{2, 2}, []float64{2, 3, 5, 6}},
		{"row", row.(*tensor.Dense), []int64{3}, []float64{4, 5, 6}},
		{"column-major", tensor.New(tensor.WithShape(2, 3), tensor.AsFortran([]float32{1, 2, 3, 4, 5, 6})), []int64{2, 3}, []float64{1, 2, 3, 4, 5, 6}},
		{"int", tensor.New(tensor.WithShape(2), tensor.WithBacking([]int{-1, 2})), []int64{2}, []float64{-1, 2}},
	} {
		got, err := FromDense(c.d)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		v, err := got.Float64s()
		if err != nil || !slices.Equal(got.Dims, c.dims) || !slices.Equal(v, c.want) {
			t.Errorf("%s: got %v %v (%v), expected %v %v", c.name, got.Dims, v, err, c.dims, c.want)
		}
	}
}

func TestDenseWidensHalvesAndRefusesTheRest(t *testing.T) {
	h := &Tensor{Type: Float16, Dims: []int64{2}, Raw: []byte{0, 0x3c, 0, 0xc0}}
	d, err := h.Dense()
	if err != nil || fmt.Sprint(d.Data()) != "[1 -2]" {
		t.Errorf("halves became %v (%v), expected 1 -2", d, err)
	}
	for name, in := range map[string]*Tensor{
		"empty":   FloatTensor(nil, 2, 0),
		"strings": {Type: String, Dims: []int64{1}, Strings: [][]byte{{}}},
		"short":   {Type: Float, Dims: []int64{3}, Raw: make([]byte, 8)},
	} {
		if _, err := in.Dense(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := FromDense(nil); err == nil {
		t.Error("nil: no error")
	}
	if _, err := FromDense(tensor.New(tensor.WithShape(2), tensor.WithBacking([]string{"a", "b"}))); err == nil {
		t.Error("strings: no error")
	}
}
