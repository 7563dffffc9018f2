package picture

import (
	"fmt"
	"math"
)

// Colour maps a value in [0,1] to the inferno colour map: dark violet over red
// to pale yellow, perceptually uniform, its lightness rising throughout. The
// polynomials are Matt Zucker's fit of degree 6 to matplotlib's table.
func Colour(v float32) (r, g, b uint8) {
	x := float64(v)
	if !(x > 0) { // also NaN
		x = 0
	}
	x = min(x, 1)
	var level [3]uint8
	for c, k := range inferno {
		y := 0.0
		for i := len(k) - 1; i >= 0; i-- {
			y = y*x + k[i]
		}
		level[c] = uint8(math.Round(255 * min(max(y, 0), 1)))
	}
	return level[0], level[1], level[2]
}

// inferno holds, for each channel, coefficients of rising powers.
var inferno = [3][7]float64{
	{0.0002189403691192265, 0.1065134194856116, 11.60249308247187, -41.70399613139459, 77.162935699427, -71.31942824499214, 25.13112622477341},
	{0.001651004631001012, 0.5639564367884091, -3.972853965665698, 17.43639888205313, -33.40235894210092, 32.62606426397723, -12.24266895238567},
	{-0.01948089843709184, 3.932712388889277, -15.9423941062914, 44.35414519872813, -81.80730925738993, 73.20951985803202, -23.07033500287172},
}

// Overlay lays a map, resized bilinearly to the picture, over it: the result
// is (1 - opacity) picture + opacity colour, rounded.
func Overlay(p *RGB, relevance *Gray, opacity float64) (*RGB, error) {
	if relevance.W <= 0 || relevance.H <= 0 || len(relevance.Pix) != relevance.W*relevance.H {
		return nil, fmt.Errorf("overlay: map of %dx%d with %d values", relevance.W, relevance.H, len(relevance.Pix))
	}
	if !(opacity >= 0 && opacity <= 1) {
		return nil, fmt.Errorf("overlay: opacity %v is outside 0 to 1", opacity)
	}
	if relevance.W != p.W || relevance.H != p.H {
		relevance = relevance.Resize(p.W, p.H)
	}
	out := NewRGB(p.W, p.H)
	blend := func(a, b uint8) uint8 {
		return uint8(math.Round((1-opacity)*float64(a) + opacity*float64(b)))
	}
	for i, v := range relevance.Pix {
		r, g, b := Colour(v)
		in, o := p.Pix[3*i:], out.Pix[3*i:]
		o[0], o[1], o[2] = blend(in[0], r), blend(in[1], g), blend(in[2], b)
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
