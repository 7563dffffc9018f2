//go:build e2e

package web

import (
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
	"github.com/relevit/relevit/onnx/ref"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/picture"
)

// TestSummationOrderAloneMovesAMapBeyond1e5 shows why no two float32 runtimes
// can be held to 1e-5 for every class: everything but the first convolution is
// computed in float64, and that convolution by the same float32 products, added
// up in other orders.
func TestSummationOrderAloneMovesAMapBeyond1e5(t *testing.T) {
	m, err := pipeline.OpenModel(shared(t, "data", "models", "deit_tiny_patch16_224.safetensors"), pipeline.ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	file := asPNG(t, shared(t, "data", "imagenet-samples"), 7)[0]
	got := spread(t, m, file, 999)
	t.Logf("DeiT-Ti, class 999: two orders of summation differ by %.2g of the map's largest value", got)
	if got <= tolerance {
		t.Errorf("they differ by %.2g: hold every map to %.0e", got, tolerance)
	}
}

// spread is how far apart the maps of a picture are, relative to the largest
// value, if the patch convolution's float32 products are added up one after the
// other, from behind, or in 8 or 16 lanes, and all else is float64. MLAS uses
// lanes, of a width that depends on the processor.
func spread(t *testing.T, m *pipeline.Model, file string, target int64) float64 {
	t.Helper()
	g, ends := prepared(t, m)
	at := slices.IndexFunc(g.Nodes, func(n *onnx.Node) bool { return n.Op == "Conv" })
	if at < 0 {
		t.Fatal("the model has no patch convolution")
	}
	conv := g.Nodes[at]
	pixels := pixelsOf(t, m, file)
	image, err := ref.FromTensor(onnx.FloatTensor(pixels, 1, 3, int64(m.Preprocess.Size[0]), int64(m.Preprocess.Size[1])))
	if err != nil {
		t.Fatal(err)
	}
	feed := map[string]*ref.Array{ends.Image: image, ends.Target: ref.Ints([]int64{target}, 1)}
	embedded := conv.Outputs[0] // (1,D,rows,columns), from here on an input
	g.Nodes, embedded.Node = slices.Delete(g.Nodes, at, at+1), nil
	g.Inputs = append(g.Inputs, embedded)
	var maps [][]float32
	for _, add := range []func([]float32) float32{forwards, backwards, lanes(8), lanes(16)} {
		feed[embedded.Name] = convolve(t, conv, pixels, m.Preprocess.Size, add)
		out, err := ref.Eval(g, feed, []*onnx.Value{g.Find(ends.Map)})
		if err != nil {
			t.Fatal(err)
		}
		narrow := make([]float32, len(out[0].F))
		for i, v := range out[0].F {
			narrow[i] = float32(v)
		}
		maps = append(maps, narrow)
	}
	most := 0.0
	for i, a := range maps {
		for _, b := range maps[:i] {
			most = max(most, relative(a, b))
		}
	}
	return most
}

// prepared is the graph of a model with relevance as the evaluator takes it.
func prepared(t *testing.T, m *pipeline.Model) (*onnx.Graph, pipeline.RelevanceEnds) {
	t.Helper()
	source, err := pipeline.WithRelevance(m.Source, pipeline.RelevanceOptions{Find: m.Find, RequireTarget: true})
	if err != nil {
		t.Fatal(err)
	}
	ends, _ := pipeline.RelevanceOf(source)
	g, err := passes.Prepare(source)
	if err != nil {
		t.Fatal(err)
	}
	return g, ends
}

// pixelsOf is a picture (3,H,W) as the model sees it.
func pixelsOf(t *testing.T, m *pipeline.Model, file string) []float32 {
	t.Helper()
	p, err := picture.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pixels := make([]float32, 3*m.Preprocess.Size[0]*m.Preprocess.Size[1])
	if err := new(picture.Transformer).Image(pixels, p, m.Preprocess.EvalGeometry(p.W, p.H), m.Preprocess); err != nil {
		t.Fatal(err)
	}
	return pixels
}

// convolve applies a patch convolution to an image (3,H,W), adding each patch's
// float32 products by add.
func convolve(t *testing.T, conv *onnx.Node, pixels []float32, size [2]int, add func([]float32) float32) *ref.Array {
	t.Helper()
	weight, err := conv.Inputs[1].Data.Float32s() // (D,3,p,q)
	if err != nil {
		t.Fatal(err)
	}
	bias, err := conv.Inputs[2].Data.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	dims := conv.Inputs[1].Data.Dims
	p, q := int(dims[2]), int(dims[3])
	rows, columns := size[0]/p, size[1]/q
	y := ref.Floats(make([]float64, len(bias)*rows*columns), 1, len(bias), rows, columns)
	products := make([]float32, 0, 3*p*q)
	for d := range bias {
		for i := range rows * columns {
			r, c := i/columns*p, i%columns*q
			products = products[:0]
			for k, w := range weight[d*3*p*q:][:3*p*q] {
				channel, row, column := k/(p*q), k/q%p, k%q
				products = append(products, w*pixels[(channel*size[0]+r+row)*size[1]+c+column])
			}
			y.F[d*rows*columns+i] = float64(add(products) + bias[d])
		}
	}
	return y
}

func forwards(v []float32) (sum float32) {
	for _, x := range v {
		sum += x
	}
	return sum
}

func backwards(v []float32) (sum float32) {
	for _, x := range slices.Backward(v) {
		sum += x
	}
	return sum
}

// lanes adds every n-th number up, and then the n sums.
func lanes(n int) func([]float32) float32 {
	return func(v []float32) float32 {
		sums := make([]float32, n)
		for i, x := range v {
			sums[i%n] += x
		}
		return forwards(sums)
	}
}
