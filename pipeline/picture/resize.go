package picture

import (
	"fmt"
	"image"
	"math"
)

// precisionBits is the fixed-point scale of the 8-bit weights: 8 bits of
// value and 2 of headroom for overshooting filters leave 22 of 32.
const precisionBits = 32 - 8 - 2

// Resizer resamples 8-bit pictures with PIL's arithmetic: weights computed in
// float64 and rounded to fixed point, a horizontal and then a vertical pass,
// rounding and clipping to 8 bits after each. It keeps its working memory
// between calls; it must not be shared by goroutines.
type Resizer struct {
	cols, rows weights
	narrow     []uint8 // after the horizontal pass, (rows,width,3)
	acc        []int32
}

// weights holds, for each output position, the run of input positions that
// contribute, and how much.
type weights struct {
	first, count []int
	size         int // weights stored for a position
	w            []int32
	float        []float64
}

// compute fills the weights for output positions from..to of a line of in
// samples that becomes out samples long.
func (k *weights) compute(f Filter, in, out, from, to int) {
	scale := float64(in) / float64(out)
	filterScale := max(scale, 1)
	support := float64(f.support() * filterScale)
	inverse := 1 / filterScale
	k.size = int(math.Ceil(support))*2 + 1
	k.first, k.count = grow(k.first, to-from), grow(k.count, to-from)
	k.w, k.float = grow(k.w, (to-from)*k.size), grow(k.float, k.size)
	for i := from; i < to; i++ {
		center := float64((float64(i) + 0.5) * scale)
		first := max(int(center-support+0.5), 0)
		count := min(int(center+support+0.5), in) - first
		sum := 0.0
		for x := range count {
			k.float[x] = f.at(float64((float64(x+first) - center + 0.5) * inverse))
			sum += k.float[x]
		}
		w := k.w[(i-from)*k.size:][:k.size]
		for x := range count {
			v := k.float[x]
			if sum != 0 {
				v /= sum
			}
			w[x] = int32(float64(v*(1<<precisionBits)) + math.Copysign(0.5, v))
		}
		k.first[i-from], k.count[i-from] = first, count
	}
}

// Resize returns src at w x h pixels.
func Resize(src *RGB, w, h int, f Filter) (*RGB, error) {
	dst := new(RGB)
	return dst, new(Resizer).Resize(dst, src, w, h, f, image.Rect(0, 0, w, h))
}

// Resize computes the part inside window of src resized to w x h pixels, equal
// to resizing all of it and cropping, and stores it in dst, whose memory is
// reused. dst must not be src.
func (r *Resizer) Resize(dst, src *RGB, w, h int, f Filter, window image.Rectangle) error {
	if err := checkSize(w, h); err != nil {
		return fmt.Errorf("resize: %w", err)
	}
	if src.W <= 0 || src.H <= 0 || len(src.Pix) != 3*src.W*src.H {
		return fmt.Errorf("resize: source of size %dx%d with %d samples", src.W, src.H, len(src.Pix))
	}
	if window.Empty() || !window.In(image.Rect(0, 0, w, h)) {
		return fmt.Errorf("resize: window %v does not lie in %dx%d pixels", window, w, h)
	}
	dst.reset(window.Dx(), window.Dy())
	if f == Nearest {
		nearest(dst, src, w, h, window)
		return nil
	}
	r.rows.compute(f, src.H, h, window.Min.Y, window.Max.Y)
	// Weights of a line that keeps its length are exactly 0 and 1, so passes
	// that PIL skips leave the samples alone here too.
	top := r.rows.first[0]
	last := window.Dy() - 1
	bottom := r.rows.first[last] + r.rows.count[last]
	narrow, stride, offset := src.Pix[3*src.W*top:], 3*src.W, 3*window.Min.X
	if w != src.W {
		r.cols.compute(f, src.W, w, window.Min.X, window.Max.X)
		r.horizontal(src, dst.W, top, bottom)
		narrow, stride, offset = r.narrow, 3*dst.W, 0
	}
	if h == src.H {
		for y := range dst.H {
			copy(dst.Pix[3*dst.W*y:][:3*dst.W], narrow[y*stride+offset:])
		}
		return nil
	}
	r.vertical(dst, narrow[offset:], stride, top)
	return nil
}

// horizontal narrows rows top..bottom to width samples each.
func (r *Resizer) horizontal(src *RGB, width, top, bottom int) {
	r.narrow = grow(r.narrow, 3*width*(bottom-top))
	for y := top; y < bottom; y++ {
		in := src.Pix[3*src.W*y:][:3*src.W]
		out := r.narrow[3*width*(y-top):][:3*width]
		for x := range width {
			count := r.cols.count[x]
			w := r.cols.w[x*r.cols.size:][:count]
			p := in[3*r.cols.first[x]:][:3*count]
			s0, s1, s2 := int32(1<<(precisionBits-1)), int32(1<<(precisionBits-1)), int32(1<<(precisionBits-1))
			for _, weight := range w {
				s0 += int32(p[0]) * weight
				s1 += int32(p[1]) * weight
				s2 += int32(p[2]) * weight
				p = p[3:]
			}
			o := out[3*x : 3*x+3 : 3*x+3]
			o[0], o[1], o[2] = clip(s0), clip(s1), clip(s2)
		}
	}
}

// vertical combines rows of narrow, whose first row is input row top.
func (r *Resizer) vertical(dst *RGB, narrow []uint8, stride, top int) {
	n := 3 * dst.W
	r.acc = grow(r.acc, n)
	acc := r.acc
	for y := range dst.H {
		for i := range acc {
			acc[i] = 1 << (precisionBits - 1)
		}
		for k, weight := range r.rows.w[y*r.rows.size:][:r.rows.count[y]] {
			in := narrow[(r.rows.first[y]-top+k)*stride:][:len(acc)]
			for i, v := range in {
				acc[i] += int32(v) * weight
			}
		}
		out := dst.Pix[n*y:][:len(acc)]
		for i, v := range acc {
			out[i] = clip(v)
		}
	}
}

func clip(v int32) uint8 {
	v >>= precisionBits
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}

// nearest takes the pixel under each output pixel's centre; positions are
// accumulated as PIL does.
func nearest(dst, src *RGB, w, h int, window image.Rectangle) {
	columns := positions(src.W, w)[window.Min.X:window.Max.X]
	for y, row := range positions(src.H, h)[window.Min.Y:window.Max.Y] {
		out := dst.Pix[3*dst.W*y:]
		for x, column := range columns {
			copy(out[3*x:3*x+3], src.Pix[3*(row*src.W+column):])
		}
	}
}

func positions(in, out int) []int {
	p := make([]int, out)
	scale := float64(in) / float64(out)
	at := float64(scale * 0.5)
	for i := range p {
		p[i] = min(int(at), in-1)
		at += scale
	}
	return p
}
