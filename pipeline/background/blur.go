package background

import (
	"math"

	"github.com/relevit/relevit/pipeline/picture"
)

// The blur's standard deviation is a sixteenth of a picture's shorter side. It
// is computed on the means of cells, of which that side has about blurCells.
const (
	blurCells = 32
	blurShare = 1.0 / 16
)

// lean is by how much a blurred value leans on the one of twice the width. Where
// there is background near, that doesn't show; within a large object it takes over.
const lean = 0.01

// field holds sums of background colours by cell, and how much of the cell is
// background.
type field struct {
	w, h   int
	colour [][3]float64 // (h,w): colour times weight
	weight []float64    // (h,w): 1 where all is background
}

func newField(w, h int) *field {
	return &field{w, h, make([][3]float64, w*h), make([]float64, w*h)}
}

// blur is the normalised Gaussian blur of the background, of which no part of
// the object is in a sum: at every place the mean of the pixels behind the
// object, weighted by their distance.
func (c *Cut) blur() *picture.RGB {
	if c.blurred == nil {
		p := c.picture
		side := max(1, min(p.W, p.H)/blurCells)
		deviation := max(float64(min(p.W, p.H))*blurShare/float64(side), 0.5)
		c.blurred = c.cells(side).blurred(gaussian(deviation)).drawn(p.W, p.H, side)
	}
	return c.blurred
}

// cells adds up the background in squares of pixels.
func (c *Cut) cells(side int) *field {
	p := c.picture
	f := newField((p.W+side-1)/side, (p.H+side-1)/side)
	for y := range p.H {
		for x := range p.W {
			if i := y*p.W + x; c.behind[i] {
				at := y/side*f.w + x/side
				f.weight[at]++
				for k := range 3 {
					f.colour[at][k] += float64(p.Pix[3*i+k])
				}
			}
		}
	}
	share := 1 / float64(side*side)
	for i := range f.weight {
		f.weight[i] *= share
		for k := range 3 {
			f.colour[i][k] *= share
		}
	}
	return f
}

// blurred divides the blurred sums, leaning on a field of half as many cells
// each way, and that in the end on the mean of all; the result's weights are 1.
func (f *field) blurred(kernel []float64) *field {
	wide := f.whole()
	if max(f.w, f.h) > 2 {
		wide = f.halved().blurred(kernel)
	}
	out := newField(f.w, f.h)
	s := f.acrossRows(kernel).acrossColumns(kernel)
	for i := range out.weight {
		base := wide.at((float64(i%f.w)-0.5)/2, (float64(i/f.w)-0.5)/2)
		for k := range 3 {
			out.colour[i][k] = (s.colour[i][k] + float64(lean*base[k])) / (s.weight[i] + lean)
		}
		out.weight[i] = 1
	}
	return out
}

// whole is one cell with the mean colour of all.
func (f *field) whole() *field {
	out, weight := newField(1, 1), 0.0
	for i, w := range f.weight {
		weight += w
		for k := range 3 {
			out.colour[0][k] += f.colour[i][k]
		}
	}
	for k := range 3 {
		out.colour[0][k] /= weight
	}
	out.weight[0] = 1
	return out
}

// halved takes the means of two by two cells.
func (f *field) halved() *field {
	out := newField((f.w+1)/2, (f.h+1)/2)
	for i, w := range f.weight {
		at := i/f.w/2*out.w + i%f.w/2
		out.weight[at] += w / 4
		for k := range 3 {
			out.colour[at][k] += f.colour[i][k] / 4
		}
	}
	return out
}

// acrossColumns applies a symmetric kernel along each row. Beyond the border
// there is no background.
func (f *field) acrossColumns(kernel []float64) *field {
	out := newField(f.w, f.h)
	for i := range out.weight {
		for x := max(0, i%f.w-len(kernel)+1); x < min(f.w, i%f.w+len(kernel)); x++ {
			out.add(i, f, i-i%f.w+x, kernel[max(x-i%f.w, i%f.w-x)])
		}
	}
	return out
}

// acrossRows applies it along each column.
func (f *field) acrossRows(kernel []float64) *field {
	out := newField(f.w, f.h)
	for i := range out.weight {
		for y := max(0, i/f.w-len(kernel)+1); y < min(f.h, i/f.w+len(kernel)); y++ {
			out.add(i, f, y*f.w+i%f.w, kernel[max(y-i/f.w, i/f.w-y)])
		}
	}
	return out
}

// add adds a share of another field's cell.
func (f *field) add(at int, other *field, from int, share float64) {
	f.weight[at] += float64(share * other.weight[from])
	for k := range 3 {
		f.colour[at][k] += float64(share * other.colour[from][k])
	}
}

// gaussian is one side of a Gaussian of sum 1, the centre first.
func gaussian(deviation float64) []float64 {
	kernel := make([]float64, int(math.Ceil(3*deviation))+1)
	sum := 0.0
	for d := range kernel {
		kernel[d] = math.Exp(-0.5 * float64(d*d) / float64(deviation*deviation))
		sum += kernel[d]
		if d > 0 {
			sum += kernel[d]
		}
	}
	for d := range kernel {
		kernel[d] /= sum
	}
	return kernel
}

// at interpolates colours between the centres of cells.
func (f *field) at(x, y float64) (out [3]float64) {
	x, y = min(max(x, 0), float64(f.w-1)), min(max(y, 0), float64(f.h-1))
	left, top := int(x), int(y)
	right, bottom := min(left+1, f.w-1), min(top+1, f.h-1)
	dx, dy := x-float64(left), y-float64(top)
	for k := range 3 {
		a := between(f.colour[top*f.w+left][k], f.colour[top*f.w+right][k], dx)
		b := between(f.colour[bottom*f.w+left][k], f.colour[bottom*f.w+right][k], dx)
		out[k] = between(a, b, dy)
	}
	return out
}

// between is written so that equal ends give just them.
func between(a, b, share float64) float64 { return a + float64(share*(b-a)) }

// drawn paints the field on w x h pixels, of which a cell has side x side.
func (f *field) drawn(w, h, side int) *picture.RGB {
	out := picture.NewRGB(w, h)
	row := newField(f.w, 1)
	for y := range h {
		v := min(max((float64(y)+0.5)/float64(side)-0.5, 0), float64(f.h-1))
		top := int(v)
		bottom, dy := min(top+1, f.h-1), v-float64(top)
		for x := range f.w {
			for k := range 3 {
				row.colour[x][k] = between(f.colour[top*f.w+x][k], f.colour[bottom*f.w+x][k], dy)
			}
		}
		line := out.Pix[3*y*w:][:3*w]
		for x := range w {
			u := min(max((float64(x)+0.5)/float64(side)-0.5, 0), float64(f.w-1))
			left := int(u)
			right, dx := min(left+1, f.w-1), u-float64(left)
			for k := range 3 {
				line[3*x+k] = uint8(between(row.colour[left][k], row.colour[right][k], dx) + 0.5)
			}
		}
	}
	return out
}
