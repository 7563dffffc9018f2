package tokencut

import (
	"fmt"
	"math"
	"math/bits"
)

const (
	// apart is the affinity of tokens that are no neighbours.
	apart = 1e-5
	// shortest is the norm below which a token is not brought to unit length,
	// as in torch's normalize.
	shortest = 1e-12
)

// graph is the affinity A = apart + (1-apart) B of n tokens, B in {0,1}
// or weights.
type graph struct {
	n int
	// near holds B in bits, eight columns to a byte: bit k of near[b*n+i] is
	// B[i, 8b+k]. A product with B then costs one look-up for eight columns.
	near    []byte
	weights []float64 // (n,n): B itself where its entries are others, nil where near holds it
	degree  []float64 // row sums of A
}

// newGraph links tokens whose cosine is above tau. features is (n, width).
func newGraph(features []float32, n, width int, tau float64) (*graph, error) {
	unit, norms, err := normalise(features, n, width)
	if err != nil {
		return nil, err
	}
	g := &graph{n: n, near: make([]byte, (n+7)/8*n), degree: make([]float64, n)}
	// Sums of rounded products may be this far off; so near to tau the exact
	// cosine decides, and the order of summation never does.
	doubt := float64(width+4) / (1 << 24)
	above, below := float32(tau+doubt), float32(tau-doubt)
	const block = 32 // tokens that stay in the cache
	cosines := make([]float32, block*n)
	for first := 0; first < n; first += block {
		count := min(block, n-first)
		products(unit[first*width:][:count*width], unit[first*width:], width, cosines)
		for i := first; i < n; i++ {
			for k, c := range cosines[(i-first)*count:][:min(count, i-first+1)] {
				j := first + k
				if c > above || c >= below && cosine(features, norms, i, j, width) > tau {
					g.link(i, j)
				}
			}
		}
	}
	for i := range n {
		neighbours := 0
		for at := i; at < len(g.near); at += n {
			neighbours += bits.OnesCount8(g.near[at])
		}
		g.degree[i] = apart*float64(n) + (1-apart)*float64(neighbours)
	}
	return g, nil
}

func (g *graph) link(i, j int) {
	g.near[j/8*g.n+i] |= 1 << (j % 8)
	g.near[i/8*g.n+j] |= 1 << (i % 8)
}

// normalise returns the tokens at unit length, and the lengths they had.
func normalise(features []float32, n, width int) (unit []float32, norms []float64, err error) {
	unit, norms = make([]float32, len(features)), make([]float64, n)
	for i := range n {
		token := features[i*width:][:width]
		sum := 0.0
		for _, v := range token {
			sum += float64(v) * float64(v)
		}
		if math.IsNaN(sum) || math.IsInf(sum, 0) {
			return nil, nil, fmt.Errorf("cannot cut: the features of token %d are not finite", i)
		}
		norms[i] = max(math.Sqrt(sum), shortest)
		scale := 1 / norms[i]
		for k, v := range token {
			unit[i*width+k] = float32(float64(v) * scale)
		}
	}
	return unit, norms, nil
}

// cosine is that of tokens i and j in float64.
func cosine(features []float32, norms []float64, i, j, width int) float64 {
	a, b := features[i*width:][:width], features[j*width:][:width]
	sum := 0.0
	for k, v := range a {
		sum += float64(v) * float64(b[k])
	}
	return sum / (norms[i] * norms[j])
}

// multiplyNear writes B x to y for two vectors side by side, (n,2). Eight
// columns have 256 subsets: their sums are tabulated once and serve all rows
// (the method of the four Russians).
func (g *graph) multiplyNear(y, x [][2]float64) {
	if g.weights != nil {
		g.multiplyWeights(y, x)
		return
	}
	clear(y)
	var sums [256][2]float64
	for first := 0; first < g.n; first += 8 {
		for k, v := range x[first:min(first+8, g.n)] {
			half := 1 << k
			for subset := range half {
				s := sums[subset]
				sums[half+subset] = [2]float64{s[0] + v[0], s[1] + v[1]}
			}
		}
		for i, subset := range g.near[first/8*g.n:][:g.n] {
			s := &sums[subset]
			y[i][0] += s[0]
			y[i][1] += s[1]
		}
	}
}
