package ref

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// indices resolves indices into a dimension of n, of which the negative count
// from its end.
func indices(x *Array, n int) ([]int, error) {
	out := make([]int, len(x.I))
	for i, v := range x.I {
		if v < -int64(n) || v >= int64(n) {
			return nil, fmt.Errorf("index %d is outside of %d elements", v, n)
		}
		if v < 0 {
			v += int64(n)
		}
		out[i] = int(v)
	}
	return out, nil
}

// pick takes the given indices along an axis; -1 leaves zeros.
func pick(x *Array, axis int, index []int) (*Array, error) {
	shape := slices.Clone(x.Shape)
	shape[axis] = len(index)
	y, err := alloc(x.Type, shape)
	if err != nil {
		return nil, err
	}
	n := product(x.Shape[axis+1:])
	for o := range product(x.Shape[:axis]) {
		for j, i := range index {
			if i >= 0 {
				copyRun(y, (o*len(index)+j)*n, x, (o*x.Shape[axis]+i)*n, n)
			}
		}
	}
	return y, nil
}

// gather replaces a dimension by the dimensions of the indices into it.
func gather(c *call) ([]*Array, error) {
	x := c.in[0]
	axis, err := c.axis(0, len(x.Shape))
	if err != nil {
		return nil, err
	}
	index, err := indices(c.in[1], x.Shape[axis])
	if err != nil {
		return nil, err
	}
	y, err := pick(x, axis, index)
	if err != nil {
		return nil, err
	}
	return one(y.reshaped(slices.Concat(x.Shape[:axis], c.in[1].Shape, x.Shape[axis+1:])...), nil)
}

// elementwise calls f with each position in an array of indices and the
// position in x that it stands for: its own but for the axis.
func elementwise(x, index *Array, axis int, f func(at, to int)) error {
	if len(index.Shape) != len(x.Shape) {
		return fmt.Errorf("indices %v and data %v differ in rank", index, x)
	}
	for i, d := range index.Shape {
		if i != axis && d > x.Shape[i] {
			return fmt.Errorf("indices %v don't fit data %v", index, x)
		}
	}
	list, err := indices(index, x.Shape[axis])
	if err != nil {
		return err
	}
	steps := strides(x.Shape)
	step := steps[axis]
	steps[axis] = 0
	at := 0
	lines(index.Shape, [][]int{steps}, func(n int, to []int) {
		for q := range n {
			f(at, to[0]+q*last(steps)+list[at]*step)
			at++
		}
	})
	return nil
}

func gatherElements(c *call) ([]*Array, error) {
	x := c.in[0]
	axis, err := c.axis(0, len(x.Shape))
	if err != nil {
		return nil, err
	}
	y, err := alloc(x.Type, c.in[1].Shape)
	if err != nil {
		return nil, err
	}
	return one(y, elementwise(x, c.in[1], axis, func(at, from int) { copyRun(y, at, x, from, 1) }))
}

// tuples resolves index tuples, the last dimension of index, into offsets in
// units of the block that they select from dimensions batch and on of x.
func tuples(x, index *Array, batch int) (offsets []int, block int, err error) {
	if len(index.Shape) == 0 || batch < 0 || batch >= min(len(index.Shape), len(x.Shape)) {
		return nil, 0, fmt.Errorf("indices %v don't fit %v with %d batch dimensions", index, x, batch)
	}
	k := last(index.Shape)
	if batch+k > len(x.Shape) || !slices.Equal(index.Shape[:batch], x.Shape[:batch]) {
		return nil, 0, fmt.Errorf("indices %v don't fit %v with %d batch dimensions", index, x, batch)
	}
	block = product(x.Shape[batch+k:])
	per := product(index.Shape[batch : len(index.Shape)-1]) // tuples in each batch entry
	for t := range product(index.Shape[:len(index.Shape)-1]) {
		at := t / per
		for j := range k {
			n := x.Shape[batch+j]
			v := index.I[t*k+j]
			if v < -int64(n) || v >= int64(n) {
				return nil, 0, fmt.Errorf("index %d is outside of dimension %d of %v", v, batch+j, x)
			}
			if v < 0 {
				v += int64(n)
			}
			at = at*n + int(v)
		}
		offsets = append(offsets, at*block)
	}
	return offsets, block, nil
}

func gatherND(c *call) ([]*Array, error) {
	x, index := c.in[0], c.in[1]
	batch := int(c.node.Int("batch_dims", 0))
	offsets, block, err := tuples(x, index, batch)
	if err != nil {
		return nil, err
	}
	r := len(index.Shape) - 1
	y, err := alloc(x.Type, slices.Concat(index.Shape[:r], x.Shape[batch+last(index.Shape):]))
	if err != nil {
		return nil, err
	}
	for i, at := range offsets {
		copyRun(y, i*block, x, at, block)
	}
	return one(y, nil)
}

// oneHot puts values[1] where the new dimension's position is the index,
// values[0] elsewhere.
func oneHot(c *call) ([]*Array, error) {
	index, err := cast(c.in[0], onnx.Int64)
	if err != nil {
		return nil, err
	}
	depths, err := cast(c.in[1], onnx.Int64)
	if err != nil {
		return nil, err
	}
	if len(depths.I) != 1 {
		return nil, fmt.Errorf("depth %v is no scalar", depths)
	}
	depth := depths.I[0]
	axis, err := c.axis(-1, len(index.Shape)+1)
	if err != nil {
		return nil, err
	}
	if depth < 0 || depth > maxElements || c.in[2].Count() != 2 {
		return nil, fmt.Errorf("depth %d or values %v don't fit", depth, c.in[2])
	}
	off, err := view(c.in[2], slices.Insert(slices.Clone(index.Shape), axis, int(depth)),
		make([]int, len(index.Shape)+1), 0)
	if err != nil {
		return nil, err
	}
	inner := product(index.Shape[axis:])
	for i, v := range index.I {
		if v < 0 {
			v += depth
		}
		if v >= 0 && v < depth {
			copyRun(off, (i/inner*int(depth)+int(v))*inner+i%inner, c.in[2], 1, 1)
		}
	}
	return one(off, nil)
}

// nonZero lists the positions of non-zero elements, one column each.
func nonZero(c *call) ([]*Array, error) {
	x, err := cast(c.in[0], onnx.Bool)
	if err != nil {
		return nil, err
	}
	var found []int
	for i, b := range x.B {
		if b {
			found = append(found, i)
		}
	}
	y, err := alloc(onnx.Int64, []int{len(x.Shape), len(found)})
	if err != nil {
		return nil, err
	}
	for d, step := range strides(x.Shape) {
		for j, i := range found {
			y.I[d*len(found)+j] = int64(i / step % x.Shape[d])
		}
	}
	return one(y, nil)
}
