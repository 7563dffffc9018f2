package dataset

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/relevit/relevit/pipeline/picture"
)

// RLE is a mask as COCO stores it: lengths of runs in column order (down the
// first column, then the second), background and foreground in turn.
type RLE struct {
	H, W   int
	Counts []int
}

// parseCounts reads COCO's compressed run lengths: five bits a character from
// '0' on, the sixth says that more follow, the fifth of the last is the sign;
// from the fourth on, a number is the difference from the one two before.
func parseCounts(s string) ([]int, error) {
	var counts []int
	for i := 0; i < len(s); {
		value, shift := 0, 0
		for more := true; more; shift += 5 {
			if i == len(s) || shift > 30 {
				return nil, fmt.Errorf("compressed run lengths end in the middle of number %d", len(counts)+1)
			}
			c := int(s[i]) - '0'
			if c < 0 || c > 63 {
				return nil, fmt.Errorf("character %q is not of compressed run lengths", s[i])
			}
			i++
			value |= c & 31 << shift
			more = c&32 != 0
			if !more && c&16 != 0 {
				value |= -1 << (shift + 5)
			}
		}
		if n := len(counts); n > 2 {
			value += counts[n-2]
		}
		counts = append(counts, value)
	}
	return counts, nil
}

// Check compares the runs with the mask's size.
func (r *RLE) Check() error {
	if err := checkMaskSize(r.W, r.H); err != nil {
		return err
	}
	left := r.H * r.W
	for _, n := range r.Counts {
		if n < 0 || n > left {
			return fmt.Errorf("a run of %d pixels where %d are left of %dx%d", n, left, r.W, r.H)
		}
		left -= n
	}
	if left != 0 {
		return fmt.Errorf("the runs lack %d of %dx%d pixels", left, r.W, r.H)
	}
	return nil
}

func checkMaskSize(w, h int) error {
	if w < 1 || h < 1 || w > picture.MaxPixels/h {
		return fmt.Errorf("size %dx%d, expected 1 to %d pixels", w, h, picture.MaxPixels)
	}
	return nil
}

// Area is the number of foreground pixels.
func (r *RLE) Area() int {
	area := 0
	for i := 1; i < len(r.Counts); i += 2 {
		area += r.Counts[i]
	}
	return area
}

// Fill sets the foreground's pixels in mask, (H,W) row by row.
func (r *RLE) Fill(mask []bool) error {
	if err := r.Check(); err != nil {
		return err
	}
	if len(mask) != r.H*r.W {
		return fmt.Errorf("runs of a %dx%d mask, and %d pixels to fill", r.W, r.H, len(mask))
	}
	at := 0
	for i, n := range r.Counts {
		if i%2 == 1 {
			for p := at; p < at+n; p++ {
				mask[p%r.H*r.W+p/r.H] = true
			}
		}
		at += n
	}
	return nil
}

// upsampled is how much finer than pixels a polygon's outline is followed.
const upsampled = 5

// polygonRLE draws the polygon x0 y0 x1 y1 ... exactly as COCO's own tools do
// (rleFrPoly of cocoapi): corners are rounded to fifths of a pixel, the outline
// is followed in such steps, and each place where it enters another column
// starts or ends a run there.
func polygonRLE(corners []float64, w, h int) (*RLE, error) {
	if err := checkMaskSize(w, h); err != nil {
		return nil, err
	}
	if err := checkPolygon(corners, w, h); err != nil {
		return nil, err
	}
	var starts []int
	n := len(corners) / 2
	fine := func(i int) (x, y int) {
		i %= n
		return int(upsampled*corners[2*i] + .5), int(upsampled*corners[2*i+1] + .5)
	}
	beforeX, beforeY := 0, 0
	point := func(x, y int, first bool) {
		if !first && x != beforeX {
			// the centre of the column that lies between the two points
			column := (float64(min(x, beforeX))+.5)/upsampled - .5
			if column == math.Floor(column) && column >= 0 && column <= float64(w-1) {
				row := (float64(min(y, beforeY))+.5)/upsampled - .5
				starts = append(starts, int(column)*h+int(math.Ceil(min(max(row, 0), float64(h)))))
			}
		}
		beforeX, beforeY = x, y
	}
	for i := range n {
		x0, y0 := fine(i)
		x1, y1 := fine(i + 1)
		follow(x0, y0, x1, y1, i == 0, point)
	}
	slices.Sort(starts)
	return &RLE{H: h, W: w, Counts: runs(append(starts, h*w))}, nil
}

// follow visits a line's points, always computed from its lower end, so that
// both directions give the same.
func follow(x0, y0, x1, y1 int, first bool, point func(x, y int, first bool)) {
	dx, dy := max(x1-x0, x0-x1), max(y1-y0, y0-y1)
	flip := dx >= dy && x0 > x1 || dx < dy && y0 > y1
	if flip {
		x0, y0, x1, y1 = x1, y1, x0, y0
	}
	steps, slope := max(dx, dy), 0.
	if dx >= dy && dx > 0 {
		slope = float64(y1-y0) / float64(dx)
	} else if dy > 0 {
		slope = float64(x1-x0) / float64(dy)
	}
	for d := range steps + 1 {
		t := d
		if flip {
			t = steps - d
		}
		if dx >= dy {
			point(x0+t, int(float64(y0)+float64(slope*float64(t))+.5), first && d == 0)
		} else {
			point(int(float64(x0)+float64(slope*float64(t))+.5), y0+t, first && d == 0)
		}
	}
}

// runs turns sorted places, each of which changes between background and
// foreground, into lengths; two at one place cancel.
func runs(starts []int) []int {
	counts := []int{starts[0]}
	before := starts[0]
	for i := 1; i < len(starts); i++ {
		if n := starts[i] - before; n > 0 {
			counts = append(counts, n)
		} else if i++; i < len(starts) {
			counts[len(counts)-1] += starts[i] - starts[i-1]
		} else {
			break
		}
		before = starts[i]
	}
	return counts
}

// beyond is how far, in pixels, a corner may lie outside whatever the picture's
// size; some outlines leave their picture a little.
const beyond = 100

// checkPolygon holds corners to the picture's surroundings, and the outline to
// a length that can be an object's: following it takes as long as it is.
func checkPolygon(corners []float64, w, h int) error {
	if len(corners) < 6 || len(corners)%2 != 0 {
		return fmt.Errorf("a polygon of %d numbers, expected x and y of three corners or more", len(corners))
	}
	length, longest := 0., float64(w*h+2*beyond*(w+h))
	for i := 0; i < len(corners); i += 2 {
		x, y := corners[i], corners[i+1]
		if !(math.Abs(x) <= float64(2*w+beyond) && math.Abs(y) <= float64(2*h+beyond)) {
			return fmt.Errorf("a polygon's corner (%g, %g) is far outside the picture of %dx%d", x, y, w, h)
		}
		next := (i + 2) % len(corners)
		length += max(math.Abs(corners[next]-x), math.Abs(corners[next+1]-y))
	}
	if length > longest {
		return errors.New("a polygon's outline is longer than any object's of its size")
	}
	return nil
}

// polygonArea is the area that the corners enclose (the shoelace formula).
func polygonArea(corners []float64) float64 {
	sum := 0.
	for i := 0; i+1 < len(corners); i += 2 {
		next := (i + 2) % len(corners)
		sum += corners[i]*corners[next+1] - corners[next]*corners[i+1]
	}
	return math.Abs(sum) / 2
}
