package tokencut

// UpscaleNearest brings a (rows, columns) mask to (h, w): pixel y, x takes the
// token at floor(y rows / h), floor(x columns / w).
func UpscaleNearest(mask []bool, rows, columns, h, w int) []bool {
	out := make([]bool, h*w)
	from := make([]int, w)
	for x := range from {
		from[x] = x * columns / w
	}
	for y := range h {
		in, line := mask[y*rows/h*columns:], out[y*w:][:w]
		for x, at := range from {
			line[x] = in[at]
		}
	}
	return out
}
