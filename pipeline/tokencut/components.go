package tokencut

// run is a horizontal stretch of equal values, columns from..to-1 of a row.
type run struct{ row, from, to int32 }

// runs are the stretches of one value of an (h,w) mask, in reading order, and
// the connected component of each (4 neighbours): union-find over stretches
// touches far fewer elements than over pixels.
type runs struct {
	h, w   int
	all    []run
	parent []int32
}

// findRuns finds the stretches of value and joins those that touch.
func findRuns(mask []bool, value bool, h, w int) *runs {
	r := &runs{h: h, w: w}
	above := 0 // first run of the row before
	for y := range h {
		first := len(r.all)
		row := mask[y*w:][:w]
		for x := 0; x < w; x++ {
			if row[x] != value {
				continue
			}
			from := x
			for x < w && row[x] == value {
				x++
			}
			r.parent = append(r.parent, int32(len(r.all)))
			r.all = append(r.all, run{int32(y), int32(from), int32(x)})
		}
		for i, j := above, first; i < first && j < len(r.all); {
			a, b := r.all[i], r.all[j]
			if a.from < b.to && b.from < a.to {
				r.join(int32(i), int32(j))
			}
			if a.to < b.to {
				i++
			} else {
				j++
			}
		}
		above = first
	}
	return r
}

// root is the component of run i: the index of its first run.
func (r *runs) root(i int32) int32 {
	for r.parent[i] != i {
		r.parent[i] = r.parent[r.parent[i]]
		i = r.parent[i]
	}
	return i
}

func (r *runs) join(i, j int32) {
	i, j = r.root(i), r.root(j)
	r.parent[max(i, j)] = min(i, j)
}

// rootAt is the component at row y, column x, or -1.
func (r *runs) rootAt(y, x int) int32 {
	for i, a := range r.all {
		if int(a.row) == y && int(a.from) <= x && x < int(a.to) {
			return r.root(int32(i))
		}
	}
	return -1
}

// largest is the component with most elements, of equals the first in reading
// order, or -1 where there is none.
func (r *runs) largest() int32 {
	best, area := int32(-1), make([]int32, len(r.all))
	for i, a := range r.all {
		area[r.root(int32(i))] += a.to - a.from
	}
	for i, n := range area {
		if n > 0 && (best < 0 || n > area[best]) {
			best = int32(i)
		}
	}
	return best
}

// paint returns the (h,w) mask of one component.
func (r *runs) paint(root int32) []bool {
	mask := make([]bool, r.h*r.w)
	for i, a := range r.all {
		if r.root(int32(i)) == root {
			fill(mask[int(a.row)*r.w:][a.from:a.to])
		}
	}
	return mask
}

// fillHoles sets what is false and not connected to the border.
func fillHoles(mask []bool, h, w int) {
	r := findRuns(mask, false, h, w)
	outside := make([]bool, len(r.all))
	for i, a := range r.all {
		if a.row == 0 || a.from == 0 || int(a.row) == h-1 || int(a.to) == w {
			outside[r.root(int32(i))] = true
		}
	}
	for i, a := range r.all {
		if !outside[r.root(int32(i))] {
			fill(mask[int(a.row)*w:][a.from:a.to])
		}
	}
}

func fill(line []bool) {
	for x := range line {
		line[x] = true
	}
}
