package ref

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// apply maps every float.
func apply(x *Array, f func(float64) float64) (*Array, error) {
	y, err := alloc(x.Type, x.Shape)
	if err != nil {
		return nil, err
	}
	for i, v := range x.F {
		y.F[i] = f(v)
	}
	return y, nil
}

// floats is an operator that maps every float.
func floats(f func(float64) float64) kernel {
	return func(c *call) ([]*Array, error) { return one(apply(c.in[0], f)) }
}

// numbers is an operator that maps every number.
func numbers(f func(float64) float64, g func(int64) int64) kernel {
	return func(c *call) ([]*Array, error) {
		x := c.in[0]
		if kindOf(x.Type) == floating {
			return one(apply(x, f))
		}
		y, err := alloc(x.Type, x.Shape)
		if err != nil {
			return nil, err
		}
		for i, v := range x.I {
			y.I[i] = wrap(x.Type, g(v))
		}
		return one(y, nil)
	}
}

// zip fills out, of shape to, with f of two operands that broadcast to it.
func zip[T, U any](out []U, to []int, x []T, xs []int, y []T, ys []int, f func(T, T) U) {
	if slices.Equal(xs, to) && slices.Equal(ys, to) {
		for i := range out {
			out[i] = f(x[i], y[i])
		}
		return
	}
	a, b := stretch(xs, to), stretch(ys, to)
	da, db, rest := last(a), last(b), out
	lines(to, [][]int{a, b}, func(n int, at []int) {
		i, j := at[0], at[1]
		row := rest[:n]
		rest = rest[n:]
		for q := range row {
			row[q] = f(x[i], y[j])
			i += da
			j += db
		}
	})
}

// combine applies f to floats that broadcast.
func combine(x, y *Array, f func(x, y float64) float64) (*Array, error) {
	to, err := broadcast(x.Shape, y.Shape)
	if err != nil {
		return nil, err
	}
	z, err := alloc(x.Type, to)
	if err != nil {
		return nil, err
	}
	zip(z.F, to, x.F, x.Shape, y.F, y.Shape, f)
	return z, nil
}

// combineNumbers is combine for floats and for integers.
func combineNumbers(x, y *Array, f func(x, y float64) float64, g func(x, y int64) int64) (*Array, error) {
	if kindOf(x.Type) == floating {
		return combine(x, y, f)
	}
	to, err := broadcast(x.Shape, y.Shape)
	if err != nil {
		return nil, err
	}
	z, err := alloc(x.Type, to)
	if err != nil {
		return nil, err
	}
	zip(z.I, to, x.I, x.Shape, y.I, y.Shape, func(a, b int64) int64 { return wrap(x.Type, g(a, b)) })
	return z, nil
}

// arithmetic is an operator on two numbers of one type.
func arithmetic(f func(x, y float64) float64, g func(x, y int64) int64) kernel {
	return func(c *call) ([]*Array, error) { return one(combineNumbers(c.in[0], c.in[1], f, g)) }
}

// fold is an operator on any number of numbers of one type.
func fold(f func(x, y float64) float64, g func(x, y int64) int64) kernel {
	return func(c *call) ([]*Array, error) {
		y := c.in[0]
		for _, x := range c.in[1:] {
			var err error
			if y, err = combineNumbers(y, x, f, g); err != nil {
				return nil, err
			}
		}
		return one(y, nil)
	}
}

// mean is the elementwise mean of its operands.
func mean(c *call) ([]*Array, error) {
	y, err := fold(add[float64], add[int64])(c)
	if err != nil {
		return nil, err
	}
	n := float64(len(c.in))
	return one(apply(y[0], func(x float64) float64 { return x / n }))
}

// predicate is an operator that compares elements of one type; with h also
// booleans.
func predicate(f func(x, y float64) bool, g func(x, y int64) bool, h func(x, y bool) bool) kernel {
	return func(c *call) ([]*Array, error) {
		x, y := c.in[0], c.in[1]
		to, err := broadcast(x.Shape, y.Shape)
		if err != nil {
			return nil, err
		}
		z, err := alloc(onnx.Bool, to)
		if err != nil {
			return nil, err
		}
		switch kindOf(x.Type) {
		case floating:
			zip(z.B, to, x.F, x.Shape, y.F, y.Shape, f)
		case integer:
			zip(z.B, to, x.I, x.Shape, y.I, y.Shape, g)
		case boolean:
			zip(z.B, to, x.B, x.Shape, y.B, y.Shape, h)
		}
		return one(z, nil)
	}
}

// logic is an operator on two booleans.
func logic(f func(x, y bool) bool) kernel { return predicate(nil, nil, f) }

// test is an operator that asks something of every float.
func test(f func(c *call, x float64) bool) kernel {
	return func(c *call) ([]*Array, error) {
		y, err := alloc(onnx.Bool, c.in[0].Shape)
		if err != nil {
			return nil, err
		}
		for i, x := range c.in[0].F {
			y.B[i] = f(c, x)
		}
		return one(y, nil)
	}
}

