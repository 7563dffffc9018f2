package demo

import (
	"math"
	"math/rand/v2"
)

// background is a texture of two shades of one hue. Hue and texture belong to
// a class; shades, scale, phase and slant vary, so that no two are equal.
type background struct {
	dark, light  colour
	texture      func(u, v float64) bool // true where it is light; period 1
	scale, slant float64                 // pixels per period, radians
	du, dv       float64                 // phase
}

// grounds holds hue and texture of each class of Classes.
var grounds = []struct {
	hue     colour
	texture func(u, v float64) bool
}{
	{colour{70, 150, 70}, func(u, _ float64) bool { return fraction(u) < 0.5 }},                                   // green stripes
	{colour{70, 110, 200}, func(u, v float64) bool { return (fraction(u) < 0.5) != (fraction(v) < 0.5) }},         // blue checks
	{colour{200, 160, 90}, func(u, v float64) bool { return math.Hypot(fraction(u)-0.5, fraction(v)-0.5) < 0.3 }}, // sandy dots
	{colour{160, 80, 170}, func(u, v float64) bool { return fraction(v+0.25*math.Sin(2*math.Pi*u)) < 0.5 }},       // violet waves
	{colour{200, 90, 80}, func(u, v float64) bool { return fraction(u) < 0.2 || fraction(v) < 0.2 }},              // red lattice
	{colour{90, 170, 180}, func(u, v float64) bool { return fraction(math.Hypot(u, v)) < 0.5 }},                   // cyan ripples
}

func newBackground(rng *rand.Rand, class, size int) background {
	g := grounds[class]
	depth := 0.12 + 0.08*rng.Float64()
	light := 0.55 + 0.2*rng.Float64()
	b := background{
		texture: g.texture,
		scale:   float64(size) * (0.14 + 0.06*rng.Float64()),
		slant:   math.Pi * rng.Float64(),
		du:      rng.Float64(), dv: rng.Float64(),
	}
	for c := range 3 {
		b.dark[c] = g.hue[c] * light * (1 - depth)
		b.light[c] = g.hue[c] * light * (1 + depth)
	}
	return b
}

func (b background) at(x, y float64) colour {
	sin, cos := math.Sincos(b.slant)
	if b.texture((cos*x+sin*y)/b.scale+b.du, (cos*y-sin*x)/b.scale+b.dv) {
		return b.light
	}
	return b.dark
}

func fraction(x float64) float64 { return x - math.Floor(x) }
