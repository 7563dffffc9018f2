package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Patchify turns a convolution whose windows are patches, side by side without
// overlap or padding, into a matrix product, which differentiates and runs as
// one:
//
//	Conv(x, w, bias)   x (B,C,H,W), w (D,C,p,q), strides p and q
//	Gemm of x's patches (B*h*w, C*p*q) with w as (D, C*p*q)
//
// The weight stays the initializer that it was. The result (B,D,h,w) keeps its
// name; Tidy then cancels the transposition to tokens that usually follows.
func Patchify(g *onnx.Graph) error {
	err := rewrite(g, func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		if n.Op != "Conv" || n.Domain != "" || !patches(n) {
			return nil, nil
		}
		former := e.In(n.Label())
		defer e.In(former)
		x, w := n.Inputs[0], n.Inputs[1]
		d, c, p, q := w.Shape[0].N, w.Shape[1].N, w.Shape[2].N, w.Shape[3].N
		h, v := x.Shape[2].N/p, x.Shape[3].N/q
		t := e.Op("Reshape", nil, x, e.Ints(-1, c, h, p, v, q)) // (B,C,h,p,w,q)
		t = e.Transpose(t, 0, 2, 4, 1, 3, 5)                    // (B,h,w,C,p,q)
		t = e.Op("Reshape", nil, t, e.Ints(-1, c*p*q))          // (B*h*w,C*p*q)
		flat := e.Reshape(w, onnx.ShapeOf(d, c*p*q))
		t = e.Op("Gemm", []onnx.Attr{{Name: "transB", Value: int64(1)}}, t, flat, n.In(2)) // (B*h*w,D)
		t = e.Op("Reshape", nil, t, e.Ints(-1, h, v, d))
		return []*onnx.Value{e.Transpose(t, 0, 3, 1, 2)}, nil // (B,D,h,w)
	})
	if err != nil {
		return err
	}
	g.Prune()
	return nil
}

// patches reports whether a convolution's windows are the patches of its input.
func patches(n *onnx.Node) bool {
	x, w := n.Inputs[0].Shape, n.Inputs[1].Shape
	if len(x) != 4 || len(w) != 4 || !w.Known() || !x[1:].Known() || n.Int("group", 1) != 1 {
		return false
	}
	kernel := w.Ints()[2:]
	auto := n.Str("auto_pad", "NOTSET")
	return slices.Equal(n.Ints("strides"), kernel) && x[2].N%kernel[0] == 0 && x[3].N%kernel[1] == 0 &&
		allInts(n.Ints("pads"), 0) && allInts(n.Ints("dilations"), 1) && (auto == "NOTSET" || auto == "VALID")
}

func allInts(v []int64, n int64) bool {
	return !slices.ContainsFunc(v, func(x int64) bool { return x != n })
}
