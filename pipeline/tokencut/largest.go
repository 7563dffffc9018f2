package tokencut

// Largest is the largest component (4 neighbours) of a mask (h,w), of equals the
// first in reading order; nothing where the mask is empty.
func Largest(mask []bool, h, w int) []bool {
	r := findRuns(mask, true, h, w)
	if len(r.all) == 0 {
		return make([]bool, h*w)
	}
	return r.paint(r.largest())
}
