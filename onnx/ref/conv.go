package ref

import (
	"errors"
	"fmt"
	"slices"
)

// spatial splits (B, channels, sizes...).
func spatial(x *Array) (batch, channels int, sizes []int, err error) {
	if len(x.Shape) < 3 {
		return 0, 0, nil, fmt.Errorf("%v has no spatial dimensions", x)
	}
	return x.Shape[0], x.Shape[1], x.Shape[2:], nil
}

// conv lays the input out as a matrix with a row for each channel and tap and
// a column for each position of the output, and multiplies the weight with it.
func conv(c *call) ([]*Array, error) {
	x, weight := c.in[0], c.in[1]
	batch, channels, in, err := spatial(x)
	if err != nil {
		return nil, err
	}
	groups := int(c.node.Int("group", 1))
	if groups < 1 || len(weight.Shape) != len(x.Shape) || weight.Shape[1]*groups != channels || weight.Shape[0]%groups != 0 {
		return nil, fmt.Errorf("weight %v with %d groups doesn't fit %v", weight, groups, x)
	}
	w, err := c.window(in, weight.Shape[2:])
	if err != nil {
		return nil, err
	}
	if err := w.fit(c.node.Str("auto_pad", "NOTSET"), false); err != nil {
		return nil, err
	}
	index, _ := w.index()
	filters, size, outs := weight.Shape[0], product(in), product(w.out)
	y, err := alloc(x.Type, slices.Concat([]int{batch, filters}, w.out))
	if err != nil {
		return nil, err
	}
	m, k := filters/groups, weight.Shape[1]*product(w.kernel)
	if _, err := count([]int{k, outs}); err != nil {
		return nil, err
	}
	columns := make([]float64, k*outs)
	for g := range batch * groups {
		for ch := range weight.Shape[1] {
			plane := x.F[(g*weight.Shape[1]+ch)*size:][:size]
			for i, at := range index {
				v := 0.0
				if at >= 0 {
					v = plane[at]
				}
				columns[ch*len(index)+i] = v
			}
		}
		multiply(y.F[g*m*outs:(g+1)*m*outs], weight.F[g%groups*m*k:][:m*k], columns, m, k, outs)
	}
	return c.biased(y, c.in[2])
}

// biased adds a bias for each channel, if there is one.
func (c *call) biased(y, bias *Array) ([]*Array, error) {
	if bias == nil {
		return one(y, nil)
	}
	b, err := channels(bias, y)
	if err != nil {
		return nil, err
	}
	return one(combine(y, b, add))
}

// convTranspose is the transpose of the convolution that maps its output to
// its input: products with the transposed weight, added up where the taps lie.
func convTranspose(c *call) ([]*Array, error) {
	x, weight := c.in[0], c.in[1]
	batch, channels, in, err := spatial(x)
	if err != nil {
		return nil, err
	}
	groups := int(c.node.Int("group", 1))
	if groups < 1 || len(weight.Shape) != len(x.Shape) || weight.Shape[0] != channels || channels%groups != 0 {
		return nil, fmt.Errorf("weight %v with %d groups doesn't fit %v", weight, groups, x)
	}
	w, err := c.transposedWindow(in, weight.Shape[2:])
	if err != nil {
		return nil, err
	}
	index, _ := w.index()
	filters, taps, size, ins := weight.Shape[1], product(w.kernel), product(w.in), product(in)
	y, err := alloc(x.Type, slices.Concat([]int{batch, filters * groups}, w.in))
	if err != nil {
		return nil, err
	}
	flat, err := permute(weight.reshaped(groups, channels/groups, filters*taps), []int{0, 2, 1})
	if err != nil {
		return nil, err
	}
	m, k := filters*taps, channels/groups
	if _, err := count([]int{m, ins}); err != nil {
		return nil, err
	}
	for g := range batch * groups {
		columns := make([]float64, m*ins)
		multiply(columns, flat.F[g%groups*m*k:][:m*k], x.F[g*k*ins:][:k*ins], m, k, ins)
		for f := range filters {
			plane := y.F[(g*filters+f)*size:][:size]
			for i, at := range index {
				if at >= 0 {
					plane[at] += columns[f*len(index)+i]
				}
			}
		}
	}
	return c.biased(y, c.in[2])
}

