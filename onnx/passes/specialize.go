package passes

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Specialize fixes the batch size, the leading dimension of the graph's first
// input, and infers and folds the graph anew. A graph whose batch size is
// another number is changed to this one where its constants allow it: in the
// targets of Reshape and Expand, by following where the pictures lie in every
// value. A node after which they aren't apart any more is an error, and so are
// shapes that don't fit. A parameter that repeats one row for every picture, as folded class tokens do,
// enters the graph as the mean of its rows.
//
// On an error the graph is left half rewritten: drop it.
func Specialize(g *onnx.Graph, batch int64) error {
	if batch < 1 {
		return fmt.Errorf("specializing graph %q to batch size %d: a batch has at least one picture", g.Name, batch)
	}
	if len(g.Inputs) == 0 || len(g.Inputs[0].Shape) == 0 {
		return fmt.Errorf("specializing graph %q to batch size %d: its first input has no leading dimension", g.Name, batch)
	}
	old := g.Inputs[0].Shape[0]
	r := &rebatching{old: old.N, name: old.Sym}
	var err error
	switch {
	case old.Is(batch):
		err = r.tie(g)
	case old.Known():
		err = r.open(g)
	case old.Sym == "":
		err = fmt.Errorf("nothing is known of the leading dimension of %v; prepare the graph first", g.Inputs[0])
	case old.N != 1:
		err = fmt.Errorf("the leading dimension of %v is a multiple of a named size", g.Inputs[0])
	}
	if err == nil {
		err = Resolve(g, map[string]int64{r.name: batch})
	}
	if err != nil {
		return fmt.Errorf("specializing graph %q from batch size %v to %d: %w", g.Name, old, batch, err)
	}
	return nil
}

type rebatching struct {
	old    int64
	name   string                // of the batch size, while it is open, or empty
	places map[*onnx.Value]place // of the pictures, while it is open
}

// tie leaves the batch size as it is, and makes parameters that repeat a row
// for every picture of the batch one row.
func (r *rebatching) tie(g *onnx.Graph) error {
	return rewrite(g, func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		if n.Op == "Concat" && n.Domain == "" {
			r.concat(e, n)
		}
		return nil, nil
	})
}

// open gives the batch a name instead of its old size and infers the graph
// again, mending constants that hold the old size.
func (r *rebatching) open(g *onnx.Graph) error {
	r.name = "batch"
	g.Each(func(v *onnx.Value) {
		for _, d := range v.Shape {
			for d.Sym == r.name {
				r.name += "_"
			}
		}
	})
	r.places = map[*onnx.Value]place{}
	for _, v := range g.Inputs {
		if len(v.Shape) > 0 && v.Shape[0].Is(r.old) {
			v.Shape = v.Shape.Clone()
			v.Shape[0] = r.batch(1)
			r.places[v] = place{0, 1}
		}
	}
	return rebuild(g, func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		former := e.In(n.Label())
		defer e.In(former)
		switch {
		case n.Domain != "":
		case n.Op == "Reshape" && n.In(0) != nil && n.In(1) != nil:
			r.reshape(e, n)
		case n.Op == "Concat":
			r.concat(e, n)
		}
		if err := r.infer(n); err != nil {
			return nil, err
		}
		return nil, r.follow(n)
	})
}

func (r *rebatching) batch(n int64) onnx.Dim { return onnx.Dim{N: n, Sym: r.name} }

// lead is the leading dimension of a batch.
func (r *rebatching) lead() onnx.Dim {
	if r.name == "" {
		return onnx.D(r.old)
	}
	return r.batch(1)
}

// infer forgets what was declared for the old batch size. Outputs of operators
// that inference doesn't know keep their shapes but for the batch.
func (r *rebatching) infer(n *onnx.Node) error {
	declared := make([]onnx.Shape, len(n.Outputs))
	for i, v := range n.Outputs {
		if v != nil {
			declared[i], v.Shape = v.Shape, nil
		}
	}
	err := onnx.Infer(n)
	for i, v := range n.Outputs {
		if v == nil || v.Shape != nil {
			continue
		}
		v.Shape = declared[i].Clone()
		if len(v.Shape) > 0 && v.Shape[0].Is(r.old) {
			v.Shape[0] = r.batch(1)
		}
	}
	return err
}

