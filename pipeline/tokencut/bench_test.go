package tokencut

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// grids are the token grids of 16-pixel patches at 224 and 480.
var grids = []int{14, 30}

// scene makes features (side*side, width) of a round object on a ground of two
// halves, with noise: as many pairs are neighbours as with real keys.
func scene(side, width int, noise float64) []float32 {
	random := rand.New(rand.NewPCG(3, 4))
	parts := make([][]float64, 4) // common to all, object, left, right
	for i := range parts {
		parts[i] = make([]float64, width)
		for k := range parts[i] {
			parts[i][k] = random.NormFloat64()
		}
	}
	features := make([]float32, 0, side*side*width)
	for i := range side * side {
		y, x := float64(i/side)/float64(side)-0.5, float64(i%side)/float64(side)-0.5
		part := parts[2]
		switch {
		case y*y+x*x < 0.08:
			part = parts[1]
		case x > 0:
			part = parts[3]
		}
		for k := range width {
			features = append(features, float32(0.6*parts[0][k]+part[k]+noise*random.NormFloat64()))
		}
	}
	return features
}

// photograph makes a picture (side,side,3) with edges, shading and noise.
func photograph(side int) []uint8 {
	random := rand.New(rand.NewPCG(5, 6))
	rgb := make([]uint8, 0, side*side*3)
	for i := range side * side {
		y, x := float64(i/side)/float64(side), float64(i%side)/float64(side)
		for c := range 3 {
			v := 90 + 60*math.Sin(9*x+float64(c))*math.Cos(7*y) + 6*random.NormFloat64()
			if math.Hypot(y-0.5, x-0.5) < 0.28 {
				v += 25 * float64(2-c)
			}
			rgb = append(rgb, uint8(min(max(v, 0), 255)))
		}
	}
	return rgb
}

func BenchmarkGraph(b *testing.B) {
	for _, side := range grids {
		for _, width := range []int{192, 384} {
			b.Run(fmt.Sprintf("tokens=%d/width=%d", side*side, width), func(b *testing.B) {
				features := scene(side, width, 1)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := newGraph(features, side*side, width, 0.2); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkEigenvector(b *testing.B) {
	for _, side := range grids {
		b.Run(fmt.Sprintf("tokens=%d", side*side), func(b *testing.B) {
			g, err := newGraph(scene(side, 192, 3), side*side, 192, 0.2)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := g.secondVector(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReferenceEigenvector takes real keys, whose spectrum is less tidy.
func BenchmarkReferenceEigenvector(b *testing.B) {
	var graphs []*graph
	for _, r := range references(b) {
		g, err := newGraph(r.keys(b), 196, 192, 0.2)
		if err != nil {
			b.Fatal(err)
		}
		graphs = append(graphs, g)
	}
	i := 0
	for b.Loop() {
		if _, _, err := graphs[i%len(graphs)].secondVector(); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkRefine(b *testing.B) {
	for _, side := range []int{224, 480} {
		b.Run(fmt.Sprintf("pixels=%d", side), func(b *testing.B) {
			rgb, coarse := photograph(side), make([]bool, side*side)
			for i := range coarse {
				coarse[i] = math.Hypot(float64(i/side-side/2), float64(i%side-side/2)) < float64(side)/4
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, err := Refine(rgb, side, side, coarse, SolverOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReferenceRefine takes real photographs of about 500x375.
func BenchmarkReferenceRefine(b *testing.B) {
	type job struct {
		rgb    []uint8
		coarse []bool
		h, w   int
	}
	var jobs []job
	for _, r := range references(b) {
		j := job{rgb: r.picture(b).Pix}
		j.coarse, j.h, j.w = r.mask(b, "coarse")
		jobs = append(jobs, j)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		j := jobs[i%len(jobs)]
		if _, _, _, err := Refine(j.rgb, j.h, j.w, j.coarse, SolverOptions{}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