// transposedWindow is the window over the output of a ConvTranspose whose
// input has the given sizes.
func (c *call) transposedWindow(sizes, kernel []int) (*window, error) {
	w, err := c.window(sizes, kernel)
	if err != nil {
		return nil, err
	}
	extra, err := c.perAxis("output_padding", len(sizes), 0, 0)
	if err != nil {
		return nil, err
	}
	want, err := c.perAxis("output_shape", len(sizes), 0, 1)
	if err != nil {
		return nil, err
	}
	autoPad := c.node.Str("auto_pad", "NOTSET")
	w.in, w.out = make([]int, len(sizes)), sizes
	for d, n := range sizes {
		if n == 0 {
			return nil, errors.New("a spatial dimension is empty")
		}
		full := w.stride[d]*(n-1) + extra[d] + w.span(d)
		same := autoPad == "SAME_UPPER" || autoPad == "SAME_LOWER"
		switch {
		case c.node.Ints("output_shape") != nil:
			w.in[d] = want[d]
		case same:
			w.in[d] = n * w.stride[d]
		default:
			if autoPad == "VALID" {
				w.begin[d], w.end[d] = 0, 0
			}
			w.in[d] = full - w.begin[d] - w.end[d]
		}
		if w.in[d] < 1 {
			return nil, fmt.Errorf("padding leaves nothing of dimension %d", d)
		}
		if same || c.node.Ints("output_shape") != nil {
			w.share(d, max(0, full-w.in[d]), autoPad == "SAME_UPPER")
		}
	}
	_, err = count(slices.Concat(w.kernel, w.out))
	return w, err
}

// averagePool means over the taps in the input, or with count_include_pad
// also over those in the padding.
func averagePool(c *call) ([]*Array, error) {
	y, w, err := c.pooled()
	if err != nil {
		return nil, err
	}
	index, reach := w.index()
	outs, size := len(reach), product(w.in)
	all := c.node.Int("count_include_pad", 0) != 0
	for i := range y.F {
		o, base, n := i%outs, i/outs*size, 0
		for t := o; t < len(index); t += outs {
			if index[t] >= 0 {
				y.F[i] += c.in[0].F[base+index[t]]
				n++
			}
		}
		if all {
			n = reach[o]
		}
		y.F[i] /= float64(n)
	}
	return one(y, nil)
}

// maxPool gives the largest element of each window, and where in the flat
// input it lies.
func maxPool(c *call) ([]*Array, error) {
	if c.node.Int("storage_order", 0) != 0 {
		return nil, errors.New("storage_order=1 isn't evaluated")
	}
	y, w, err := c.pooled()
	if err != nil {
		return nil, err
	}
	index, reach := w.index()
	outs, size := len(reach), product(w.in)
	where := make([]int64, len(y.F))
	for i := range y.F {
		o, base, best := i%outs, i/outs*size, -1
		for t := o; t < len(index); t += outs {
			if index[t] >= 0 && (best < 0 || c.in[0].F[base+index[t]] > c.in[0].F[best]) {
				best = base + index[t]
			}
		}
		if best < 0 {
			return nil, errors.New("a window lies in the padding alone")
		}
		y.F[i], where[i] = c.in[0].F[best], int64(best)
	}
	return []*Array{y, Ints(where, y.Shape...)}, nil
}

// pooled allocates the output of a pool and works out its window.
func (c *call) pooled() (*Array, *window, error) {
	batch, channels, in, err := spatial(c.in[0])
	if err != nil {
		return nil, nil, err
	}
	w, err := c.window(in, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := w.fit(c.node.Str("auto_pad", "NOTSET"), c.node.Int("ceil_mode", 0) != 0); err != nil {
		return nil, nil, err
	}
	y, err := alloc(c.in[0].Type, slices.Concat([]int{batch, channels}, w.out))
	return y, w, err
}

// globalPool reduces all spatial dimensions to size 1.
func globalPool(f func([]float64) float64) kernel {
	return func(c *call) ([]*Array, error) {
		x := c.in[0]
		if len(x.Shape) < 2 {
			return nil, fmt.Errorf("%v has no channels", x)
		}
		shape := slices.Repeat([]int{1}, len(x.Shape))
		copy(shape, x.Shape[:2])
		y, err := alloc(x.Type, shape)
		if err != nil {
			return nil, err
		}
		n := product(x.Shape[2:])
		for i := range y.F {
			y.F[i] = f(x.F[i*n : i*n+n])
		}
		return one(y, nil)
	}
}
