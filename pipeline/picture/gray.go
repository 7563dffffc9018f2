package picture

import "image"

// Resize interpolates bilinearly without antialiasing, in float32, exactly as
// torch's F.interpolate(mode="bilinear", align_corners=False) does.
func (m *Gray) Resize(w, h int) *Gray {
	dst := NewGray(w, h)
	m.resizeInto(dst.Pix, w, h, image.Rect(0, 0, w, h), false)
	return dst
}

// resizeInto stores the part inside window of p resized to w x h, mirrored
// left to right on request, as (window.Dy(),window.Dx()) in dst.
func (m *Gray) resizeInto(dst []float32, w, h int, window image.Rectangle, mirror bool) {
	columns := make([]tap, window.Dx())
	for x := range columns {
		at := x
		if mirror {
			at = len(columns) - 1 - x
		}
		columns[x] = newTap(window.Min.X+at, m.W, w)
	}
	for y := range window.Dy() {
		row := newTap(window.Min.Y+y, m.H, h)
		upper, lower := m.Pix[row.near*m.W:][:m.W], m.Pix[row.far*m.W:][:m.W]
		out := dst[y*len(columns):][:len(columns)]
		for x, c := range columns {
			a := float32((1-c.share)*upper[c.near]) + float32(c.share*upper[c.far])
			b := float32((1-c.share)*lower[c.near]) + float32(c.share*lower[c.far])
			out[x] = float32((1-row.share)*a) + float32(row.share*b)
		}
	}
}

// tap says which two samples of a line an interpolated one comes from, and
// the share of the far one.
type tap struct {
	near, far int
	share     float32
}

func newTap(i, in, out int) tap {
	scale := float32(in) / float32(out)
	at := max(float32(scale*(float32(i)+0.5))-0.5, 0)
	near := min(int(at), in-1)
	return tap{near: near, far: min(near+1, in-1), share: at - float32(near)}
}

// ResizeNearest takes sample floor(i*in/out), as torch's mode="nearest" does.
func (m *Gray) ResizeNearest(w, h int) *Gray {
	dst := NewGray(w, h)
	for y := range h {
		in := m.Pix[y*m.H/h*m.W:][:m.W]
		for x := range w {
			dst.Pix[y*w+x] = in[x*m.W/w]
		}
	}
	return dst
}
