// Package background takes pictures apart by their masks: it replaces what is
// behind an object, removes the object, and pastes it on other backgrounds at
// sizes, places and angles. It is arithmetic on 8-bit pictures, the same on
// every machine, and what is random is drawn from the source that the caller
// gives.
package background

import (
	"errors"
	"math"
	"math/rand/v2"

	"github.com/relevit/relevit/pipeline/picture"
)

// What makes a mask useless here.
var (
	ErrNoObject     = errors.New("the mask shows no object")
	ErrNoBackground = errors.New("the mask leaves no background")
)

// Edge is how many pixels a soft edge is wide. It lies on the side of what is
// kept: what goes is gone to its last pixel.
const Edge = 1

// Cut is a picture taken apart by its mask. Working memory is shared with the
// picture, which must not change while the Cut is in use.
type Cut struct {
	picture    *picture.RGB
	object     []uint8 // (H,W): how much of a pixel stays when the background goes, of 255
	background []uint8 // (H,W): how much stays when the object goes, 0 wherever the mask isn't
	behind     []bool  // (H,W): no part of the pixel is the object's
	mean       [3]uint8
	blurred    *picture.RGB // made when it is first needed
}

// New cuts a picture by a mask of its size (foreground shares), with a soft edge
// of so many pixels; 0: a hard one. A pixel that the mask gives to the object in
// any part never counts as background; one that it gives to the background by
// more than half never stays with the object.
func New(p *picture.RGB, m *picture.Gray, edge int) (*Cut, error) {
	n := p.W * p.H
	c := &Cut{picture: p, behind: make([]bool, n)}
	in := make([]bool, n)
	var sum [3]int
	behind, inside := 0, 0
	for i, v := range m.Pix {
		if v >= 0.5 {
			in[i] = true
			inside++
		}
		if v > 0 {
			continue
		}
		c.behind[i] = true
		behind++
		for k := range sum {
			sum[k] += int(p.Pix[3*i+k])
		}
	}
	switch {
	case inside == 0:
		return nil, ErrNoObject
	case behind == 0:
		return nil, ErrNoBackground
	}
	for k := range sum {
		c.mean[k] = uint8((sum[k] + behind/2) / behind)
	}
	c.object, c.background = softened(in, p.W, p.H, edge), softened(c.behind, p.W, p.H, edge)
	for i, v := range m.Pix {
		if in[i] && v < 1 {
			c.object[i] = uint8(math.Round(float64(c.object[i]) * float64(v)))
		}
	}
	return c, nil
}

// softened gives pixels weights of 255 inside a region (H,W), falling towards
// its border over so many pixels by the distance to the next pixel outside, and
// 0 there.
func softened(in []bool, w, h, edge int) []uint8 {
	out := make([]uint8, len(in))
	levels := make([]uint8, (edge+1)*(edge+1)+1) // by the square of the distance
	for d := range levels {
		levels[d] = uint8(math.Round(255 * math.Sqrt(float64(d)) / float64(edge+1)))
	}
	run := make([]int, len(in)) // pixels up to this one in its row since the last outside
	for i, inside := range in {
		if inside {
			run[i] = 1
			if i%w > 0 {
				run[i] += run[i-1]
			}
		}
	}
	for y := range h {
		for x := range w {
			if !in[y*w+x] {
				continue
			}
			nearest := (edge + 1) * (edge + 1)
			left, right := max(x-edge, 0), min(x+edge, w-1)
			for v := max(y-edge, 0); v <= min(y+edge, h-1); v++ {
				if run[v*w+right] > right-left {
					continue
				}
				for u := left; u <= right; u++ {
					if !in[v*w+u] {
						nearest = min(nearest, (u-x)*(u-x)+(v-y)*(v-y))
					}
				}
			}
			out[y*w+x] = levels[nearest]
		}
	}
	return out
}

// MeanReplaced has the mean colour of the background behind the object.
func (c *Cut) MeanReplaced() *picture.RGB { return c.over(c.plain(), c.object) }

// BlurReplaced has the background behind the object, strongly blurred; none of
// the object is in the blur.
func (c *Cut) BlurReplaced() *picture.RGB { return c.over(c.blur(), c.object) }

// NoiseReplaced has noise behind the object, every level as likely.
func (c *Cut) NoiseReplaced(random rand.Source) *picture.RGB {
	noise := picture.NewRGB(c.picture.W, c.picture.H)
	for i := 0; i < len(noise.Pix); i += 8 {
		bits := random.Uint64()
		for k := i; k < min(i+8, len(noise.Pix)); k++ {
			noise.Pix[k], bits = uint8(bits), bits>>8
		}
	}
	return c.over(noise, c.object)
}

// OtherReplaced has another picture behind the object, scaled to cover this
// one's size and cut at the centre; nil where there is no other.
func (c *Cut) OtherReplaced(other *picture.RGB) (*picture.RGB, error) {
	if other == nil {
		return nil, nil
	}
	w, h := c.picture.W, c.picture.H
	scene, err := covering(other, w, h)
	if err != nil {
		return nil, err
	}
	return c.over(scene, c.object), nil
}

// MeanRemoved has the mean colour of the background where the object was.
func (c *Cut) MeanRemoved() *picture.RGB { return c.over(c.plain(), c.background) }

// BlurRemoved has the blurred background where the object was.
func (c *Cut) BlurRemoved() *picture.RGB { return c.over(c.blur(), c.background) }

// over lays what is kept of the picture over another of its size.
func (c *Cut) over(under *picture.RGB, kept []uint8) *picture.RGB {
	out := picture.NewRGB(c.picture.W, c.picture.H)
	for i, a := range kept {
		for k := 3 * i; k < 3*i+3; k++ {
			out.Pix[k] = mixed(c.picture.Pix[k], under.Pix[k], a)
		}
	}
	return out
}

// mixed is a times over and 255-a times under, of 255, rounded.
func mixed(over, under, a uint8) uint8 {
	return uint8((int(a)*int(over) + (255-int(a))*int(under) + 127) / 255)
}

func (c *Cut) plain() *picture.RGB {
	out := picture.NewRGB(c.picture.W, c.picture.H)
	for i := 0; i < len(out.Pix); i += 3 {
		copy(out.Pix[i:], c.mean[:])
	}
	return out
}
