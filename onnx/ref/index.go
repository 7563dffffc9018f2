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

// combineRun puts n elements of src into dst by the node's reduction.
func (c *call) combineRun(dst *Array, d int, src *Array, s, n int) {
	how := c.node.Str("reduction", "none")
	if how == "none" {
		copyRun(dst, d, src, s, n)
		return
	}
	for i := range n {
		if kindOf(dst.Type) == floating {
			dst.F[d+i] = accumulate(how, dst.F[d+i], src.F[s+i])
		} else {
			dst.I[d+i] = wrap(dst.Type, accumulate(how, dst.I[d+i], src.I[s+i]))
		}
	}
}

func accumulate[T float64 | int64](how string, x, y T) T {
	switch how {
	case "add":
		return x + y
	case "mul":
		return x * y
	case "max":
		return max(x, y)
	}
	return min(x, y)
}

// scatterReduction checks the attribute of the scatter operators.
func (c *call) scatterReduction() error {
	how := c.node.Str("reduction", "none")
	if !slices.Contains([]string{"none", "add", "mul", "max", "min"}, how) {
		return fmt.Errorf("reduction %q is unknown", how)
	}
	if how != "none" && kindOf(c.in[0].Type) == boolean {
		return fmt.Errorf("reduction %q of booleans", how)
	}
	return nil
}

