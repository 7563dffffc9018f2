package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// turned is a value's rows as columns.
type turned struct {
	columns *onnx.Value // (C, R); its node is that of the value itself until a program makes it
	reader  *onnx.Node  // the first
	read    *onnx.Value // the matrix that it read
}

// What is worth turning: of fewer rows or shorter ones a product takes too little.
const leastTurned = 64

// tile is how many rows wait until they are written as columns: ROW_TILE of rows.h.
const tile = 8

// turn has products read rows in place of columns. Of a Gemm whose left factor is
// transposed, as a weight's gradient is, the runtime gathers that factor's columns
// anew for each part of the right factor, a few numbers of each row at a time; a
// program does so once, of rows that it has at hand anyway.
func (r *grouping) turn() {
	r.turned = map[*onnx.Value]*turned{}
	if r.repeats {
		return // columns wait for their product longer than rows would
	}
	readers := map[*onnx.Value]int{}
	for _, v := range r.g.Outputs {
		readers[v]++
	}
	for _, n := range r.g.Nodes {
		for _, v := range slices.Concat(n.Inputs, n.Captures) {
			readers[v]++
		}
	}
	gone := map[*onnx.Node]bool{}
	for _, n := range r.g.Nodes {
		if n.Op != "Gemm" || n.Domain != "" || n.Int("transA", 0) == 0 {
			continue
		}
		read := n.Inputs[0]
		v, ok := rowsBehind(read)
		if !ok {
			continue
		}
		t := r.turned[v]
		if t == nil {
			rows, length := read.Shape[0], read.Shape[1]
			t = &turned{&onnx.Value{Name: r.g.Fresh(v.Name + "/columns"), Type: onnx.Float, Shape: onnx.Shape{length, rows}, Node: v.Node}, n, read}
			r.turned[v] = t
		}
		n.Inputs[0] = t.columns
		n.SetAttr("transA", int64(0))
		for at := read; ; at = at.Node.Inputs[0] { // Reshapes that nobody reads any more
			readers[at]--
			if at == v || readers[at] > 0 {
				break
			}
			gone[at.Node] = true
		}
	}
	r.g.Nodes = slices.DeleteFunc(r.g.Nodes, func(n *onnx.Node) bool { return gone[n] })
}

// rowsBehind follows a matrix back through Reshapes to the value whose rows it has.
// It is the matrix's shape, turned, that tells columns from rows where memory is
// given on, so no square is turned.
func rowsBehind(v *onnx.Value) (*onnx.Value, bool) {
	if v.Type != onnx.Float || len(v.Shape) != 2 || !v.Shape.Known() {
		return nil, false
	}
	rows, length := v.Shape[0].N, v.Shape[1].N
	if rows < leastTurned || length < leastTurned || length > longestRow || rows == length {
		return nil, false
	}
	for v.Is("Reshape") {
		from := v.Node.Inputs[0]
		if !from.Shape.Known() || len(from.Shape) == 0 || from.Shape[len(from.Shape)-1].N != length {
			break
		}
		v = from
	}
	return v, v.Node != nil
}

// turnedBy are the values of a group whose columns it is to write. Until the product
// reads them they take the memory that the rows would.
func (r *grouping) turnedBy(own *group) (values []*onnx.Value) {
	for _, i := range own.nodes {
		for _, v := range r.g.Nodes[i].Outputs {
			if t := r.turned[v]; t != nil && own.shape != nil && v.Shape.Same(own.shape) {
				values = append(values, v)
			}
		}
	}
	return values
}

// turnAlone is a program which writes columns of a value and computes nothing.
func turnAlone(v *onnx.Value, t *turned) *onnx.Node {
	p := &rowProgram{shape: v.Shape, inputs: []*onnx.Value{v}, kinds: []int64{int64(fullRows)}, outputs: []*onnx.Value{t.columns}, turned: []*onnx.Value{v}}
	return p.node()
}
