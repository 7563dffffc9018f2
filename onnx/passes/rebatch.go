package passes

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// RebatchError says that a graph's batch size can't be changed.
type RebatchError struct {
	To  string // the size asked for
	Err error
}

func (e *RebatchError) Error() string {
	return fmt.Sprintf("the batch size can't be made %s: %v; export the model again with a batch size that is open", e.To, e.Err)
}

func (e *RebatchError) Unwrap() error { return e.Err }

// Rebatch fixes the batch size of a graph of the working dialect, or opens it
// where batch is 0, as far as the graph's constants allow it; see Specialize.
// The graph is folded. A parameter that repeats one row for every picture
// becomes that row.
//
// On an error the graph is left half rewritten: drop it.
func Rebatch(g *onnx.Graph, batch int64) error {
	if len(g.Inputs) == 0 || len(g.Inputs[0].Shape) == 0 {
		return &RebatchError{To: batchName(batch), Err: fmt.Errorf("the first input has no leading dimension")}
	}
	nameSizes(g)
	err := Fold(g)
	old := g.Inputs[0].Shape[0]
	if err == nil && old.Known() && !old.Is(batch) {
		r := &rebatching{old: old.N}
		r.broadcastRows(g)
		if err = r.open(g); err == nil {
			err = Fold(g)
		}
		if err == nil {
			err = r.opened(g)
		}
		foldRows(g)
	}
	if err == nil && batch > 0 && !old.Is(batch) {
		err = Specialize(g, batch)
	}
	if err != nil {
		return &RebatchError{To: batchName(batch), Err: err}
	}
	return nil
}

// broadcastRows makes constants that repeat one row for every picture, and are
// added to something of the whole batch, that row.
func (r *rebatching) broadcastRows(g *onnx.Graph) {
	uses := g.Uses()
	for _, v := range g.Inits {
		if r.old < 2 || len(v.Shape) == 0 || !v.Shape[0].Is(r.old) || !repeats(v.Data) || slices.Contains(g.Outputs, v) {
			continue
		}
		broadcasts := func(n *onnx.Node) bool {
			return n.Domain == "" && elementwise[n.Op] && slices.ContainsFunc(n.Inputs, func(x *onnx.Value) bool {
				return x != nil && x.Data == nil && len(x.Shape) == len(v.Shape) && x.Shape[0].Is(r.old)
			})
		}
		if !slices.ContainsFunc(uses[v], func(n *onnx.Node) bool { return !broadcasts(n) }) {
			firstRow(v)
		}
	}
}

// firstRow makes a constant the first of its rows, which are all alike.
func firstRow(v *onnx.Value) {
	dims := append([]int64{1}, v.Data.Dims[1:]...)
	v.Data = &onnx.Tensor{Type: v.Data.Type, Dims: dims, Raw: v.Data.Raw[:int64(len(v.Data.Raw))/v.Data.Dims[0]]}
	v.Shape = v.Data.Shape()
}

func batchName(batch int64) string {
	if batch == 0 {
		return "dynamic"
	}
	return fmt.Sprint(batch)
}

// opened checks that the batch reaches the outputs that had it, and says which
// node holds the old size.
func (r *rebatching) opened(g *onnx.Graph) error {
	for _, v := range g.Outputs {
		if len(v.Shape) == 0 || !v.Shape[0].Is(r.old) {
			continue
		}
		for _, n := range g.Nodes {
			if slices.ContainsFunc(n.Inputs, r.has) && !slices.ContainsFunc(n.Outputs, r.has) && n.Op != "Shape" && n.Op != "Size" {
				return fmt.Errorf("node %s (%s) is written for batches of %d", n.Label(), n.Op, r.old)
			}
		}
		return fmt.Errorf("output %v keeps the old size", v)
	}
	return nil
}

// has reports whether a dimension of v follows the batch.
func (r *rebatching) has(v *onnx.Value) bool {
	return v != nil && slices.ContainsFunc(v.Shape, func(d onnx.Dim) bool { return d.Sym == r.name })
}

// foldRows makes parameters that enter by the mean of their rows, which are all
// alike, one row.
func foldRows(g *onnx.Graph) {
	uses := g.Uses()
	for _, n := range g.Nodes {
		v := n.In(0)
		if n.Op != "ReduceMean" || n.Domain != "" || v == nil || !IsParameter(v) || len(uses[v]) != 1 || !repeats(v.Data) {
			continue
		}
		if axes, ok := constInts(n.In(1)); !ok || len(axes) != 1 || axes[0] != 0 || n.Int("keepdims", 1) != 1 {
			continue
		}
		firstRow(v)
		n.Op, n.Attrs, n.Inputs = "Identity", nil, n.Inputs[:1]
	}
	g.Prune()
}