func isNaN(_ *call, x float64) bool { return math.IsNaN(x) }

func isInf(c *call, x float64) bool {
	return c.node.Int("detect_positive", 1) != 0 && math.IsInf(x, 1) ||
		c.node.Int("detect_negative", 1) != 0 && math.IsInf(x, -1)
}

func not(c *call) ([]*Array, error) {
	y := c.in[0].clone()
	for i, x := range y.B {
		y.B[i] = !x
	}
	return one(y, nil)
}

func add[T float64 | int64](x, y T) T { return x + y }
func sub[T float64 | int64](x, y T) T { return x - y }
func mul[T float64 | int64](x, y T) T { return x * y }

// largest and smallest give NaN where either operand is.
func largest[T float64 | int64](x, y T) T  { return max(x, y) }
func smallest[T float64 | int64](x, y T) T { return min(x, y) }

func equal[T comparable](x, y T) bool               { return x == y }
func less[T float64 | int64](x, y T) bool           { return x < y }
func lessOrEqual[T float64 | int64](x, y T) bool    { return x <= y }
func greater[T float64 | int64](x, y T) bool        { return x > y }
func greaterOrEqual[T float64 | int64](x, y T) bool { return x >= y }

var errZero = errors.New("integer division by zero")

// div truncates integers.
func div(c *call) ([]*Array, error) {
	if slices.Contains(c.in[1].I, 0) {
		return nil, errZero
	}
	return arithmetic(func(x, y float64) float64 { return x / y }, func(x, y int64) int64 { return x / y })(c)
}

// mod takes the sign of the divisor, or with fmod that of the dividend.
func mod(c *call) ([]*Array, error) {
	if slices.Contains(c.in[1].I, 0) {
		return nil, errZero
	}
	if c.node.Int("fmod", 0) != 0 {
		return arithmetic(math.Mod, func(x, y int64) int64 { return x % y })(c)
	}
	if kindOf(c.in[0].Type) == floating {
		return nil, errors.New("floats need fmod=1")
	}
	return arithmetic(nil, func(x, y int64) int64 {
		r := x % y
		if r != 0 && (r < 0) != (y < 0) {
			r += y
		}
		return r
	})(c)
}

// pow gives the type of the base.
func pow(c *call) ([]*Array, error) {
	x, y := c.in[0], c.in[1]
	if kindOf(x.Type) == integer && kindOf(y.Type) == integer {
		return one(combineNumbers(x, y, nil, intPow))
	}
	xf, err := cast(x, onnx.Double)
	if err != nil {
		return nil, err
	}
	yf, err := cast(y, onnx.Double)
	if err != nil {
		return nil, err
	}
	z, err := combine(xf, yf, math.Pow)
	if err != nil {
		return nil, err
	}
	return one(cast(z, x.Type))
}

func intPow(x, y int64) int64 {
	if y < 0 {
		return int64(math.Pow(float64(x), float64(y)))
	}
	r := int64(1)
	for ; y > 0; y >>= 1 {
		if y&1 == 1 {
			r *= x
		}
		x *= x
	}
	return r
}

// clip is min(max(x, low), high): where low is above high, high.
func clip(c *call) ([]*Array, error) {
	y := c.in[0]
	for i, pull := range []kernel{nil, fold(largest[float64], largest[int64]), fold(smallest[float64], smallest[int64])} {
		if i == 0 || c.in[i] == nil {
			continue
		}
		if c.in[i].Count() != 1 {
			return nil, fmt.Errorf("bound %v is no scalar", c.in[i])
		}
		out, err := pull(&call{c.node, []*Array{y, c.in[i].reshaped()}})
		if err != nil {
			return nil, err
		}
		y = out[0]
	}
	return one(y, nil)
}

func where(c *call) ([]*Array, error) {
	to, err := broadcast(c.in[0].Shape, c.in[1].Shape, c.in[2].Shape)
	if err != nil {
		return nil, err
	}
	cond, err := expand(c.in[0], to)
	if err != nil {
		return nil, err
	}
	x, err := expand(c.in[1], to)
	if err != nil {
		return nil, err
	}
	y, err := view(c.in[2], to, stretch(c.in[2].Shape, to), 0)
	if err != nil {
		return nil, err
	}
	switch kindOf(y.Type) {
	case floating:
		overwrite(y.F, x.F, cond.B)
	case integer:
		overwrite(y.I, x.I, cond.B)
	case boolean:
		overwrite(y.B, x.B, cond.B)
	}
	return one(y, nil)
}

// overwrite copies the elements of src where the mask says so.
func overwrite[T any](dst, src []T, mask []bool) {
	for i, b := range mask {
		if b {
			dst[i] = src[i]
		}
	}
}

// prelu multiplies negative elements by a slope that broadcasts to x.
func prelu(c *call) ([]*Array, error) {
	return one(combineNumbers(c.in[0], c.in[1], func(x, s float64) float64 {
		if x < 0 {
			return s * x
		}
		return x
	}, func(x, s int64) int64 {
		if x < 0 {
			return s * x
		}
		return x
	}))
}
