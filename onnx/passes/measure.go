package passes

import (
	"fmt"

	"github.com/relevit/relevit/onnx"
)

// maxElements is how many elements a value may have. The attention map of 64
// pictures of 518x518 pixels in a ViT-g has 1.9e9.
const maxElements = 1 << 31

// Measure refuses an inferred graph with a value of more elements than any ViT
// has, for one picture where the batch is open: running it would take all
// memory. The error is an *onnx.FormatError.
func Measure(g *onnx.Graph) error {
	for _, v := range g.Inputs {
		if tooLarge(v) {
			return beyondMeasure("input "+v.Name, fmt.Sprintf("its shape %v has more than %d elements", v.Shape, int64(maxElements)))
		}
	}
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v != nil && tooLarge(v) {
				return beyondMeasure("node "+n.Label(), fmt.Sprintf("%s gives the shape %v, of more than %d elements", n.Op, v.Shape, int64(maxElements)))
			}
		}
	}
	return nil
}

func beyondMeasure(where, problem string) error {
	return &onnx.FormatError{Offset: -1, Where: where, Problem: problem, Hint: "this is no Vision Transformer"}
}

// tooLarge counts what isn't known as one.
func tooLarge(v *onnx.Value) bool {
	count := onnx.D(1)
	for _, d := range v.Shape {
		if d != onnx.Unknown {
			count = count.Times(onnx.D(d.N))
		}
	}
	return count == onnx.Unknown || count.N > maxElements
}