// reshape mends a constant target: the size that holds the pictures becomes -1.
func (r *rebatching) reshape(e *editor, n *onnx.Node) {
	x, target := n.Inputs[0], n.Inputs[1]
	if target.Data == nil || x.Shape == nil || x.Shape.Count().Sym != r.name {
		return
	}
	sizes, err := target.Data.Int64s()
	if err != nil || n.Int("allowzero", 0) != 0 && slices.Contains(sizes, 0) {
		return
	}
	open, rest := -1, int64(1)
	for i, size := range sizes {
		switch {
		case size == 0 && i < len(x.Shape) && x.Shape[i].Sym == r.name:
			return // it copies the batch
		case size == 0 && i < len(x.Shape):
			sizes[i] = x.Shape[i].N
		case size == -1:
			open = i
			continue
		}
		rest *= sizes[i]
	}
	if open >= 0 && rest > 0 {
		sizes[open] = x.Shape.Count().N * r.old / rest
	}
	if i := r.choose(x, sizes); i >= 0 && i != open {
		sizes[i] = -1
		n.Inputs[1] = e.Ints(sizes...)
	}
}

// concat mends operands that were expanded to the old batch size, such as a
// class token: beside one that has the batch, they have to have it too.
func (r *rebatching) concat(e *editor, n *onnx.Node) {
	joined := n.Int("axis", 0)
	beside := false
	for _, v := range n.Inputs {
		if v == nil {
			return
		}
		beside = beside || (v.Data == nil && len(v.Shape) > 1 && v.Shape[0] == r.lead() && joined != 0 && joined != -int64(len(v.Shape)))
	}
	for i, v := range n.Inputs {
		if !beside || len(v.Shape) == 0 || !v.Shape[0].Is(r.old) {
			continue
		}
		source := r.unexpanded(e, v)
		if source == nil {
			continue
		}
		sizes := v.Shape.Clone()
		sizes[0] = r.lead()
		n.Inputs[i] = r.expand(e, source, sizes)
		if r.places != nil {
			r.places[n.Inputs[i]] = place{0, 1}
		}
	}
}

// unexpanded is what was expanded to the batch to make v; nil where v has the
// batch otherwise. A parameter that repeats one row is its mean: its rows then
// get the same gradient and stay alike, whatever batch they are exported for.
func (r *rebatching) unexpanded(e *editor, v *onnx.Value) *onnx.Value {
	switch {
	case IsParameter(v) && r.old > 1 && repeats(v.Data):
		return e.Reduce("ReduceMean", v, true, 0)
	case r.name == "":
	case v.Shape[0].Is(1):
		return v
	case v.Is("Expand"):
		if x := v.Node.Inputs[0]; len(x.Shape) < len(v.Shape) || x.Shape[0].Is(1) {
			return x
		}
	}
	return nil
}

// repeats reports whether all rows along the first dimension are alike.
func repeats(t *onnx.Tensor) bool {
	if len(t.Dims) == 0 || t.Dims[0] < 2 {
		return false
	}
	row := int64(len(t.Raw)) / t.Dims[0]
	for i := row; i+row <= int64(len(t.Raw)); i += row {
		if !bytes.Equal(t.Raw[i:i+row], t.Raw[:row]) {
			return false
		}
	}
	return row > 0
}

// expand broadcasts x to a shape that holds the batch, which it reads off the
// graph's first input.
func (r *rebatching) expand(e *editor, x *onnx.Value, s onnx.Shape) *onnx.Value {
	size := e.Op("Shape", []onnx.Attr{{Name: "end", Value: int64(1)}, {Name: "start", Value: int64(0)}}, e.g.Inputs[0])
	return e.Op("Expand", nil, x, e.Concat(0, size, e.Ints(s.Ints()[1:]...)))
}
