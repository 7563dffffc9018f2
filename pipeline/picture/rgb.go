// Package picture turns image files into what a model is fed, exactly as PIL
// and torchvision do it, and maps back into pictures: decoding, PIL's
// fixed-point resampling, the published transforms, masks, overlays, PNG.
//
// Arrays are row-major with the shapes (H,W,3) for 8-bit pictures, (H,W) for
// masks and maps, and (3,H,W) for model inputs. Nothing here keeps global
// state, and every function may be called from several goroutines at once on
// different destinations.
package picture

import "fmt"

// RGB is an 8-bit picture; Pix has shape (H,W,3).
type RGB struct {
	W, H int
	Pix  []uint8
}

// NewRGB returns a black picture.
func NewRGB(w, h int) *RGB {
	return &RGB{W: w, H: h, Pix: make([]uint8, 3*w*h)}
}

// reset sets the size and keeps the memory where it suffices.
func (p *RGB) reset(w, h int) {
	p.W, p.H, p.Pix = w, h, grow(p.Pix, 3*w*h)
}

// Trim cuts a border of so many pixels off each side, in place.
func (p *RGB) Trim(border int) error {
	if border == 0 {
		return nil
	}
	w, h := p.W-2*border, p.H-2*border
	if w < 1 || h < 1 {
		return fmt.Errorf("it has %dx%d pixels, too few to cut off a border of %d", p.W, p.H, border)
	}
	for y := range h {
		copy(p.Pix[3*w*y:][:3*w], p.Pix[3*((y+border)*p.W+border):])
	}
	p.reset(w, h)
	return nil
}

// grow returns a slice of length n, in s's memory where that is large enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// Gray is a float picture, such as a mask or a relevance map: Pix has shape
// (H,W) and values in [0,1].
type Gray struct {
	W, H int
	Pix  []float32
}

// NewGray returns a picture of zeros.
func NewGray(w, h int) *Gray {
	return &Gray{W: w, H: h, Pix: make([]float32, w*h)}
}

func (m *Gray) reset(w, h int) {
	m.W, m.H, m.Pix = w, h, grow(m.Pix, w*h)
}
