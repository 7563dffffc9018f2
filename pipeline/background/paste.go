package background

import (
	"fmt"
	"image"
	"math"

	"github.com/relevit/relevit/pipeline/picture"
)

// Side is the side in pixels of the squares that objects are pasted on.
const Side = 512

// Object is an object cut out of its picture, just as large as its bounding box.
type Object struct {
	W, H int
	pix  []uint8 // (H,W,4): colours times share, and the object's share of the pixel of 255
}

// Object cuts the object out.
func (c *Cut) Object() *Object {
	p := c.picture
	box := image.Rectangle{}
	for i, a := range c.object {
		if a > 0 {
			x, y := i%p.W, i/p.W
			box = box.Union(image.Rect(x, y, x+1, y+1))
		}
	}
	o := &Object{W: box.Dx(), H: box.Dy()}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			i := y*p.W + x
			a := c.object[i]
			o.pix = append(o.pix, mixed(p.Pix[3*i], 0, a), mixed(p.Pix[3*i+1], 0, a), mixed(p.Pix[3*i+2], 0, a), a)
		}
	}
	return o
}

// Scaled gives the object the size at which its bounding box has a share of a
// square of Side, both sides cut off to whole pixels, resampled as PIL's
// antialiased bilinear filter does.
func (o *Object) Scaled(area float64) (*Object, error) {
	factor := math.Sqrt(area * Side * Side / float64(o.W*o.H))
	w, h := max(int(float64(o.W)*factor), 1), max(int(float64(o.H)*factor), 1)
	colours, shares := picture.NewRGB(o.W, o.H), picture.NewRGB(o.W, o.H)
	for i := range o.W * o.H {
		copy(colours.Pix[3*i:3*i+3], o.pix[4*i:])
		shares.Pix[3*i] = o.pix[4*i+3]
	}
	colours, err := picture.Resize(colours, w, h, picture.Bilinear)
	if err != nil {
		return nil, fmt.Errorf("scaling an object: %w", err)
	}
	if shares, err = picture.Resize(shares, w, h, picture.Bilinear); err != nil {
		return nil, fmt.Errorf("scaling an object: %w", err)
	}
	out := &Object{W: w, H: h, pix: make([]uint8, 4*w*h)}
	for i := range w * h {
		copy(out.pix[4*i:4*i+3], colours.Pix[3*i:])
		out.pix[4*i+3] = shares.Pix[3*i]
	}
	return out, nil
}

// Rotated turns the object about its centre, counterclockwise by degrees,
// between pixels bilinearly, and makes room for its corners.
func (o *Object) Rotated(degrees float64) *Object {
	if degrees == 0 {
		return o
	}
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	across := math.Abs(cos)*float64(o.W) + math.Abs(sin)*float64(o.H)
	down := math.Abs(sin)*float64(o.W) + math.Abs(cos)*float64(o.H)
	const hair = 1e-9 // so that a quarter turn needs no more pixels for its rounding
	w, h := int(math.Ceil(across-hair)), int(math.Ceil(down-hair))
	out := &Object{W: w, H: h, pix: make([]uint8, 4*w*h)}
	for y := range h {
		dy := float64(y) + 0.5 - float64(h)/2
		for x := range w {
			dx := float64(x) + 0.5 - float64(w)/2
			u := float64(cos*dx) - float64(sin*dy) + float64(o.W)/2 - 0.5
			v := float64(sin*dx) + float64(cos*dy) + float64(o.H)/2 - 0.5
			o.sample(out.pix[4*(y*w+x):][:4], u, v)
		}
	}
	return out
}

// sample interpolates between the four pixels around a place; outside there is
// nothing.
func (o *Object) sample(dst []uint8, u, v float64) {
	left, top := math.Floor(u), math.Floor(v)
	x, y := int(left), int(top)
	if x < -1 || y < -1 || x >= o.W || y >= o.H {
		return
	}
	dx, dy := u-left, v-top
	var sum [4]float64
	for k, share := range [4]float64{(1 - dx) * (1 - dy), dx * (1 - dy), (1 - dx) * dy, dx * dy} {
		i, j := x+k%2, y+k/2
		if i < 0 || j < 0 || i >= o.W || j >= o.H {
			continue
		}
		for c, level := range o.pix[4*(j*o.W+i):][:4] {
			sum[c] += float64(share * float64(level))
		}
	}
	for c := range sum {
		dst[c] = uint8(sum[c] + 0.5)
	}
}

// Pasted lays the object on a background, its centre at shares of its width and
// height, as far as it lies inside.
func (o *Object) Pasted(under *picture.RGB, x, y float64) *picture.RGB {
	out := &picture.RGB{W: under.W, H: under.H, Pix: append([]uint8(nil), under.Pix...)}
	left := int(float64(int(x*float64(under.W))) - float64(o.W)/2)
	top := int(float64(int(y*float64(under.H))) - float64(o.H)/2)
	inside := image.Rect(left, top, left+o.W, top+o.H).Intersect(image.Rect(0, 0, out.W, out.H))
	for j := inside.Min.Y; j < inside.Max.Y; j++ {
		for i := inside.Min.X; i < inside.Max.X; i++ {
			over := o.pix[4*((j-top)*o.W+i-left):][:4]
			dst := out.Pix[3*(j*out.W+i):][:3]
			for k := range dst {
				dst[k] = uint8(min(int(over[k])+int(mixed(0, dst[k], over[3])), 255))
			}
		}
	}
	return out
}

// Canvas is what SI-Score makes of a background: its largest square from the top
// left corner, resized bilinearly to Side.
func Canvas(p *picture.RGB) (*picture.RGB, error) {
	side := min(p.W, p.H)
	square := picture.NewRGB(side, side)
	for y := range side {
		copy(square.Pix[3*y*side:][:3*side], p.Pix[3*y*p.W:])
	}
	return picture.Resize(square, Side, Side, picture.Bilinear)
}

// covering scales a picture to cover w x h pixels and cuts it at the centre.
func covering(p *picture.RGB, w, h int) (*picture.RGB, error) {
	factor := max(float64(w)/float64(p.W), float64(h)/float64(p.H))
	fullW, fullH := max(w, int(math.Round(float64(p.W)*factor))), max(h, int(math.Round(float64(p.H)*factor)))
	left, top := (fullW-w)/2, (fullH-h)/2
	out := new(picture.RGB)
	err := new(picture.Resizer).Resize(out, p, fullW, fullH, picture.Bilinear, image.Rect(left, top, left+w, top+h))
	return out, err
}
