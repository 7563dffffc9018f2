package demo

import (
	"math"
	"math/rand/v2"
)

// placedShape is a shape of radius 1 at the origin, moved into a picture.
type placedShape struct {
	inside   func(u, v float64) bool
	x, y     float64 // centre, pixels
	radius   float64 // pixels
	sin, cos float64 // rotation
}

// shapes holds the inside of each class of Classes, all of them within the
// circle of radius 1.
var shapes = []func(u, v float64) bool{
	func(u, v float64) bool { return u*u+v*v <= 0.9*0.9 },
	func(u, v float64) bool { return max(math.Abs(u), math.Abs(v)) <= 0.7 },
	func(u, v float64) bool { return insideRegular(u, v, 3, 0.5) },
	func(u, v float64) bool {
		return min(math.Abs(u), math.Abs(v)) <= 0.27 && max(math.Abs(u), math.Abs(v)) <= 0.95
	},
	func(u, v float64) bool { r := u*u + v*v; return r <= 0.95*0.95 && r >= 0.55*0.55 },
	insideStar,
}

func newPlacedShape(rng *rand.Rand, label, size int) placedShape {
	s := float64(size)
	radius := s * (0.2 + 0.1*rng.Float64())
	room := s - 2*radius
	angle := 0.6 * (rng.Float64() - 0.5) // about 17 degrees to either side
	return placedShape{
		inside: shapes[label], radius: radius,
		x: radius + room*rng.Float64(), y: radius + room*rng.Float64(),
		sin: math.Sin(angle), cos: math.Cos(angle),
	}
}

// nearness is 1 on the disc around the shape and falls to 0 beyond it.
func (s placedShape) nearness(x, y int) float64 {
	d := math.Hypot(float64(x)+0.5-s.x, float64(y)+0.5-s.y) - s.radius
	return min(max(1-d/(0.35*s.radius), 0), 1)
}

// coverage is the share of pixel (x,y) that the shape covers, in [0,1].
func (s placedShape) coverage(x, y int) float64 {
	if math.Hypot(float64(x)+0.5-s.x, float64(y)+0.5-s.y) > s.radius+1 {
		return 0 // most pixels: the shape lies within its radius
	}
	hits := 0
	for i := range subSamples {
		for j := range subSamples {
			dx := (float64(x) + (float64(j)+0.5)/subSamples - s.x) / s.radius
			dy := (float64(y) + (float64(i)+0.5)/subSamples - s.y) / s.radius
			if s.inside(s.cos*dx+s.sin*dy, s.cos*dy-s.sin*dx) {
				hits++
			}
		}
	}
	return float64(hits) / (subSamples * subSamples)
}

// insideRegular tells the inside of a regular polygon by the distance of its
// sides from the centre.
func insideRegular(u, v float64, sides int, apothem float64) bool {
	for k := range sides {
		a := 2 * math.Pi * float64(k) / float64(sides)
		if u*math.Cos(a)+v*math.Sin(a) > apothem {
			return false
		}
	}
	return true
}

// insideStar is a star of five points: the edge runs straight from a point at
// radius 1 to a notch at radius 0.42.
func insideStar(u, v float64) bool {
	const notch = 0.42
	half := math.Pi / 5
	a := math.Abs(math.Mod(math.Atan2(v, u)+2*math.Pi, 2*half) - half) // 0 at a notch, half at a point
	r := math.Hypot(u, v)
	x, y := r*math.Cos(half-a), r*math.Sin(half-a) // point at (1,0), notch at angle half
	nx, ny := notch*math.Cos(half), notch*math.Sin(half)
	return (x-1)*ny-y*(nx-1) <= 0
}
