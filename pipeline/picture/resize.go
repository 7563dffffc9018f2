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
// float64 and rounded to fixed point, one pass per direction, rounding and
// clipping to 8 bits after each. It keeps its working memory between calls; it
// must not be shared by goroutines.
type Resizer struct {
	cols, rows weights
	between    []uint8 // after the first pass
}

// weights holds, for each output position, the run of input positions that
// contribute, and how much.
type weights struct {
	first, count []int32
	size         int // weights stored for a position
	w            []int32
	float        []float64
}

// compute fills the weights for output positions from..to of a line of in
// samples that becomes out samples long.
func (k *weights) compute(f Filter, in, out, from, to int) {
	if in == out { // what the filters would give, of many weights that are 0
		k.size, k.first, k.count, k.w = 1, grow(k.first, to-from), grow(k.count, to-from), grow(k.w, to-from)
		for i := range k.w {
			k.first[i], k.count[i], k.w[i] = int32(from+i), 1, 1<<precisionBits
		}
		return
	}
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
		k.first[i-from], k.count[i-from] = int32(first), int32(count)
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
	// A line that keeps its length has weights of exactly 0 and 1, so passes
	// that PIL leaves out change nothing here.
	r.cols.compute(f, src.W, w, window.Min.X, window.Max.X)
	r.rows.compute(f, src.H, h, window.Min.Y, window.Max.Y)
	left, right := r.cols.span()
	top, bottom := r.rows.span()
	in := src.Pix[3*(top*src.W+left):]
	if verticalFirst(src.W, src.H, w, h) {
		width := right - left
		r.between = grow(r.between, 3*width*dst.H)
		r.rows.vertical(r.between, 3*width, in, 3*src.W)
		r.cols.horizontal(dst.Pix, r.between, 3*width, dst.H)
	} else {
		r.between = grow(r.between, 3*dst.W*(bottom-top))
		r.cols.horizontal(r.between, in, 3*src.W, bottom-top)
		r.rows.vertical(dst.Pix, 3*dst.W, r.between, 3*dst.W)
	}
	return nil
}

// verticalFirst is Pillow's order of the passes, which shows in the rounding
// between them: horizontal first, unless (since Pillow 13) the height shrinks
// by more than twice as many pixels as the width does.
func verticalFirst(inW, inH, outW, outH int) bool {
	return inH > outH && inH-outH > 2*(inW-outW)
}

// span is the range of input positions that any output position uses.
func (k *weights) span() (from, to int) {
	last := len(k.first) - 1
	return int(k.first[0]), int(k.first[last] + k.count[last])
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
