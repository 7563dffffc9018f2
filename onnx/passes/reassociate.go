package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Reassociate multiplies a few rows with a linear layer's input instead of with
// all that the layer makes of it. Of a ViT's last attention only the class
// token's row is read, once Narrow has been there, and for that one query
//
//	q (x Wk)^T = (q Wk^T) x^T
//	a (x Wv)   = (a x) Wv
//
// so that neither keys nor values are formed. It applies to a Gemm whose result
// is read by such products and by slices of a few rows alone, whatever moves
// its elements in between.
func Reassociate(g *onnx.Graph) error {
	if err := g.InferAll(); err != nil {
		return err
	}
	r := &reassociation{uses: g.Uses(), outputs: g.Outputs, found: map[*onnx.Node]*reader{}}
	for _, n := range g.Nodes {
		r.gemm(n)
	}
	if len(r.found) == 0 {
		return nil
	}
	err := rewrite(g, func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		from, ok := r.found[n]
		if !ok {
			return nil, nil
		}
		former := e.In(n.Label())
		defer e.In(former)
		y := from.emit(e, n)
		for _, s := range from.scales {
			y = e.Op(s.Op, nil, y, s.Inputs[1])
		}
		return []*onnx.Value{e.Reshape(y, n.Outputs[0].Shape)}, nil
	})
	if err != nil {
		return err
	}
	g.Prune()
	return nil
}

type reassociation struct {
	uses    map[*onnx.Value][]*onnx.Node
	outputs []*onnx.Value
	found   map[*onnx.Node]*reader
}

// reader is a product with few rows on its left, or a slice of few rows, of
// what a layer gives.
type reader struct {
	layer  *onnx.Node
	scales []*onnx.Node // that lie between
	order  []byte       // of batch, token, head and width in what is read: "bthw", the slowest first

	batch, tokens, heads, width int64 // (B,N) rows, (H,d) columns
	column, stride              int64 // of the first head, from head to head
	tokensFirst                 bool  // rows are (N,B)
	from, rows                  int64 // of a slice
	across                      bool  // a product that sums over tokens, not over the width
}

// gemm follows a layer's result to its readers.
func (r *reassociation) gemm(n *onnx.Node) {
	if n.Op != "Gemm" || n.Domain != "" || n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.Float("beta", 1) != 1 ||
		!n.Outputs[0].Shape.Known() || n.Outputs[0].Shape.Count().N < 1 || n.In(2) != nil && len(n.In(2).Shape) != 1 {
		return
	}
	found := map[*onnx.Node]*reader{}
	if !r.follow(n, n.Outputs[0], layoutOf(n.Outputs[0].Shape), nil, found) {
		return
	}
	for node, from := range found {
		r.found[node] = from
	}
}

// follow collects the readers of v, and reports whether all are as they must be.
func (r *reassociation) follow(layer *onnx.Node, v *onnx.Value, at layout, scales []*onnx.Node, found map[*onnx.Node]*reader) bool {
	if slices.Contains(r.outputs, v) {
		return false
	}
	for _, n := range r.uses[v] {
		switch {
		case n.Domain != "" || slices.Contains(n.Captures, v):
			return false
		case n.Op == "MatMul":
			if n.Inputs[0] == v {
				return false
			}
			from := productOf(layer, n, at)
			if from == nil {
				return false
			}
			from.scales = scales
			found[n] = from
			continue
		case scalesBy(n, v):
			if !r.follow(layer, n.Outputs[0], at, append(slices.Clone(scales), n), found) {
				return false
			}
			continue
		case n.Inputs[0] != v:
			return false
		}
		if from := sliceOf(layer, n, at); from != nil {
			from.scales = scales
			found[n] = from
			continue
		}
		layouts := at.after(n)
		if layouts == nil {
			return false
		}
		for i, l := range layouts {
			if !r.follow(layer, n.Outputs[i], l, scales, found) {
				return false
			}
		}
	}
	return true
}