func scatterElements(c *call) ([]*Array, error) {
	x, index, updates := c.in[0], c.in[1], c.in[2]
	axis, err := c.axis(0, len(x.Shape))
	if err != nil {
		return nil, err
	}
	if err := c.scatterReduction(); err != nil {
		return nil, err
	}
	if !slices.Equal(index.Shape, updates.Shape) {
		return nil, fmt.Errorf("indices %v and updates %v differ in shape", index, updates)
	}
	y := x.clone()
	return one(y, elementwise(x, index, axis, func(at, to int) { c.combineRun(y, to, updates, at, 1) }))
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

func scatterND(c *call) ([]*Array, error) {
	x, index, updates := c.in[0], c.in[1], c.in[2]
	if err := c.scatterReduction(); err != nil {
		return nil, err
	}
	offsets, block, err := tuples(x, index, 0)
	if err != nil {
		return nil, err
	}
	want := slices.Concat(index.Shape[:len(index.Shape)-1], x.Shape[last(index.Shape):])
	if !slices.Equal(updates.Shape, want) {
		return nil, fmt.Errorf("updates are %v, expected shape %v", updates, want)
	}
	y := x.clone()
	for i, at := range offsets {
		c.combineRun(y, at, updates, i*block, block)
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

// topK takes the k largest or smallest along an axis in order, the earlier of
// equal ones first.
func topK(c *call) ([]*Array, error) {
	rank := len(c.in[0].Shape)
	axis, err := c.axis(-1, rank)
	if err != nil {
		return nil, err
	}
	k, err := c.scalar(1)
	if err != nil {
		return nil, err
	}
	x, n, err := grouped(c.in[0], []int{axis})
	if err != nil {
		return nil, err
	}
	if k < 0 || k > int64(n) {
		return nil, fmt.Errorf("dimension %d of %v doesn't have %d elements", axis, c.in[0], k)
	}
	shape := slices.Clone(x.Shape)
	shape[rank-1] = int(k)
	values, err := alloc(x.Type, shape)
	if err != nil {
		return nil, err
	}
	index, err := alloc(onnx.Int64, shape)
	if err != nil {
		return nil, err
	}
	direction := -1
	if c.node.Int("largest", 1) == 0 {
		direction = 1
	}
	for row := range product(shape[:rank-1]) {
		order := make([]int, n)
		for i := range order {
			order[i] = row*n + i
		}
		slices.SortStableFunc(order, func(i, j int) int {
			if kindOf(x.Type) == floating {
				return direction * compare(x.F[i], x.F[j])
			}
			return direction * compare(x.I[i], x.I[j])
		})
		for j, i := range order[:k] {
			copyRun(values, row*int(k)+j, x, i, 1)
			index.I[row*int(k)+j] = int64(i - row*n)
		}
	}
	_, back := toEnd(rank, []int{axis})
	if values, err = permute(values, back); err != nil {
		return nil, err
	}
	index, err = permute(index, back)
	return []*Array{values, index}, err
}

// compare orders numbers, NaN above all.
func compare[T float64 | int64](x, y T) int {
	switch {
	case x < y || x == x && y != y:
		return -1
	case x > y || x != x && y == y:
		return 1
	}
	return 0
}

// cumSum sums up along an axis.
func cumSum(c *call) ([]*Array, error) {
	a, err := c.scalar(1)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(a, len(c.in[0].Shape))
	if err != nil {
		return nil, err
	}
	x, n, err := grouped(c.in[0], []int{axis})
	if err != nil {
		return nil, err
	}
	y, err := alloc(x.Type, x.Shape)
	if err != nil {
		return nil, err
	}
	reverse, exclusive := c.node.Int("reverse", 0) != 0, c.node.Int("exclusive", 0) != 0
	for i := 0; i < x.Count(); i += n {
		if kindOf(x.Type) == floating {
			accumulateRow(y.F[i:i+n], x.F[i:i+n], reverse, exclusive)
		} else {
			accumulateRow(y.I[i:i+n], x.I[i:i+n], reverse, exclusive)
		}
	}
	for i, v := range y.I {
		y.I[i] = wrap(y.Type, v)
	}
	_, back := toEnd(len(x.Shape), []int{axis})
	return one(permute(y, back))
}

func accumulateRow[T float64 | int64](dst, src []T, reverse, exclusive bool) {
	var s T
	for i := range src {
		if reverse {
			i = len(src) - 1 - i
		}
		if !exclusive {
			s += src[i]
		}
		dst[i] = s
		if exclusive {
			s += src[i]
		}
	}
}

// pad lengthens (or with negative pads cuts) both ends of dimensions.
func pad(c *call) ([]*Array, error) {
	x := c.in[0]
	pads, err := c.vector(1)
	if err != nil {
		return nil, err
	}
	list, err := c.vector(3)
	if err != nil {
		return nil, err
	}
	axes, err := axesOf(list, len(x.Shape))
	if err != nil {
		return nil, err
	}
	if c.in[3] == nil {
		for i := range x.Shape {
			axes = append(axes, i)
		}
	}
	if len(pads) != 2*len(axes) {
		return nil, fmt.Errorf("%d pads for %d dimensions", len(pads), len(axes))
	}
	mode := c.node.Str("mode", "constant")
	y := x
	inside := &Array{Type: onnx.Bool, Shape: x.Shape, B: slices.Repeat([]bool{true}, x.Count())}
	for i, a := range axes {
		index, err := padIndex(mode, pads[i], pads[i+len(axes)], x.Shape[a])
		if err != nil {
			return nil, err
		}
		if y, err = pick(y, a, index); err != nil {
			return nil, err
		}
		if inside, err = pick(inside, a, index); err != nil {
			return nil, err
		}
	}
	if value := c.in[2]; mode == "constant" && value != nil {
		if value.Count() != 1 {
			return nil, fmt.Errorf("value %v is no scalar", value)
		}
		return where(&call{c.node, []*Array{inside, y, value.reshaped()}})
	}
	return one(y, nil)
}

// padIndex lists where the elements of a padded dimension of n come from, -1
// for the constant.
func padIndex(mode string, before, after int64, n int) ([]int, error) {
	total := int64(n) + before + after
	if before < -maxElements || before > maxElements || total < 0 || total > maxElements {
		return nil, fmt.Errorf("pads %d and %d don't fit a dimension of %d", before, after, n)
	}
	if n == 0 && mode != "constant" && total > 0 {
		return nil, fmt.Errorf("mode %s has nothing to copy from an empty dimension", mode)
	}
	index := make([]int, total)
	for j := range index {
		i := j - int(before)
		switch {
		case i >= 0 && i < n:
		case mode == "constant":
			i = -1
		case mode == "edge":
			i = min(max(i, 0), n-1)
		case mode == "wrap":
			i = (i%n + n) % n
		case mode == "reflect":
			period := max(2*(n-1), 1)
			i = (i%period + period) % period
			i = min(i, period-i)
			if n == 1 {
				i = 0
			}
		default:
			return nil, fmt.Errorf("mode %q is unknown", mode)
		}
		index[j] = i
	}
	return index, nil
}
