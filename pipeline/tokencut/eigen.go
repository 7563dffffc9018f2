package tokencut

import (
	"errors"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

const (
	vectorResidual = 1e-10 // of the second eigenvector
	valueResidual  = 1e-7  // of the third, whose value alone is wanted: its error is the square
	dependent      = 1e-10 // length below which nothing new is left of a vector
	largestBasis   = 96    // vectors before a restart
	keptBasis      = 16    // vectors after it
	mostRestarts   = 40    // only nearly equal eigenvalues get there, whose vectors are as good as any
)

// secondVector solves (D-A)v = λDv for the three smallest values and the second
// vector, vᵀDv = 1. In x = D^½v these are the largest solutions of
// Wx = (1-λ)x with W = D^-½AD^-½, whose first vector D^½1 (λ = 0) is known:
// block Lanczos with restarts runs at right angles to it, in blocks of two, so
// that a second eigenvalue that occurs twice is found twice.
func (g *graph) secondVector() (values [3]float64, vector []float64, err error) {
	s := newSubspace(g)
	for restarts := 0; ; {
		s.extend()
		size := len(s.basis)
		whole, full := size == g.n-1, size == largestBasis
		if !whole && size%8 != 0 {
			continue
		}
		mu, y, err := s.solve()
		if err != nil {
			return values, nil, err
		}
		x, residual := s.vector(mu[0], y[0])
		converged := residual <= vectorResidual
		if converged {
			_, residual = s.vector(mu[1], y[1])
			converged = residual <= valueResidual
		}
		if whole || converged || full && restarts == mostRestarts {
			values[1], values[2] = 1-mu[0], 1-mu[1]
			floats.Mul(x, s.scale)
			return values, x, nil
		}
		if full {
			s.restart(mu, y)
			restarts++
		}
	}
}

// subspace is a growing orthonormal basis at right angles to D^½1.
type subspace struct {
	g             *graph
	scale         []float64     // (n): D^-½
	first         []float64     // (n): D^½1 at unit length
	basis, images [][]float64   // q and Wq
	next          [2][]float64  // where to extend to
	projection    *mat.SymDense // qᵀWq
	x, y          [][2]float64
	random        *rand.Rand
}

func newSubspace(g *graph) *subspace {
	s := &subspace{g: g, scale: make([]float64, g.n), first: make([]float64, g.n),
		x: make([][2]float64, g.n), y: make([][2]float64, g.n),
		projection: mat.NewSymDense(largestBasis, nil),
		random:     rand.New(rand.NewPCG(1, 2))} // the same start, and so the same bits, each time
	for i, d := range g.degree {
		s.scale[i], s.first[i] = 1/math.Sqrt(d), math.Sqrt(d)
	}
	floats.Scale(1/floats.Norm(s.first, 2), s.first)
	s.next = [2][]float64{s.randomVector(), s.randomVector()}
	return s
}

func (s *subspace) randomVector() []float64 {
	v := make([]float64, s.g.n)
	for i := range v {
		v[i] = s.random.NormFloat64()
	}
	return v
}

// extend adds what is new in next, W times the last block, to the basis.
func (s *subspace) extend() {
	from := len(s.basis)
	for _, q := range s.next {
		if len(s.basis) == s.g.n-1 {
			break
		}
		for !s.orthonormalise(q) {
			q = s.randomVector() // W leads nowhere new: what is left is another part of the graph
		}
		s.basis = append(s.basis, q)
	}
	s.multiply(s.basis[from:])
	for j := from; j < len(s.basis); j++ {
		for i := range j + 1 {
			s.projection.SetSym(i, j, floats.Dot(s.basis[i], s.images[j]))
		}
	}
	s.next[0] = append([]float64(nil), s.images[from]...)
	s.next[1] = append([]float64(nil), s.images[len(s.images)-1]...)
}

// orthonormalise brings q to unit length at right angles to the basis, twice
// for full precision; it is false where nothing is left.
func (s *subspace) orthonormalise(q []float64) bool {
	for range 2 {
		floats.AddScaled(q, -floats.Dot(q, s.first), s.first)
		for _, b := range s.basis {
			floats.AddScaled(q, -floats.Dot(q, b), b)
		}
		length := floats.Norm(q, 2)
		if length < dependent {
			return false
		}
		floats.Scale(1/length, q)
	}
	return true
}

// multiply appends the images of one or two vectors.
func (s *subspace) multiply(block [][]float64) {
	var sum [2]float64
	for k, q := range block {
		for i, v := range q {
			s.x[i][k] = v * s.scale[i]
			sum[k] += s.x[i][k]
		}
	}
	s.g.multiplyNear(s.y, s.x)
	for k := range block {
		image := make([]float64, s.g.n)
		for i, y := range s.y {
			image[i] = s.scale[i] * (apart*sum[k] + (1-apart)*y[k])
		}
		s.images = append(s.images, image)
	}
}

// solve returns the largest eigenvalues of W within the basis, descending, and
// their vectors' coordinates, keptBasis of them or as many as there are.
func (s *subspace) solve() (mu []float64, y [][]float64, err error) {
	size := len(s.basis)
	var e mat.EigenSym
	if !e.Factorize(s.projection.SliceSym(0, size), true) {
		return nil, nil, errors.New("cannot cut: the eigenproblem of the tokens did not converge")
	}
	var vectors mat.Dense
	e.VectorsTo(&vectors)
	values := e.Values(nil)
	for k := size - 1; k >= max(0, size-keptBasis); k-- {
		mu, y = append(mu, values[k]), append(y, mat.Col(nil, k, &vectors))
	}
	return mu, y, nil
}

// vector returns x = Σ y q and the length of Wx - μx.
func (s *subspace) vector(mu float64, y []float64) (x []float64, residual float64) {
	x = combine(s.basis, y)
	r := combine(s.images, y)
	floats.AddScaled(r, -mu, x)
	// D^½1 is an exact solution: what rounding adds of it is no residual.
	floats.AddScaled(r, -floats.Dot(r, s.first), s.first)
	return x, floats.Norm(r, 2)
}

func combine(vectors [][]float64, y []float64) []float64 {
	x := make([]float64, len(vectors[0]))
	for k, v := range vectors {
		floats.AddScaled(x, y[k], v)
	}
	return x
}

// restart keeps the best vectors of the basis, and next as it goes on.
func (s *subspace) restart(mu []float64, y [][]float64) {
	for k, q := range s.next {
		for !s.orthonormalise(q) {
			q = s.randomVector()
		}
		s.next[k] = q
	}
	var basis, images [][]float64
	s.projection.Zero()
	for k := range y {
		basis, images = append(basis, combine(s.basis, y[k])), append(images, combine(s.images, y[k]))
		s.projection.SetSym(k, k, mu[k])
	}
	s.basis, s.images = basis, images
}
