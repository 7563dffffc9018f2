package picture

import (
	"image"
	"image/color"
)

// tiffImage collects a TIFF file's samples in the kind of picture that they
// make: grey, grey of 16 bits, with a palette, or colours, of which CMYK keeps
// black, and alpha that RGB was multiplied by, in A until all are there.
type tiffImage struct {
	f        *tiffFile
	gray     *image.Gray
	gray16   *image.Gray16
	paletted *image.Paletted
	colours  *image.NRGBA
	premul   bool
}

func newTIFFImage(f *tiffFile) *tiffImage {
	m, r := &tiffImage{f: f}, image.Rect(0, 0, f.w, f.h)
	switch {
	case f.photometric == tiffPalette:
		n, table := 1<<f.depth, f.tags[tiffColours]
		palette := make(color.Palette, n)
		for i := range palette {
			palette[i] = color.RGBA{uint8(table[i] >> 8), uint8(table[n+i] >> 8), uint8(table[2*n+i] >> 8), 255}
		}
		m.paletted = image.NewPaletted(r, palette)
	case f.photometric == tiffRGB || f.photometric == tiffCMYK:
		m.colours = image.NewNRGBA(r)
		m.premul = f.photometric == tiffRGB && f.samples > 3 && f.first(tiffExtra, 0) == 1
	case f.depth == 16:
		m.gray16 = image.NewGray16(r)
	default:
		m.gray = image.NewGray(r)
	}
	return m
}

// set takes sample c of a pixel; those beyond the colours are passed over.
func (m *tiffImage) set(x, y, c int, v uint16) {
	switch {
	case m.colours != nil:
		if c < 4 {
			if m.f.depth == 16 {
				v >>= 8
			}
			m.colours.Pix[y*m.colours.Stride+4*x+c] = uint8(v)
		}
	case c > 0:
	case m.paletted != nil:
		m.paletted.Pix[y*m.paletted.Stride+x] = uint8(v)
	default:
		full := uint16(1<<m.f.depth - 1)
		if m.f.photometric == tiffWhiteIsZero {
			v = full - v
		}
		if m.gray16 != nil {
			m.gray16.SetGray16(x, y, color.Gray16{Y: v})
		} else {
			m.gray.Pix[y*m.gray.Stride+x] = uint8(v * (255 / full))
		}
	}
}

func (m *tiffImage) finish() image.Image {
	switch {
	case m.paletted != nil:
		return m.paletted
	case m.gray != nil:
		return m.gray
	case m.gray16 != nil:
		return m.gray16
	}
	for i := 0; i < len(m.colours.Pix); i += 4 {
		o := m.colours.Pix[i : i+4]
		for k, v := range o[:3] {
			switch {
			case m.f.photometric == tiffCMYK:
				o[k] = inkToRGB(v, o[3])
			case m.premul && o[3] == 0:
				o[k] = 0
			case m.premul:
				o[k] = uint8(min(255*int(v)/int(o[3]), 255))
			}
		}
		o[3] = 255
	}
	return m.colours
}
