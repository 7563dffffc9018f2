package ref

import (
	"fmt"
	"slices"
)

// strides of a row-major shape.
func strides(shape []int) []int {
	out := make([]int, len(shape))
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = step
		step *= shape[i]
	}
	return out
}

// last is the step along the last dimension, 0 where there is none.
func last(steps []int) int {
	if len(steps) == 0 {
		return 0
	}
	return steps[len(steps)-1]
}

// lines calls f for every line of n elements along the last dimension of
// shape, in row-major order. at holds the line's offset in each operand, which
// advances by steps[operand][dimension].
func lines(shape []int, steps [][]int, f func(n int, at []int)) {
	if slices.Contains(shape, 0) {
		return
	}
	at := make([]int, len(steps))
	inner := len(shape) - 1
	if inner < 0 {
		f(1, at)
		return
	}
	index := make([]int, inner)
	for {
		f(shape[inner], at)
		d := inner - 1
		for ; d >= 0; d-- {
			index[d]++
			for k := range at {
				at[k] += steps[k][d]
			}
			if index[d] < shape[d] {
				break
			}
			for k := range at {
				at[k] -= steps[k][d] * shape[d]
			}
			index[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

// view copies what a walk with these steps from offset meets.
func view(x *Array, shape, steps []int, offset int) (*Array, error) {
	y, err := alloc(x.Type, shape)
	if err != nil {
		return nil, err
	}
	switch kindOf(x.Type) {
	case floating:
		pull(y.F, x.F, shape, steps, offset)
	case integer:
		pull(y.I, x.I, shape, steps, offset)
	case boolean:
		pull(y.B, x.B, shape, steps, offset)
	}
	return y, nil
}

func pull[T any](dst, src []T, shape, steps []int, offset int) {
	step, o := last(steps), 0
	lines(shape, [][]int{steps}, func(n int, at []int) {
		i := offset + at[0]
		if step == 1 {
			copy(dst[o:o+n], src[i:i+n])
			o += n
			return
		}
		for range n {
			dst[o] = src[i]
			o++
			i += step
		}
	})
}

// permute gives dimension i of the result what perm[i] is in x.
func permute(x *Array, perm []int) (*Array, error) {
	shape, steps := make([]int, len(perm)), make([]int, len(perm))
	own := strides(x.Shape)
	identity := true
	for i, p := range perm {
		shape[i], steps[i] = x.Shape[p], own[p]
		identity = identity && i == p
	}
	if identity {
		return x, nil
	}
	return view(x, shape, steps, 0)
}

// toEnd is the permutation that moves the given axes behind the others, and
// its inverse.
func toEnd(rank int, axes []int) (perm, inverse []int) {
	for i := range rank {
		if !slices.Contains(axes, i) {
			perm = append(perm, i)
		}
	}
	perm = append(perm, axes...)
	inverse = make([]int, rank)
	for i, p := range perm {
		inverse[p] = i
	}
	return perm, inverse
}

// broadcast is the common shape of operands by numpy's rule.
func broadcast(shapes ...[]int) ([]int, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := slices.Repeat([]int{1}, rank)
	for _, s := range shapes {
		for i, d := range s {
			j := rank - len(s) + i
			if d != 1 && out[j] != 1 && d != out[j] {
				return nil, fmt.Errorf("shapes %v don't broadcast: %d against %d", shapes, d, out[j])
			}
			if d != 1 {
				out[j] = d
			}
		}
	}
	return out, nil
}

// stretch returns the steps of an operand of that shape in a walk over to, a
// shape that it broadcasts to.
func stretch(shape, to []int) []int {
	own := strides(shape)
	steps := make([]int, len(to))
	for i, d := range shape {
		if d != 1 {
			steps[len(to)-len(shape)+i] = own[i]
		}
	}
	return steps
}

// expand broadcasts x to a shape that it fits.
func expand(x *Array, to []int) (*Array, error) {
	if slices.Equal(x.Shape, to) {
		return x, nil
	}
	return view(x, to, stretch(x.Shape, to), 0)
}

// axisOf resolves an axis that may be negative.
func axisOf(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, fmt.Errorf("axis %d is outside of %d dimensions", axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}

// axesOf resolves distinct axes.
func axesOf(axes []int64, rank int) ([]int, error) {
	out := make([]int, len(axes))
	for i, a := range axes {
		var err error
		if out[i], err = axisOf(a, rank); err != nil {
			return nil, err
		}
		if slices.Contains(out[:i], out[i]) {
			return nil, fmt.Errorf("axis %d is given twice in %v", a, axes)
		}
	}
	return out, nil
}
