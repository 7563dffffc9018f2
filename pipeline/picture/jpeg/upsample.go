package jpeg

// Upsampling to full size. Where a component has half the width, half the
// height or both, libjpeg's default is the triangle filter: each output sample
// is 3/4 of the nearer input sample and 1/4 of the farther one in each halved
// direction, with a rounding bias that alternates so as not to drift. Other
// ratios, and very narrow pictures, repeat samples.

// row returns component i's samples for output row y at full width.
func (d *decoder) row(i, y int) []byte {
	c := &d.comps[i]
	hx, vx := d.hMax/c.h, d.vMax/c.v
	if hx == 1 && vx == 1 {
		return c.line(y)
	}
	out := d.scratch.rows[i]
	switch {
	case hx == 2 && vx == 1 && c.width > 2:
		doubleWidth(out, c.line(y))
	case hx == 1 && vx == 2:
		near, far, bias := c.line(y/2), c.line(c.neighbour(y)), int32(1+y%2)
		for x := range c.width {
			out[x] = uint8((3*int32(near[x]) + int32(far[x]) + bias) >> 2)
		}
	case hx == 2 && vx == 2 && c.width > 2:
		near, far := c.line(y/2), c.line(c.neighbour(y))
		sums := d.scratch.sums[:c.width]
		for x := range sums {
			sums[x] = 3*int32(near[x]) + int32(far[x])
		}
		doubleWidthOfSums(out, sums)
	default:
		src := c.line(y / vx)
		for x := range c.width * hx {
			out[x] = src[x/hx]
		}
	}
	return out
}

func (c *component) line(y int) []byte { return c.plane[y*c.stride:][:c.width] }

// neighbour is the second nearest input row to output row y, at half height.
func (c *component) neighbour(y int) int {
	if y%2 == 0 {
		return max(y/2-1, 0)
	}
	return min(y/2+1, c.height-1)
}

func doubleWidth(out, in []byte) {
	n := len(in)
	out = out[:2*n]
	out[0] = in[0]
	out[1] = uint8((3*int32(in[0]) + int32(in[1]) + 2) >> 2)
	for x := 1; x < n-1; x++ {
		v := 3 * int32(in[x])
		out[2*x] = uint8((v + int32(in[x-1]) + 1) >> 2)
		out[2*x+1] = uint8((v + int32(in[x+1]) + 2) >> 2)
	}
	out[2*n-2] = uint8((3*int32(in[n-1]) + int32(in[n-2]) + 1) >> 2)
	out[2*n-1] = in[n-1]
}

func doubleWidthOfSums(out []byte, in []int32) {
	n := len(in)
	out = out[:2*n]
	out[0] = uint8((4*in[0] + 8) >> 4)
	out[1] = uint8((3*in[0] + in[1] + 7) >> 4)
	last, this := in[0], in[1]
	for x := 1; x < n-1; x++ {
		next := in[x+1]
		out[2*x] = uint8((3*this + last + 8) >> 4)
		out[2*x+1] = uint8((3*this + next + 7) >> 4)
		last, this = this, next
	}
	out[2*n-2] = uint8((3*this + last + 8) >> 4)
	out[2*n-1] = uint8((4*this + 7) >> 4)
}
