package ref

import (
	"fmt"
)

// multiply adds the product of a (m,k) and b (k,n) to c (m,n). Four rows of b
// at a time go through a row of c, which stays in the cache.
func multiply[T float64 | int64](c, a, b []T, m, k, n int) {
	for i := range m {
		row, x := c[i*n:i*n+n], a[i*k:i*k+k]
		p := 0
		for ; p+4 <= k; p += 4 {
			x0, x1, x2, x3 := x[p], x[p+1], x[p+2], x[p+3]
			b0, b1 := b[p*n : p*n+n][:len(row)], b[(p+1)*n : (p+1)*n+n][:len(row)]
			b2, b3 := b[(p+2)*n : (p+2)*n+n][:len(row)], b[(p+3)*n : (p+3)*n+n][:len(row)]
			for j := range row {
				row[j] += x0*b0[j] + x1*b1[j] + x2*b2[j] + x3*b3[j]
			}
		}
		for ; p < k; p++ {
			x0, b0 := x[p], b[p*n : p*n+n][:len(row)]
			for j := range row {
				row[j] += x0 * b0[j]
			}
		}
	}
}

// matmul is numpy's: vectors count as matrices of one row or column, leading
// dimensions broadcast.
func matmul(x, y *Array) (*Array, error) {
	if len(x.Shape) == 0 || len(y.Shape) == 0 {
		return nil, fmt.Errorf("can't multiply %v with %v: a scalar is no matrix", x, y)
	}
	xs, ys := x.Shape, y.Shape
	if len(xs) == 1 {
		xs = []int{1, xs[0]}
	}
	if len(ys) == 1 {
		ys = []int{ys[0], 1}
	}
	xb, yb := xs[:len(xs)-2], ys[:len(ys)-2]
	m, k, n := xs[len(xs)-2], xs[len(xs)-1], ys[len(ys)-1]
	if ys[len(ys)-2] != k {
		return nil, fmt.Errorf("can't multiply %v with %v: %d columns against %d rows", x, y, k, ys[len(ys)-2])
	}
	batch, err := broadcast(xb, yb)
	if err != nil {
		return nil, err
	}
	shape := append([]int{}, batch...)
	if len(x.Shape) > 1 {
		shape = append(shape, m)
	}
	if len(y.Shape) > 1 {
		shape = append(shape, n)
	}
	z, err := alloc(x.Type, shape)
	if err != nil {
		return nil, err
	}
	if len(z.F)+len(z.I) == 0 {
		return z, nil
	}
	a, b, o := stretch(xb, batch), stretch(yb, batch), 0
	lines(batch, [][]int{a, b}, func(line int, at []int) {
		for q := range line {
			i, j := (at[0]+q*last(a))*m*k, (at[1]+q*last(b))*k*n
			if kindOf(x.Type) == floating {
				multiply(z.F[o:o+m*n], x.F[i:i+m*k], y.F[j:j+k*n], m, k, n)
			} else {
				multiply(z.I[o:o+m*n], x.I[i:i+m*k], y.I[j:j+k*n], m, k, n)
			}
			o += m * n
		}
	})
	for i, v := range z.I {
		z.I[i] = wrap(z.Type, v)
	}
	return z, nil
}

func matmulOp(c *call) ([]*Array, error) { return one(matmul(c.in[0], c.in[1])) }

// gemm is alpha A' B' + beta C, where C broadcasts.
func gemm(c *call) ([]*Array, error) {
	x, y := c.in[0], c.in[1]
	if len(x.Shape) != 2 || len(y.Shape) != 2 {
		return nil, fmt.Errorf("operands are %v and %v, expected matrices", x, y)
	}
	var err error
	if c.node.Int("transA", 0) != 0 {
		if x, err = permute(x, []int{1, 0}); err != nil {
			return nil, err
		}
	}
	if c.node.Int("transB", 0) != 0 {
		if y, err = permute(y, []int{1, 0}); err != nil {
			return nil, err
		}
	}
	z, err := matmul(x, y)
	if err != nil {
		return nil, err
	}
	if z, err = scaled(z, c.node.Decimal("alpha", 1)); err != nil || c.in[2] == nil {
		return one(z, err)
	}
	bias, err := scaled(c.in[2], c.node.Decimal("beta", 1))
	if err != nil {
		return nil, err
	}
	sum, err := combineNumbers(z, bias, add, add)
	if err == nil && len(sum.Shape) > 2 || err == nil && sum.Count() != z.Count() {
		err = fmt.Errorf("the bias is %v, which doesn't broadcast to the product's %v", c.in[2], z.Shape)
	}
	return one(sum, err)
}

// scaled multiplies by a number; integers are truncated.
func scaled(x *Array, by float64) (*Array, error) {
	if by == 1 {
		return x, nil
	}
	if kindOf(x.Type) == floating {
		return apply(x, func(v float64) float64 { return v * by })
	}
	y, err := alloc(x.Type, x.Shape)
	if err != nil {
		return nil, err
	}
	for i, v := range x.I {
		y.I[i] = wrap(x.Type, truncate(float64(v)*by))
	}
	return y, nil
}
