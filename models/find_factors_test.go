package models

import (
	"math"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// TestFactorsReproduceTheMap computes each map anew from the queries and keys
// that were found, and its product with the values, in float64.
func TestFactorsReproduceTheMap(t *testing.T) {
	root := float64(float32(math.Sqrt(0.5))) // as the graph holds it
	for name, c := range map[string]struct {
		attention func(*toy, *onnx.Value) *onnx.Value
		scale     float64 // of scores
	}{
		"eager, scaled scores": {(*toy).plain, 0.5}, "scaled dot product": {(*toy).sdp, root * root}, "Slice, Squeeze and Gemm": {(*toy).fused, 0.5},
		"heads within the batch": {(*toy).merged, 1}, "flattened softmax": {(*toy).flat, 1}, "keys before queries": {(*toy).transposed, 1},
		"Einsum": {(*toy).einsum, 1}, "Exp, ReduceSum and Div": {(*toy).exponents, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := (&toy{attention: c.attention}).graph(t)
			s := find(t, g)
			found, err := FindFactors(g, s)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != len(s.Attention) {
				t.Fatalf("factors of %d maps, want %d", len(found), len(s.Attention))
			}
			for i, x := range found {
				checkFactors(t, g, s.Attention[i], x, c.scale)
			}
		})
	}
}

// checkFactors evaluates a graph on two pictures.
func checkFactors(t *testing.T, g *onnx.Graph, a Attention, x Factors, scale float64) {
	t.Helper()
	const batch = 2
	g, copies := g.Clone()
	g.Outputs = nil
	for _, v := range []*onnx.Value{a.Value, x.Queries.Value, x.Keys.Value, x.Values.Value} {
		g.Outputs = append(g.Outputs, copies[v])
	}
	g.Prune()
	pixels := make([]float64, batch*3*8*12)
	for i := range pixels {
		pixels[i] = math.Sin(float64(i))
	}
	out, err := ref.Run(g, map[string]*ref.Array{g.Inputs[0].Name: ref.Floats(pixels, batch, 3, 8, 12)})
	if err != nil {
		t.Fatal(err)
	}
	n, h := int(a.Tokens), int(a.Heads)
	q, k := factorAt(out, x.Queries, h), factorAt(out, x.Keys, h)
	m := out[a.Value.Name].F
	d := int(x.Keys.Value.Shape[x.Keys.Axes.Channels].N)
	for picture := range batch {
		for head := range h {
			for i := range n {
				row, sum := make([]float64, n), 0.0
				for j := range n {
					for c := range d {
						row[j] += scale * q(picture, head, i, c) * k(picture, head, j, c)
					}
					row[j] = math.Exp(row[j])
					sum += row[j]
				}
				for j, e := range row {
					from, to := i, j
					if a.Transposed {
						from, to = j, i
					}
					if got := m[((picture*h+head)*n+from)*n+to]; !(math.Abs(got-e/sum) < 1e-9) {
						t.Fatalf("%s: entry (%d,%d) of head %d of picture %d is %v, and %v from queries and keys", a.Value.Name, i, j, head, picture, got, e/sum)
					}
				}
			}
		}
	}
	if v := x.Values; v.Value.Shape[v.Axes.Tokens].N != a.Tokens || v.Value == x.Keys.Value || v.Value == x.Queries.Value {
		t.Errorf("%s: values %v with axes %+v", a.Value.Name, v.Value, v.Axes)
	}
}

// factorAt reads an evaluated factor by picture, head, token and channel, its
// scale taken back.
func factorAt(out map[string]*ref.Array, x Factor, heads int) func(picture, head, token, channel int) float64 {
	a := out[x.Value.Name]
	return func(picture, head, token, channel int) float64 {
		at := make([]int, len(a.Shape))
		if x.Axes.Heads < 0 {
			picture = picture*heads + head
		} else {
			at[x.Axes.Heads] = head
		}
		at[x.Axes.Batch], at[x.Axes.Tokens], at[x.Axes.Channels] = picture, token, channel
		place := 0
		for i, n := range a.Shape {
			place = place*n + at[i]
		}
		return a.F[place] / x.Scale
	}
}
