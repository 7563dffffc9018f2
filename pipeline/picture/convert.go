package picture

import (
	"image"
	"image/color"
)

// convert takes over a decoded picture as PIL does: alpha is dropped without
// blending, and so is the low byte of 16-bit colours, but 16-bit grey is cut off
// at 255.
func (p *RGB) convert(img image.Image) {
	b := img.Bounds()
	p.reset(b.Dx(), b.Dy())
	switch m := img.(type) {
	case *image.Gray:
		p.fill(func(x, y int) (r, g, b uint8) {
			v := m.Pix[y*m.Stride+x]
			return v, v, v
		})
	case *image.Gray16:
		p.fill(func(x, y int) (r, g, b uint8) {
			v := m.Pix[y*m.Stride+2*x+1]
			if m.Pix[y*m.Stride+2*x] > 0 {
				v = 255
			}
			return v, v, v
		})
	case *image.Paletted:
		colours := make([]color.NRGBA, len(m.Palette))
		for i, c := range m.Palette {
			colours[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
		}
		p.fill(func(x, y int) (r, g, b uint8) {
			i := int(m.Pix[y*m.Stride+x])
			if i >= len(colours) {
				return 0, 0, 0
			}
			return colours[i].R, colours[i].G, colours[i].B
		})
	case *image.NRGBA:
		p.fill(func(x, y int) (r, g, b uint8) {
			o := m.Pix[y*m.Stride+4*x:]
			return o[0], o[1], o[2]
		})
	case *image.NRGBA64:
		p.fill(func(x, y int) (r, g, b uint8) {
			o := m.Pix[y*m.Stride+8*x:]
			return o[0], o[2], o[4]
		})
	case *image.RGBA64:
		if m.Opaque() {
			p.fill(func(x, y int) (r, g, b uint8) {
				o := m.Pix[y*m.Stride+8*x:]
				return o[0], o[2], o[4]
			})
			return
		}
		p.convertAny(img)
	default:
		p.convertAny(img)
	}
}

func (p *RGB) convertAny(img image.Image) {
	origin := img.Bounds().Min
	p.fill(func(x, y int) (r, g, b uint8) {
		c := color.NRGBAModel.Convert(img.At(origin.X+x, origin.Y+y)).(color.NRGBA)
		return c.R, c.G, c.B
	})
}

func (p *RGB) fill(at func(x, y int) (r, g, b uint8)) {
	i := 0
	for y := range p.H {
		for x := range p.W {
			p.Pix[i], p.Pix[i+1], p.Pix[i+2] = at(x, y)
			i += 3
		}
	}
}
