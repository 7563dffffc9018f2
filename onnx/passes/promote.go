package passes

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Promote makes initializers inputs of the graph, after those it has, in the
// order given. The graph forgets their data, which the caller keeps and feeds.
func Promote(g *onnx.Graph, values []*onnx.Value) error {
	for _, v := range values {
		at := slices.Index(g.Inits, v)
		if at < 0 {
			return fmt.Errorf("can't make %v an input of graph %q: it is no initializer of the graph", v, g.Name)
		}
		g.Inits = slices.Delete(g.Inits, at, at+1)
		if !slices.Contains(g.Inputs, v) {
			g.Inputs = append(g.Inputs, v)
		}
		v.Data, v.Elems = nil, nil
	}
	return nil
}
