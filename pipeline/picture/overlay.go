package picture

import (
	"fmt"
	"math"
)

// Colour maps a value in [0,1] to the inferno colour map.
func Colour(v float32) (r, g, b uint8) { return Inferno.Colour(v) }

// Overlay lays a map over a picture in inferno's colours: see ColourMap.Overlay.
func Overlay(p *RGB, relevance *Gray, opacity float64) (*RGB, error) {
	return Inferno.Overlay(p, relevance, opacity)
}

// Overlay lays a map, resized bilinearly to the picture, over it: the result
// is (1 - opacity) picture + opacity colour, rounded.
func (m *ColourMap) Overlay(p *RGB, relevance *Gray, opacity float64) (*RGB, error) {
	if relevance.W <= 0 || relevance.H <= 0 || len(relevance.Pix) != relevance.W*relevance.H {
		return nil, fmt.Errorf("overlay: map of %dx%d with %d values", relevance.W, relevance.H, len(relevance.Pix))
	}
	if !(opacity >= 0 && opacity <= 1) {
		return nil, fmt.Errorf("overlay: opacity %v is outside 0 to 1", opacity)
	}
	if relevance.W != p.W || relevance.H != p.H {
		relevance = relevance.Resize(p.W, p.H)
	}
	var under [256]float64
	for i := range under {
		under[i] = (1 - opacity) * float64(i)
	}
	out := NewRGB(p.W, p.H)
	for i, v := range relevance.Pix {
		colour := m.colours[m.index(v)]
		in, o := p.Pix[3*i:3*i+3], out.Pix[3*i:3*i+3]
		for c := range o {
			o[c] = uint8(under[in[c]] + opacity*float64(colour[c]) + 0.5)
		}
	}
	return out, nil
}

// RGB renders values in [0,1] as grey levels.
func (m *Gray) RGB() *RGB {
	out := NewRGB(m.W, m.H)
	for i, v := range m.Pix {
		level := uint8(math.Round(255 * float64(min(max(v, 0), 1))))
		out.Pix[3*i], out.Pix[3*i+1], out.Pix[3*i+2] = level, level, level
	}
	return out
}