// scalesBy reports whether a node multiplies v with a constant scalar.
func scalesBy(n *onnx.Node, v *onnx.Value) bool {
	return (n.Op == "Mul" || n.Op == "Div") && n.Inputs[0] == v && n.Inputs[1].Data != nil && n.Inputs[1].Data.Count() == 1 &&
		n.Outputs[0].Shape.Same(v.Shape)
}

// productOf tells how a MatMul reads a layer's result of the given layout on its
// right: (B,H,N,d) or (B,H,d,N), where few rows (B,H,R,.) are on its left. nil
// if it doesn't, or if these are so many that nothing is saved.
func productOf(layer, n *onnx.Node, at layout) *reader {
	x, y, rank := n.Inputs[0].Shape, n.Inputs[1].Shape, len(at.axes)
	if rank < 2 || len(x) != rank || len(y) != rank || !x.Known() || !x[:rank-2].Same(y[:rank-2]) {
		return nil
	}
	for _, across := range []bool{true, false} {
		tokens, width := at.axes[rank-2], at.axes[rank-1]
		if !across {
			tokens, width = width, tokens
		}
		if len(tokens) != 1 || !tokens[0].row || len(width) != 1 || width[0].row {
			continue
		}
		from := grid(layer, at, tokens[0])
		if from == nil || from.width != width[0].size || string(from.order[:len(from.order)-2]) != "bh" {
			return nil
		}
		from.across, from.rows = across, x[rank-2].N
		if from.rows < 1 || 2*from.rows > from.width {
			return nil
		}
		return from
	}
	return nil
}

// sliceOf tells how a Slice takes few tokens of a layer's result; nil if it
// doesn't.
func sliceOf(layer, n *onnx.Node, at layout) *reader {
	if n.Op != "Slice" {
		return nil
	}
	axis, first, size, ok := sliced(n)
	if !ok || len(at.axes[axis]) != 1 || !at.axes[axis][0].row {
		return nil
	}
	from := grid(layer, at, at.axes[axis][0])
	if from == nil || size < 1 || size*8 > from.tokens {
		return nil
	}
	from.from, from.rows = first, size
	return from
}

// grid reads a layout as (B,N) rows and (H,d) columns in some order, given the
// factor that counts tokens; nil where it is none, or not of all rows.
func grid(layer *onnx.Node, at layout, tokens factor) *reader {
	s := layer.Outputs[0].Shape
	r := &reader{layer: layer, tokens: tokens.size, batch: s[0].N / tokens.size, heads: 1, width: 1, column: at.col, stride: s[1].N}
	switch {
	case at.row != 0 || r.batch*r.tokens != s[0].N:
		return nil
	case tokens.stride == 1:
	case tokens.stride == r.batch:
		r.tokensFirst = true
	default:
		return nil
	}
	batch := factor{true, r.tokens, r.batch}
	if r.tokensFirst {
		batch.stride = 1
	}
	var order []byte
	for _, f := range slices.Concat(at.axes...) {
		switch {
		case f == tokens:
			order = append(order, 't')
		case f == batch:
			order = append(order, 'b')
		case f.row:
			return nil
		case f.stride == 1:
			order = append(order, 'w')
			r.width = f.size
		default:
			order = append(order, 'h')
			r.heads, r.stride = f.size, f.stride
		}
	}
	// Where one has size one, it doesn't matter where it stands.
	if !slices.Contains(order, 'h') {
		order = slices.Insert(order, slices.Index(order, 'b')+1, 'h')
	}
	if !slices.Contains(order, 'b') {
		order = slices.Insert(order, 0, 'b')
	}
	if len(order) != 4 || s[1].N%r.stride != 0 || r.column%r.stride+r.width > r.stride || r.column/r.stride+r.heads > s[1].N/r.stride {
		return nil
	}
	r.order = order
	return r
}

