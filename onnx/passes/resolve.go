package passes

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Resolve puts numbers in place of named sizes, such as batch or height,
// wherever they occur, and infers and folds the graph anew. Names that the
// graph doesn't have are ignored.
func Resolve(g *onnx.Graph, sizes map[string]int64) error {
	for name, n := range sizes {
		if n < 1 {
			return fmt.Errorf("can't make size %s of graph %q %d: sizes are at least 1", name, g.Name, n)
		}
	}
	put := func(dims []onnx.Dim) []onnx.Dim {
		dims = slices.Clone(dims)
		for i, d := range dims {
			if n, ok := sizes[d.Sym]; ok && d.Sym != "" {
				dims[i] = onnx.D(d.N * n)
			}
		}
		return dims
	}
	g.Each(func(v *onnx.Value) { v.Shape, v.Elems = put(v.Shape), put(v.Elems) })
	return Fold(g)
}
