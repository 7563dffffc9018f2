package ref

import (
	"maps"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

// odd are integers that shapes, axes and indices rarely expect.
var odd = []int64{-9, -2, -1, 0, 1, 2, 3, 7, 1 << 40, math.MaxInt64, math.MinInt64}

// spoil changes an attribute or an input of a sample at random.
func (d draws) spoil(s sample) sample {
	s.attrs, s.in = slices.Clone(s.attrs), slices.Clone(s.in)
	if len(s.attrs) > 0 && d.IntN(2) == 0 {
		a := &s.attrs[d.IntN(len(s.attrs))]
		switch v := a.Value.(type) {
		case int64:
			a.Value = odd[d.IntN(len(odd))]
		case []int64:
			w := slices.Clone(v)
			if len(w) > 0 {
				w[d.IntN(len(w))] = odd[d.IntN(len(odd))]
			}
			a.Value = w[:d.IntN(len(w)+1)]
		case string:
			a.Value = v[:d.IntN(len(v)+1)]
		case float32:
			a.Value = float32(math.NaN())
		}
		return s
	}
	if len(s.in) == 0 {
		return s
	}
	i := d.IntN(len(s.in))
	shape := make([]int, d.IntN(5))
	for j := range shape {
		shape[j] = d.IntN(4)
	}
	switch d.IntN(6) {
	case 0:
		s.in[i] = d.normal(shape...)
	case 1:
		s.in[i] = d.ints(-3, 3, shape...)
	case 2:
		s.in[i] = d.bools(shape...)
	case 3:
		s.in = s.in[:i]
	case 4:
		s.in[i] = nil
	case 5:
		if x := s.in[i]; x != nil && len(x.I) > 0 {
			s.in[i] = x.clone()
			s.in[i].I[d.IntN(len(x.I))] = odd[d.IntN(len(odd))]
		} else if x != nil {
			s.in[i] = &Array{Type: x.Type, Shape: shape, F: x.F, I: x.I, B: x.B}
		}
	}
	return s
}

func FuzzMalformedNodesGiveErrorsAndNoPanics(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed)
	}
	all := samples()
	keys := slices.Sorted(maps.Keys(all))
	f.Fuzz(func(t *testing.T, seed uint64) {
		d := draws{rand.New(rand.NewPCG(seed, 1))}
		for range 200 {
			key := keys[d.IntN(len(keys))]
			s := all[key][d.IntN(len(all[key]))]
			for range 1 + d.IntN(3) {
				s = d.spoil(s)
			}
			n := &onnx.Node{Op: strings.TrimPrefix(key, ":"), Attrs: s.attrs, Outputs: make([]*onnx.Value, max(1, s.outputs))}
			func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%s %v on %v: %v\n%s", n.Op, n.Attrs, s.in, p, debug.Stack())
					}
				}()
				e := table[key]
				out, err := e.apply(n, s.in)
				if err != nil {
					return
				}
				for i, y := range out {
					if y == nil {
						continue
					}
					if err := y.check(); err != nil {
						t.Errorf("%s %v on %v: output %d: %v", n.Op, n.Attrs, s.in, i, err)
					}
				}
			}()
		}
	})
}
