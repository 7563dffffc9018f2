package tokencut

import (
	"fmt"
	"math"
)

// Refine carries a coarse mask (h,w) over to the edges of the picture rgb
// (h,w,3) by the fast bilateral solver in YUV. soft (h,w) is its solution, in
// [0,1]. mask is the largest component (4 neighbours) of soft above 0.5, holes
// filled, or the whole picture where nothing is above 0.5; where its IoU with
// coarse is below 0.5 it is inverted, and flipped is true.
func Refine(rgb []uint8, h, w int, coarse []bool, o SolverOptions) (soft []float32, mask []bool, flipped bool, err error) {
	if err := o.check(); err != nil {
		return nil, nil, false, err
	}
	// The limits let a vertex's key and a pixel's index fit a word.
	if h < 1 || w < 1 || h > math.MaxUint16 || w > math.MaxUint16 || h*w > math.MaxInt32 {
		return nil, nil, false, fmt.Errorf("cannot refine a mask of %dx%d pixels: expected 1 to %d a side", h, w, math.MaxUint16)
	}
	if len(rgb) != 3*h*w || len(coarse) != h*w {
		return nil, nil, false, fmt.Errorf("cannot refine a mask of %d pixels on a picture of %d values: expected %d and %d for %dx%d",
			len(coarse), len(rgb), h*w, 3*h*w, h, w)
	}
	g := newGrid(rgb, h, w, o)
	b := make([]float64, len(g.count))
	for i, in := range coarse {
		if in {
			b[g.vertexOf[i]] += confidence
		}
	}
	y := newSystem(g, o.Lambda).solve(b, o.Steps)
	soft, mask = make([]float32, h*w), make([]bool, h*w)
	for i, v := range g.vertexOf {
		soft[i] = float32(min(max(y[v], 0), 1))
		mask[i] = y[v] > 0.5
	}
	mask = principal(mask, h, w)
	if overlap(mask, coarse) < 0.5 {
		flipped = true
		for i := range mask {
			mask[i] = !mask[i]
		}
	}
	return soft, mask, flipped, nil
}

// principal is the largest component of mask (h,w) after its holes are filled;
// an empty mask gives a full one, as published.
func principal(mask []bool, h, w int) []bool {
	fillHoles(mask, h, w)
	r := findRuns(mask, true, h, w)
	if len(r.all) == 0 {
		fill(mask)
		return mask
	}
	return r.paint(r.largest())
}

// overlap is the intersection over the union; two empty masks overlap fully.
func overlap(a, b []bool) float64 {
	both, either := 0, 0
	for i, in := range a {
		if in || b[i] {
			either++
			if in && b[i] {
				both++
			}
		}
	}
	if either == 0 {
		return 1
	}
	return float64(both) / float64(either)
}
