package tokencut

import (
	"math/bits"
	"slices"
)

// grid is the bilateral grid of a picture: pixels near in place and in colour
// share a vertex, and vertices one step apart along an axis (x, y, luma, two of
// chroma) are neighbours. Only occupied vertices exist.
type grid struct {
	vertexOf []int32   // (h*w): vertex of each pixel
	count    []float64 // (V): pixels of each vertex
	// neighbours (V) holds the vertices a step back and a step ahead along
	// each axis, and V where there is none: a fixed number needs no branches.
	neighbours [][2 * axes]int32
}

// axes of the grid.
const axes = 5

// newGrid sorts the pixels of rgb (h,w,3) into cells of spatial pixels and of
// luma and chroma levels.
func newGrid(rgb []uint8, h, w int, o SolverOptions) *grid {
	// A position along each axis is a digit of a vertex's key, the row of cells
	// the highest. Each has a value to spare, so that a step beyond the last
	// leads to a key that nothing has.
	lumas, chromas := uint64(255/o.Luma)+2, uint64(256/o.Chroma)+2
	columns := uint64(float64(w-1)/o.Spatial) + 2
	steps := [axes]uint64{columns * lumas * chromas * chromas, lumas * chromas * chromas, chromas * chromas, chromas, 1}

	g := &grid{vertexOf: make([]int32, h*w)}
	column := make([]uint64, w)
	for x := range column {
		column[x] = uint64(float64(x)/o.Spatial) * steps[1]
	}
	luma, chroma := 1e6*o.Luma, 1e6*o.Chroma
	var keys []uint64
	var band bandSorter
	for top := 0; top < h; {
		row, bottom := uint64(float64(top)/o.Spatial), top+1
		for bottom < h && uint64(float64(bottom)/o.Spatial) == row {
			bottom++
		}
		// The band's rows of pixels hold this row of cells and no other, so
		// sorted bands follow each other in order.
		pixels := rgb[top*w*3 : bottom*w*3]
		band.reset(steps[0], (bottom-top)*w)
		at := 0
		for range bottom - top {
			for x := range column {
				p := pixels[at*3 : at*3+3 : at*3+3]
				l, u, v := yuv(p[0], p[1], p[2])
				band.add(at, column[x]+uint64(l/luma)*steps[2]+uint64(u/chroma)*steps[3]+uint64(v/chroma))
				at++
			}
		}
		last := ^uint64(0)
		vertexOf := g.vertexOf[top*w : bottom*w]
		band.sorted(func(at int, key uint64) {
			if key != last {
				last = key
				keys, g.count = append(keys, row*steps[0]+key), append(g.count, 0)
			}
			v := len(keys) - 1
			g.count[v]++
			vertexOf[at] = int32(v)
		})
		top = bottom
	}
	g.link(keys, steps)
	return g
}

// yuv is the full-range BT.601 conversion (JFIF) in millionths: whole numbers,
// so that greys, on the edge of a cell of chroma, fall on the same side of it on
// every machine.
func yuv(r, g, b uint8) (y, u, v float64) {
	R, G, B := int32(r), int32(g), int32(b)
	return float64(299000*R + 587000*G + 114000*B),
		float64(128000000 - 168736*R - 331264*G + 500000*B),
		float64(128000000 + 500000*R - 418688*G - 81312*B)
}

// link finds the neighbours along each axis in one pass over the ascending keys.
func (g *grid) link(keys []uint64, steps [axes]uint64) {
	g.neighbours = make([][2 * axes]int32, len(keys))
	none := int32(len(keys))
	for v := range g.neighbours {
		g.neighbours[v] = [2 * axes]int32{none, none, none, none, none, none, none, none, none, none}
	}
	for axis, step := range steps {
		j := 0
		for i, key := range keys {
			for j < len(keys) && keys[j] < key+step {
				j++
			}
			if j < len(keys) && keys[j] == key+step {
				g.neighbours[i][2*axis+1], g.neighbours[j][2*axis] = int32(j), int32(i)
			}
		}
	}
}

// blur writes to y (V) the sum over the axes of x filtered by 1 2 1. x is
// (V+1), the last being 0.
func (g *grid) blur(y, x []float64) {
	for v := range g.neighbours {
		n := &g.neighbours[v]
		y[v] = 2*axes*x[v] + ((x[n[0]] + x[n[1]]) + (x[n[2]] + x[n[3]])) +
			((x[n[4]] + x[n[5]]) + (x[n[6]] + x[n[7]])) + (x[n[8]] + x[n[9]])
	}
}

// bandSorter sorts pixels by key: a radix sort of words that hold the key above
// the pixel's index. Its memory serves one band after the other.
type bandSorter struct {
	words, other []uint64
	low, high    int // first bit of the key, and the bit after its last
}

// reset expects n pixels with keys below limit.
func (s *bandSorter) reset(limit uint64, n int) {
	s.low = bits.Len(uint(n - 1))
	s.high = s.low + bits.Len64(limit-1)
	s.words, s.other = slices.Grow(s.words[:0], n)[:n], slices.Grow(s.other[:0], n)[:n]
}

func (s *bandSorter) add(pixel int, key uint64) { s.words[pixel] = key<<s.low | uint64(pixel) }

// sorted visits the pixels by ascending key.
func (s *bandSorter) sorted(visit func(pixel int, key uint64)) {
	const digit = 11
	for shift := s.low; shift < s.high; shift += digit {
		var end [1 << digit]int32
		for _, word := range s.words {
			end[word>>shift&(1<<digit-1)]++
		}
		sum := int32(0)
		for d, n := range end {
			end[d] = sum
			sum += n
		}
		for _, word := range s.words {
			d := word >> shift & (1<<digit - 1)
			s.other[end[d]] = word
			end[d]++
		}
		s.words, s.other = s.other, s.words
	}
	for _, word := range s.words {
		visit(int(word&(1<<s.low-1)), word>>s.low)
	}
}
