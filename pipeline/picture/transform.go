package picture

import (
	"fmt"
	"image"
	"slices"
)

// Transformer applies geometries to pictures and masks. It keeps working
// memory between calls; each goroutine needs its own.
type Transformer struct {
	resizer Resizer
	crop    RGB
}

func (g Geometry) window() image.Rectangle {
	return image.Rect(g.Left, g.Top, g.Left+g.Size[1], g.Top+g.Size[0])
}

// Image writes src under geometry g, normalised as p says, to dst (3,H,W).
func (t *Transformer) Image(dst []float32, src *RGB, g Geometry, p Preprocess) error {
	plane := g.Size[0] * g.Size[1]
	if len(dst) != 3*plane {
		return fmt.Errorf("transform: %d values for an image of 3x%dx%d", len(dst), g.Size[0], g.Size[1])
	}
	if err := t.resizer.Resize(&t.crop, src, g.Resized[1], g.Resized[0], g.Filter, g.window()); err != nil {
		return err
	}
	for c := range 3 {
		var level [256]float32 // the same float32 operations as torch's ToTensor and Normalize
		for v := range level {
			level[v] = (float32(v)/255 - p.Mean[c]) / p.Std[c]
		}
		w := g.Size[1]
		for y := range g.Size[0] {
			out := dst[c*plane+y*w:][:w]
			in := t.crop.Pix[3*w*y:][:3*w]
			if g.Mirror {
				for x := range out {
					out[x] = level[in[3*(w-1-x)+c]]
				}
				continue
			}
			for x := range out {
				out[x] = level[in[3*x+c]]
			}
		}
	}
	return nil
}

// Mask writes src under geometry g, bilinear without antialiasing as published,
// to dst (H,W).
func (t *Transformer) Mask(dst []float32, src *Gray, g Geometry) error {
	if err := g.fits(dst, src); err != nil {
		return err
	}
	src.resizeInto(dst, g.Resized[1], g.Resized[0], g.window(), g.Mirror)
	return nil
}

// HardMask writes the nearest values of src under geometry g, as PIL's NEAREST
// takes them and the published segmentation does, to dst (H,W).
func (t *Transformer) HardMask(dst []float32, src *Gray, g Geometry) error {
	if err := g.fits(dst, src); err != nil {
		return err
	}
	window := g.window()
	columns := positions(src.W, g.Resized[1])[window.Min.X:window.Max.X]
	for y, row := range positions(src.H, g.Resized[0])[window.Min.Y:window.Max.Y] {
		line := src.Pix[row*src.W:][:src.W]
		out := dst[y*len(columns):][:len(columns)]
		for x, column := range columns {
			out[x] = line[column]
		}
		if g.Mirror {
			slices.Reverse(out)
		}
	}
	return nil
}

// fits checks that a mask can be written under g.
func (g Geometry) fits(dst []float32, src *Gray) error {
	if len(dst) != g.Size[0]*g.Size[1] {
		return fmt.Errorf("transform: %d values for a mask of %dx%d", len(dst), g.Size[0], g.Size[1])
	}
	if !g.window().In(image.Rect(0, 0, g.Resized[1], g.Resized[0])) || len(src.Pix) != src.W*src.H || src.W == 0 || src.H == 0 {
		return fmt.Errorf("transform: mask of %dx%d cannot be cropped at %v from %dx%d",
			src.W, src.H, g.window(), g.Resized[1], g.Resized[0])
	}
	return nil
}

// Crop returns src under geometry g as a picture.
func Crop(src *RGB, g Geometry) (*RGB, error) {
	dst := new(RGB)
	if err := new(Resizer).Resize(dst, src, g.Resized[1], g.Resized[0], g.Filter, g.window()); err != nil {
		return nil, err
	}
	if g.Mirror {
		dst.mirror()
	}
	return dst, nil
}

func (p *RGB) mirror() {
	for y := range p.H {
		row := p.Pix[3*p.W*y:][:3*p.W]
		for i, j := 0, 3*(p.W-1); i < j; i, j = i+3, j-3 {
			for c := range 3 {
				row[i+c], row[j+c] = row[j+c], row[i+c]
			}
		}
	}
}

// FromTensor turns an image (3,H,W), normalised as p says, back into a picture.
func FromTensor(chw []float32, p Preprocess) (*RGB, error) {
	plane := p.Size[0] * p.Size[1]
	if len(chw) != 3*plane {
		return nil, fmt.Errorf("picture: %d values for an image of 3x%dx%d", len(chw), p.Size[0], p.Size[1])
	}
	out := NewRGB(p.Size[1], p.Size[0])
	for i := range plane {
		for c := range 3 {
			v := (chw[c*plane+i]*p.Std[c]+p.Mean[c])*255 + 0.5
			out.Pix[3*i+c] = uint8(min(max(v, 0), 255))
		}
	}
	return out, nil
}
