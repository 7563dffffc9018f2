package pipeline

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/integrate/quad"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
)

// slopes averages gradients over variations of a picture, a batch of them in
// each run, for the methods that do. Its memory is allocated once.
type slopes struct {
	o       MapOptions
	batch   int
	session *ort.Session

	images, target, weight *ort.Buffer            // (B,3,H,W), (B), (B)
	sum, picture           *ort.Buffer            // (1,3,H,W)
	added                  *ort.Buffer            // (1,H,W)
	maps                   map[string]*ort.Buffer // by method: (1,1,H,W)

	at, share [][]float64 // see nodes; by how often the steps are doubled
}

func openSlopes(m *Model, batch int, o MapOptions, opt ort.Options) (*slopes, error) {
	g, err := m.slopesGraph(int64(batch), o)
	if err != nil {
		return nil, err
	}
	s := &slopes{o: o, batch: int(g.Inputs[0].Shape[0].N), maps: map[string]*ort.Buffer{}}
	fused, err := m.Graphs.fused(g, &opt)
	if err != nil {
		return nil, err
	}
	if s.session, err = openGraph(fused, opt); err != nil {
		return nil, err
	}
	places := map[string]**ort.Buffer{g.Inputs[0].Name: &s.images, TargetInput: &s.target, weightInput: &s.weight, sumInput: &s.sum,
		pictureInput: &s.picture, addedOutput: &s.added}
	for _, v := range slices.Concat(g.Inputs, g.Outputs) {
		var b *ort.Buffer
		switch {
		case v.Data != nil: // an input with a default
			continue
		case v.Name == sumOutput: // in place: only the sum reads the former one
			err = s.session.Bind(sumOutput, s.sum)
		default:
			b, err = newBound(s.session, v)
		}
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("%s: %w", m.Path, err)
		}
		if to := places[v.Name]; to != nil {
			*to = b
		} else if b != nil {
			s.maps[v.Name[len(mapOutputStem):]] = b
		}
	}
	return s, nil
}

// newBound makes a buffer for an input or output of fixed size.
func newBound(session *ort.Session, v *onnx.Value) (*ort.Buffer, error) {
	b, err := ort.NewBuffer(v.Type, v.Shape.Ints()...)
	if err != nil {
		return nil, err
	}
	if err := session.Bind(v.Name, b); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// openGraph opens a session on a graph of the working dialect.
func openGraph(g *onnx.Graph, opt ort.Options) (*ort.Session, error) {
	if err := opt.Load(); err != nil {
		return nil, err
	}
	opt.Name = "the " + g.Name + " graph"
	return openModel(&onnx.Model{IRVersion: 10, Producer: "relevit", Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: g}, opt)
}

// complete is what integrated gradients may miss of the change in the logit
// between baseline and picture.
const complete = 0.01

// mostDoublings is how often the steps are doubled to get there.
const mostDoublings = 4

// integrate goes from the baseline, zeros, to the picture (3,H,W), over which
// the class's logit changes by change. Where what all pixels together add is
// another number, it begins again with twice as many steps. It returns the share
// of the change that is missed.
func (s *slopes) integrate(ctx context.Context, picture []float32, class int64, change float64) (missed float64, err error) {
	copy(s.picture.Float32s(), picture)
	for doubled := 0; ; doubled++ {
		at, share := s.nodes(doubled)
		err = s.average(ctx, len(picture), len(at), class, func(i int, to []float32) float64 {
			place := float32(at[i])
			for j, v := range picture {
				to[j] = place * v
			}
			return share[i]
		})
		added := 0.0
		for _, v := range s.added.Float32s() {
			added += float64(v)
		}
		missed = math.Abs(added-change) / math.Abs(change)
		if err != nil || !(missed > complete) || doubled == mostDoublings {
			return missed, err
		}
	}
}

// nodes are the places between baseline and picture, and their weights: Gauss
// and Legendre's, as in Captum.
func (s *slopes) nodes(doubled int) (at, share []float64) {
	for len(s.at) <= doubled {
		n := s.o.Steps << len(s.at)
		at, share = make([]float64, n), make([]float64, n)
		quad.Legendre{}.FixedLocations(at, share, 0, 1)
		s.at, s.share = append(s.at, at), append(s.share, share)
	}
	return s.at[doubled], s.share[doubled]
}

// smooth averages over noisy copies of the picture (3,H,W). The noise is a
// function of the picture, the seed and the copy's number.
func (s *slopes) smooth(ctx context.Context, picture []float32, class int64) error {
	low, high := slices.Min(picture), slices.Max(picture)
	deviation := float32(s.o.Noise) * (high - low)
	seed := hashOf(picture) ^ s.o.Seed
	return s.average(ctx, len(picture), s.o.Samples, class, func(i int, to []float32) float64 {
		disturb(to, picture, deviation, seed, uint64(i))
		return 1 / float64(s.o.Samples)
	})
}

// disturb writes the i-th noisy copy of a picture.
func disturb(to, picture []float32, deviation float32, seed, i uint64) {
	r := rand.New(rand.NewPCG(seed, i))
	for j, v := range picture {
		to[j] = v + deviation*float32(r.NormFloat64())
	}
}

// hashOf is the same for the same pixels.
func hashOf(picture []float32) uint64 {
	h := fnv.New64a()
	var b [4]byte
	for _, v := range picture {
		bits := math.Float32bits(v)
		b[0], b[1], b[2], b[3] = byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24)
		h.Write(b[:])
	}
	return h.Sum64()
}

// average runs over n variations, of which vary writes one and returns its weight.
func (s *slopes) average(ctx context.Context, values, n int, class int64, vary func(i int, to []float32) float64) error {
	clear(s.sum.Float32s())
	for i := range s.target.Int64s() {
		s.target.Int64s()[i] = class
	}
	images, weights := s.images.Float32s(), s.weight.Float32s()
	for start := 0; start < n; start += s.batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		clear(weights)
		for i := range min(s.batch, n-start) {
			weights[i] = float32(vary(start+i, images[i*values:][:values]))
		}
		if err := s.session.Run(); err != nil {
			return err
		}
	}
	return nil
}

// Close frees the session and its memory.
func (s *slopes) Close() {
	s.session.Close()
	for _, b := range []*ort.Buffer{s.images, s.target, s.weight, s.sum, s.picture, s.added} {
		if b != nil {
			b.Close()
		}
	}
	for _, b := range s.maps {
		b.Close()
	}
}
