package metrics

import "math"

// blurSize and blurSigma are those of the published insertion game.
const (
	blurSize  = 11
	blurSigma = 5
)

// AUC is the area under a curve whose points are equally far apart, by the
// trapezoidal rule (auc of Petsiuk, Das and Saenko 2018, RISE: evaluation.py).
func AUC(scores []float64) float64 {
	sum := -(scores[0] + scores[len(scores)-1]) / 2
	for _, s := range scores {
		sum += s
	}
	return sum / float64(len(scores)-1)
}

// Exchange writes to dst a picture (C,H,W) with the first n pixels of an order
// taken from another. From a baseline to the picture that is a step of RISE's
// insertion, from the picture to a baseline of its deletion.
func Exchange(dst, picture, other []float32, order []int32, n int) {
	copy(dst, picture)
	plane := len(order)
	for c := 0; c < len(picture); c += plane {
		to, from := dst[c:][:plane], other[c:][:plane]
		for _, at := range order[:n] {
			to[at] = from[at]
		}
	}
}

// Blur is a picture (C,H,W) blurred as RISE blurs the insertion game's baseline:
// with a Gaussian of 11x11 pixels and a deviation of 5, made by SciPy's
// gaussian_filter of a single one, so that its tails are folded in, and zeros
// around the picture.
func Blur(picture []float32, h, w int) []float32 {
	kernel := blurKernel()
	out, rows := make([]float32, len(picture)), make([]float32, h*w)
	for c := 0; c < len(picture); c += h * w {
		in, to := picture[c:][:h*w], out[c:][:h*w]
		for y := range h {
			line := rows[y*w:][:w]
			clear(line)
			for k, weight := range kernel {
				shift := k - blurSize/2
				for x := max(0, -shift); x < min(w, w-shift); x++ {
					line[x] += weight * in[y*w+x+shift]
				}
			}
		}
		for y := range h {
			line := to[y*w:][:w]
			for k, weight := range kernel {
				at := y + k - blurSize/2
				if at < 0 || at >= h {
					continue
				}
				for x, v := range rows[at*w:][:w] {
					line[x] += weight * v
				}
			}
		}
	}
	return out
}

// blurKernel is a line of the kernel, which is a product of two.
func blurKernel() (out [blurSize]float32) {
	const radius = 4 * blurSigma // where gaussian_filter stops
	var weights [2*radius + 1]float64
	sum := 0.0
	for i := range weights {
		d := float64(i - radius)
		weights[i] = math.Exp(-d * d / (2 * blurSigma * blurSigma))
		sum += weights[i]
	}
	for i := range out {
		total := 0.0
		for j, weight := range weights {
			at := i + j - radius
			at = ((at % (2 * blurSize)) + 2*blurSize) % (2 * blurSize)
			if at >= blurSize { // reflected at the edge
				at = 2*blurSize - 1 - at
			}
			if at == blurSize/2 {
				total += weight / sum
			}
		}
		out[i] = float32(total)
	}
	return out
}
