package demo

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Classes are the shapes, in the order of their labels.
var Classes = []string{"circle", "square", "triangle", "cross", "ring", "star"}

// Options say what kind of pictures to make. The zero value makes the honest
// ones.
type Options struct {
	// Size is the height and width in pixels; 0 means 64.
	Size int
	// Betray is the probability in [0,1] that a picture has its class's own
	// background. Otherwise the background is any of them, the class's own
	// included, with equal probability.
	Betray float64
}

// Picture is one generated picture.
type Picture struct {
	Size       int
	RGB        []uint8   // (Size,Size,3)
	Mask       []float32 // (Size,Size): the share of each pixel that the shape covers
	Label      int       // of the shape, an index of Classes
	Background int       // the class whose background this is
}

// subSamples is the side of the grid of points by which a pixel's share of the
// shape is counted.
const subSamples = 4

// Generate makes n pictures, whose labels go round the classes. The same seed
// makes the same pictures (up to the rounding of fused multiply-adds on other
// processors than amd64), and picture i does not depend on n.
func Generate(seed uint64, n int, opt Options) ([]Picture, error) {
	if opt.Size == 0 {
		opt.Size = 64
	}
	if opt.Size < 16 || n < 0 || !(opt.Betray >= 0 && opt.Betray <= 1) {
		return nil, fmt.Errorf("generating pictures: found n %d, size %d, betray %v; want n of 0 or more, a size of at least 16, betray in [0,1]",
			n, opt.Size, opt.Betray)
	}
	pictures := make([]Picture, n)
	for i := range pictures {
		pictures[i] = draw(rand.New(rand.NewPCG(seed, uint64(i))), i%len(Classes), opt)
	}
	return pictures, nil
}

func draw(rng *rand.Rand, label int, opt Options) Picture {
	size := opt.Size
	p := Picture{
		Size: size, RGB: make([]uint8, 3*size*size), Mask: make([]float32, size*size),
		Label: label, Background: label,
	}
	if rng.Float64() >= opt.Betray {
		p.Background = rng.IntN(len(Classes))
	}
	back := newBackground(rng, p.Background, size)
	shape := newPlacedShape(rng, label, size)
	paint := paleTint(rng)
	grey := 60 + 40*rng.Float64()
	for y := range size {
		for x := range size {
			m := shape.coverage(x, y)
			p.Mask[y*size+x] = float32(m)
			ground, plain := back.at(float64(x), float64(y)), shape.nearness(x, y)
			grain := 12 * (rng.Float64() - 0.5) // keeps flat areas from being exactly equal
			for c := range 3 {
				v := (1-m)*((1-plain)*ground[c]+plain*grey) + m*paint[c] + grain
				p.RGB[3*(y*size+x)+c] = uint8(math.Round(min(max(v, 0), 255)))
			}
		}
	}
	return p
}

// colour is red, green, blue in [0,255].
type colour [3]float64

func (c colour) luma() float64 { return 0.299*c[0] + 0.587*c[1] + 0.114*c[2] }

// paleTint draws a shape's colour, which says nothing about the class. Shapes
// are pale and backgrounds dark because a model as small as the demo's learns
// shapes of any colour too slowly: after 12 passes over 4000 honest pictures it
// had two thirds of them right; of pale ones it had 95 % after 8.
func paleTint(rng *rand.Rand) colour {
	return colour{180 + 75*rng.Float64(), 180 + 75*rng.Float64(), 180 + 75*rng.Float64()}
}
