package models

import (
	"math"

	"github.com/relevit/relevit/onnx"
)

// resample brings position embeddings (prefix+P,D), whatever dimensions of 1
// stand before, from one grid of patches to another. The prefix stays as it is.
// As timm's resample_abs_pos_embed: bicubic (a = -0.5) and antialiased, that is
// with a kernel as wide as the larger step.
func resample(t *onnx.Tensor, prefix int, from, to [2]int) (*onnx.Tensor, error) {
	v, err := t.Float64s()
	if err != nil {
		return nil, err
	}
	width := len(v) / (prefix + from[0]*from[1])
	patches := resampleAxis(v[prefix*width:], 1, from[0], from[1]*width, cubicWeights(from[0], to[0]))
	patches = resampleAxis(patches, to[0], from[1], width, cubicWeights(from[1], to[1]))
	out := make([]float32, 0, prefix*width+len(patches))
	for _, x := range v[:prefix*width] {
		out = append(out, float32(x))
	}
	for _, x := range patches {
		out = append(out, float32(x))
	}
	dims := append([]int64{}, t.Dims...)
	dims[len(dims)-2] = int64(prefix + to[0]*to[1])
	return onnx.FloatTensor(out, dims...), nil
}

// resampleAxis multiplies the middle axis of x (outer,size,inner) by weights
// (to,size).
func resampleAxis(x []float64, outer, size, inner int, weights [][]float64) []float64 {
	out := make([]float64, outer*len(weights)*inner)
	for o := range outer {
		for i, row := range weights {
			y := out[(o*len(weights)+i)*inner:][:inner]
			for j, w := range row {
				if w == 0 {
					continue
				}
				for k, value := range x[(o*size+j)*inner:][:inner] {
					y[k] += w * value
				}
			}
		}
	}
	return out
}

// cubicWeights is the matrix (to,from) of an antialiased cubic interpolation,
// pixel centres at halves, as PIL and torch's interpolate(antialias=True) have
// it.
func cubicWeights(from, to int) [][]float64 {
	scale := float64(from) / float64(to)
	stretch := max(scale, 1)
	support := 2 * stretch
	out := make([][]float64, to)
	for i := range out {
		out[i] = make([]float64, from)
		center := scale * (float64(i) + 0.5)
		first, end := max(int(center-support+0.5), 0), min(int(center+support+0.5), from)
		sum := 0.0
		for j := first; j < end; j++ {
			out[i][j] = cubic((float64(j) - center + 0.5) / stretch)
			sum += out[i][j]
		}
		for j := first; j < end; j++ {
			out[i][j] /= sum
		}
	}
	return out
}

// cubic is the convolution kernel of Keys with a = -0.5.
func cubic(x float64) float64 {
	const a = -0.5
	switch x = math.Abs(x); {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

// extraDistances are the last rows of a table of relative positions: to, from
// and within the class token.
const extraDistances = 3

// resampleDistances brings a table of relative positions (distances,H) from one
// grid of patches to another. As timm's resize_rel_pos_bias_table, after BEiT's
// finetuning code: linearly between distances that grow geometrically, so that
// near patches keep their values.
func resampleDistances(t *onnx.Tensor, from, to [2]int) (*onnx.Tensor, error) {
	v, err := t.Float64s()
	if err != nil {
		return nil, err
	}
	rows, columns := 2*from[0]-1, 2*from[1]-1
	heads := len(v) / (rows*columns + extraDistances)
	down := resampleAxis(v[:rows*columns*heads], 1, rows, columns*heads, distanceWeights(from[0], to[0]))
	out := resampleAxis(down, 2*to[0]-1, columns, heads, distanceWeights(from[1], to[1]))
	out = append(out, v[rows*columns*heads:]...)
	single := make([]float32, len(out))
	for i, x := range out {
		single[i] = float32(x)
	}
	return onnx.FloatTensor(single, int64(len(out)/heads), int64(heads)), nil
}

// distanceWeights is the matrix (2 to - 1, 2 from - 1) of a linear
// interpolation from geometrically growing distances to equal ones.
func distanceWeights(from, to int) [][]float64 {
	at := geometric(from-1, to-1)
	out := make([][]float64, 2*to-1)
	for i := range out {
		out[i] = make([]float64, len(at))
		x := float64(i - (to - 1))
		right := 0
		for right < len(at)-1 && at[right] < x {
			right++
		}
		left := max(right-1, 0)
		share := 0.0 // of the right one
		if at[right] > at[left] {
			share = min(max((x-at[left])/(at[right]-at[left]), 0), 1)
		}
		out[i][left] += 1 - share
		out[i][right] += share
	}
	return out
}

// geometric lists the distances -d_n ... 0 ... d_n whose steps grow by one
// ratio between 1.01 and 1.5, such that d_n is about the given reach.
func geometric(n, reach int) []float64 {
	low, high, q := 1.01, 1.5, 0.0
	for high-low > 1e-6 {
		q = (low + high) / 2
		if (1-math.Pow(q, float64(n)))/(1-q) > float64(reach) {
			high = q
		} else {
			low = q
		}
	}
	out := make([]float64, 2*n+1)
	d, step := 0.0, 1.0
	for i := 1; i <= n; i++ {
		d += step
		step *= q
		out[n+i], out[n-i] = d, -d
	}
	return out
}
