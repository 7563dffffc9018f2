package ref

import (
	"math/rand/v2"
	"testing"

	"github.com/relevit/relevit/onnx"
)

func BenchmarkNodes(b *testing.B) {
	d := draws{rand.New(rand.NewPCG(1, 2))}
	for _, c := range []struct {
		name, op string
		attrs    []onnx.Attr
		in       []*Array
	}{
		{"MatMul", "MatMul", nil, []*Array{d.normal(2, 51, 32), d.normal(32, 96)}},
		{"Add", "Add", nil, []*Array{d.normal(2, 51, 96), d.normal(96)}},
		{"MulSame", "Mul", nil, []*Array{d.normal(100000), d.normal(100000)}},
		{"Softmax", "Softmax", nil, []*Array{d.normal(2, 4, 51, 51)}},
		{"Transpose", "Transpose", attrs("perm", list(0, 2, 1, 3)), []*Array{d.normal(2, 51, 4, 8)}},
		{"TransposeLast", "Transpose", attrs("perm", list(1, 0)), []*Array{d.normal(300, 300)}},
		{"ReduceSum", "ReduceSum", nil, []*Array{d.normal(2, 51, 96), vec(0, 1)}},
		{"LayerNorm", "LayerNormalization", nil, []*Array{d.normal(2, 51, 96), d.normal(96), d.normal(96)}},
		{"Where", "Where", nil, []*Array{d.bools(2, 51, 96), d.normal(2, 51, 96), d.normal()}},
		{"Gelu", "Gelu", nil, []*Array{d.normal(2, 51, 96)}},
		{"Conv", "Conv", attrs("strides", list(16, 16)), []*Array{d.normal(2, 3, 112, 112), d.normal(32, 3, 16, 16), d.normal(32)}},
		{"Einsum", "Einsum", attrs("equation", "bhid,bhjd->bhij"), []*Array{d.normal(2, 4, 51, 8), d.normal(2, 4, 51, 8)}},
	} {
		n := &onnx.Node{Op: c.op, Attrs: c.attrs, Outputs: []*onnx.Value{{Name: "y"}}}
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Node(n, c.in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
