package tokencut

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
)

// SolverOptions of Refine; zero values are the published ones.
type SolverOptions struct {
	Spatial float64 // pixels of a cell; 0: 16
	Luma    float64 // levels of a cell; 0: 16
	Chroma  float64 // levels of a cell; 0: 8
	Lambda  float64 // weight of smoothness; 0: 256
	Steps   int     // of conjugate gradients at most; 0: 25
}

const (
	confidence       = 0.999 // in each pixel of the coarse mask
	smallestDiagonal = 1e-5  // of the preconditioner
	tolerance        = 1e-5  // residual, relative to the right side, at which the solver stops
	balancingRounds  = 10
)

// check fills in defaults.
func (o *SolverOptions) check() error {
	for _, f := range []struct {
		name     string
		value    *float64
		standard float64
		least    float64
	}{
		{"spatial", &o.Spatial, 16, 1}, {"luma", &o.Luma, 16, 1}, {"chroma", &o.Chroma, 8, 1},
		{"lambda", &o.Lambda, 256, 1e-6},
	} {
		if *f.value == 0 {
			*f.value = f.standard
		}
		if !(*f.value >= f.least && *f.value <= 1e9) {
			return fmt.Errorf("the solver's %s is %v, expected %v to 1e9", f.name, *f.value, f.least)
		}
	}
	if o.Steps == 0 {
		o.Steps = 25
	}
	if o.Steps < 0 {
		return fmt.Errorf("the solver's steps are %d, expected at least 1", o.Steps)
	}
	return nil
}

// system is the solver's linear system A y = b over a grid's vertices,
// A = λ (Dm - Dn B Dn) + diag(weight), where B blurs and Dn, Dm make Dn B Dn
// bistochastic (section 2.2 of the paper).
type system struct {
	*grid
	lambda       float64
	n, m, weight []float64
	scaled       []float64 // (V+1): what blur reads, of multiply
	blurred      []float64
}

func newSystem(g *grid, lambda float64) *system {
	vertices := len(g.count)
	s := &system{grid: g, lambda: lambda, n: make([]float64, vertices), m: make([]float64, vertices),
		weight: make([]float64, vertices), scaled: make([]float64, vertices+1), blurred: make([]float64, vertices)}
	for v := range s.n {
		s.n[v], s.weight[v] = 1, confidence*g.count[v]
	}
	for range balancingRounds {
		copy(s.scaled, s.n)
		g.blur(s.blurred, s.scaled)
		for v, blurred := range s.blurred {
			s.n[v] = math.Sqrt(s.n[v] * g.count[v] / blurred)
		}
	}
	// However many rounds: with this m the rows of Dm - Dn B Dn sum to zero.
	copy(s.scaled, s.n)
	g.blur(s.blurred, s.scaled)
	floats.MulTo(s.m, s.n, s.blurred)
	return s
}

// multiply writes A x to y.
func (s *system) multiply(y, x []float64) {
	floats.MulTo(s.scaled[:len(x)], s.n, x)
	s.blur(s.blurred, s.scaled)
	for v := range y {
		y[v] = s.lambda*(s.m[v]*x[v]-s.n[v]*s.blurred[v]) + s.weight[v]*x[v]
	}
}

// solve runs conjugate gradients with Jacobi's preconditioner on A y = b, from
// b over the weights, the mean of a vertex's pixels.
func (s *system) solve(b []float64, steps int) []float64 {
	vertices := len(b)
	y, r, z, p, q, inverse := make([]float64, vertices), make([]float64, vertices), make([]float64, vertices),
		make([]float64, vertices), make([]float64, vertices), make([]float64, vertices)
	for v := range inverse {
		diagonal := s.lambda*(s.m[v]-2*axes*s.n[v]*s.n[v]) + s.weight[v]
		inverse[v] = 1 / max(diagonal, smallestDiagonal)
	}
	floats.DivTo(y, b, s.weight)
	s.multiply(r, y)
	floats.SubTo(r, b, r)
	enough := tolerance * tolerance * floats.Dot(b, b)
	before := 0.0
	for step := range steps {
		if floats.Dot(r, r) <= enough {
			break
		}
		floats.MulTo(z, r, inverse)
		now := floats.Dot(r, z)
		if step == 0 {
			copy(p, z)
		} else {
			floats.AddScaledTo(p, z, now/before, p)
		}
		before = now
		s.multiply(q, p)
		alpha := now / floats.Dot(p, q)
		floats.AddScaled(y, alpha, p)
		floats.AddScaled(r, -alpha, q)
	}
	return y
}