// emit computes what node n gives from the layer's input.
func (r *reader) emit(e *editor, n *onnx.Node) *onnx.Value {
	x, w, bias := r.input(e), r.weight(e), r.bias(e)
	features := x.Shape[2].N
	if n.Op == "Slice" {
		some := e.Reshape(e.Slice(x, 1, r.from, r.from+r.rows), onnx.ShapeOf(r.batch*r.rows, features))
		var columns *onnx.Value
		if bias != nil {
			columns = e.Reshape(bias, onnx.ShapeOf(r.heads*r.width))
		}
		y := e.Op("Gemm", []onnx.Attr{{Name: "transB", Value: int64(1)}}, some, e.Reshape(w, onnx.ShapeOf(r.heads*r.width, features)), columns)
		var perm []int64
		for _, part := range r.order {
			perm = append(perm, int64(slices.Index([]byte("bthw"), part)))
		}
		return e.Transpose(e.Reshape(y, onnx.ShapeOf(r.batch, r.rows, r.heads, r.width)), perm...)
	}
	summands := r.width
	if r.across {
		summands = r.tokens
	}
	left := e.Reshape(n.Inputs[0], onnx.ShapeOf(r.batch, r.heads, r.rows, summands))
	flat := onnx.ShapeOf(r.batch, r.heads*r.rows, features)
	if r.across {
		y := e.MatMul(e.Reshape(left, onnx.ShapeOf(r.batch, r.heads*r.rows, r.tokens)), x)
		y = e.MatMul(e.Reshape(y, onnx.ShapeOf(r.batch, r.heads, r.rows, features)), e.SwapLast(w)) // (B,H,R,d)
		if bias != nil {
			y = e.Add(y, e.Mul(e.Reduce("ReduceSum", left, true, 3), e.Reshape(bias, onnx.ShapeOf(r.heads, 1, r.width))))
		}
		return y
	}
	y := e.MatMul(e.Reshape(e.MatMul(left, w), flat), e.SwapLast(x))
	y = e.Reshape(y, onnx.ShapeOf(r.batch, r.heads, r.rows, r.tokens))
	if bias != nil {
		y = e.Add(y, e.MatMul(left, e.Reshape(bias, onnx.ShapeOf(r.heads, r.width, 1))))
	}
	return y
}

// input is that of the layer: (B,N,features).
func (r *reader) input(e *editor) *onnx.Value {
	x := e.now(r.layer.Inputs[0])
	features := x.Shape[1]
	s := onnx.Shape{onnx.D(r.batch), onnx.D(r.tokens), features}
	if r.tokensFirst {
		s[0], s[1] = s[1], s[0]
	}
	if y := viewed(e, x, s); y != nil {
		x = y
	}
	if r.tokensFirst {
		x = e.Transpose(x, 1, 0, 2)
	}
	return x
}

// weight is what the layer's columns that are read have: (H,d,features).
func (r *reader) weight(e *editor) *onnx.Value {
	w := e.now(r.layer.Inputs[1])
	if r.layer.Int("transB", 0) == 0 {
		w = e.Transpose(w, 1, 0)
	}
	columns, features := w.Shape[0].N, w.Shape[1]
	return r.columns(e, e.Reshape(w, onnx.Shape{onnx.D(columns / r.stride), onnx.D(r.stride), features}))
}

// bias is that of the layer's columns that are read: (H,d); nil if it has none.
func (r *reader) bias(e *editor) *onnx.Value {
	bias := e.now(r.layer.In(2))
	if bias == nil {
		return nil
	}
	bias = e.Expand(bias, onnx.ShapeOf(r.layer.Outputs[0].Shape[1].N))
	return r.columns(e, e.Reshape(bias, onnx.ShapeOf(bias.Shape[0].N/r.stride, r.stride)))
}

// columns takes the heads and their columns from (C/stride, stride, ...).
func (r *reader) columns(e *editor, v *onnx.Value) *onnx.Value {
	for axis, want := range [][2]int64{{r.column / r.stride, r.heads}, {r.column % r.stride, r.width}} {
		if !v.Shape[axis].Is(want[1]) {
			v = e.Slice(v, int64(axis), want[0], want[0]+want[1])
		}
	}
	return v
}
