package pipeline

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/ref"
)

// attentions are PyTorch's float64 attention maps of a case, and the gradients
// of the label's logit with respect to them: by block, (B,H,N,N).
type attentions struct {
	a, g        [][]float64
	heads, n, p int // n tokens, p of them before the patches
	batch       int
}

func readAttentions(t *testing.T, c oracleCase, m *Model) attentions {
	t.Helper()
	found, err := models.Find(m.Graph, m.Find)
	if err != nil {
		t.Fatal(err)
	}
	x := attentions{p: int(found.PrefixTokens), heads: int(found.Attention[0].Heads), n: int(found.Attention[0].Tokens)}
	for l := range found.Attention {
		a, _ := c.want(t, fmt.Sprintf("attn.%d", l))
		g, _ := c.want(t, fmt.Sprintf("attn_grad.%d", l))
		x.a, x.g = append(x.a, a), append(x.g, g)
	}
	x.batch = len(x.a[0]) / x.heads / x.n / x.n
	return x
}

// fused is the mean or the largest over heads of f at [i,j]: (N,N) of a picture.
func (x attentions) fused(picture int, max bool, f func(at int) float64) []float64 {
	square := x.n * x.n
	out := make([]float64, square)
	for k := range out {
		values := make([]float64, x.heads)
		for h := range values {
			values[h] = f((picture*x.heads+h)*square + k)
			out[k] += values[h] / float64(x.heads)
		}
		if max {
			out[k] = slices.Max(values)
		}
	}
	return out
}

// times is a product of matrices (N,N).
func (x attentions) times(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range x.n {
		for k := range x.n {
			for j := range x.n {
				out[i*x.n+j] += a[i*x.n+k] * b[k*x.n+j]
			}
		}
	}
	return out
}

// rolled is the product from the first to the last block of what term gives for
// each: whole matrices, as published, of which the class token's row is the map.
func (x attentions) rolled(from int, term func(l int) []float64) []float64 {
	var product []float64
	for l := from; l < len(x.a); l++ {
		if product == nil {
			product = term(l)
		} else {
			product = x.times(term(l), product)
		}
	}
	return product[x.p:x.n]
}

// expected is a method's patches (B,P) by its formula.
func (x attentions) expected(method string, from int, max bool) []float64 {
	var out []float64
	positive := func(l int) func(int) float64 {
		return func(at int) float64 { return math.Max(0, x.a[l][at]*x.g[l][at]) }
	}
	attention := func(l int) func(int) float64 { return func(at int) float64 { return x.a[l][at] } }
	last := len(x.a) - 1
	for i := range x.batch {
		switch method {
		case MethodRelevance:
			out = append(out, x.rolled(from, func(l int) []float64 {
				m := x.fused(i, max, positive(l))
				for k := range x.n {
					m[k*x.n+k]++
				}
				return m
			})...)
		case MethodRollout:
			out = append(out, x.rolled(from, func(l int) []float64 {
				m := x.fused(i, max, attention(l))
				for k := range x.n {
					m[k*x.n+k]++
					sum := 0.0
					for _, v := range m[k*x.n:][:x.n] {
						sum += v
					}
					for j := range x.n {
						m[k*x.n+j] /= sum
					}
				}
				return m
			})...)
		case MethodAttention:
			out = append(out, x.fused(i, max, attention(last))[x.p:x.n]...)
		case MethodGradXAttention:
			out = append(out, x.fused(i, max, positive(last))[x.p:x.n]...)
		}
	}
	return out
}

// float64Maps evaluates a model's maps in float64.
func float64Maps(t *testing.T, m *Model, o MapOptions, image *onnx.Tensor, classes []int64) map[string][]float64 {
	t.Helper()
	if err := o.defaults(); err != nil {
		t.Fatal(err)
	}
	wide := *m
	wide.Graph, _ = m.Graph.Clone()
	widen(t, wide.Graph)
	g, err := wide.mapGraph(image.Dims[0], o)
	if err != nil {
		t.Fatal(err)
	}
	pixels, err := ref.FromTensor(image)
	if err != nil {
		t.Fatal(err)
	}
	pixels = pixels.As(onnx.Double)
	found, err := ref.Run(g, map[string]*ref.Array{g.Inputs[0].Name: pixels, TargetInput: ref.Ints(classes, len(classes))})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]float64{}
	for _, method := range o.Methods {
		if a := found[mapOutput(method)]; a != nil {
			out[method] = a.F
		}
	}
	return out
}

// mapped runs a mapper on pictures, in batches of its size.
func mapped(t testing.TB, x *Mapper, images []float32, classes []int64) map[string][]float64 {
	t.Helper()
	values := 3 * x.Size[0] * x.Size[1]
	out := map[string][]float64{}
	for start := 0; start < len(classes); start += x.Batch {
		end := min(start+x.Batch, len(classes))
		if err := x.Run(t.Context(), images[start*values:end*values], classes[start:end]); err != nil {
			t.Fatal(err)
		}
		for _, method := range x.Methods {
			for i := range end - start {
				out[method] = append(out[method], wide(x.Map(method, i))...)
			}
		}
	}
	return out
}

func openMapper(t testing.TB, m *Model, batch int, o MapOptions) *Mapper {
	t.Helper()
	x, err := NewMapper(m, batch, o, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

// TestLeGradSaysWhereTokensAreMissing has a model whose logits read the first
// attention besides the last tokens: nothing between the blocks is all that
// leads there.
func TestLeGradSaysWhereTokensAreMissing(t *testing.T) {
	source := small(t, "")
	g := source.Graph
	b := onnx.NewBuilder(g)
	g.Outputs[0] = b.Add(g.Outputs[0], b.Slice(b.Mean(g.Find("blocks.0.attn/A"), 1, 2), 1, 0, 5))
	m, err := OpenModel(saved(t, source), ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var fault *models.Error
	_, err = NewMapper(m, 1, MapOptions{Methods: []string{MethodLeGrad}}, ort.Options{})
	if !errors.As(err, &fault) || !strings.Contains(err.Error(), "legrad: no tensor of all 7 tokens was found between block 1 (attention blocks.1.attn/A)") {
		t.Errorf("got %v", err)
	}
}

// TestAttentionMethodsEqualTheirFormulas computes, from PyTorch's float64
// attention and its gradients, whole (N,N) products, and compares the graphs in
// float64 to 1e-9, relevance with PyTorch's own map, and ONNX Runtime's run.
func TestAttentionMethodsEqualTheirFormulas(t *testing.T) {
	methods := []string{MethodRelevance, MethodRollout, MethodAttention, MethodGradXAttention}
	for _, name := range []string{"micro", "micro-rect", "micro-deep"} {
		c, m, pictures, labels := foreignCase(t, name)
		images, err := pictures.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		x := readAttentions(t, c, m)
		found, err := models.Find(m.Graph, m.Find)
		if err != nil {
			t.Fatal(err)
		}
		for _, heads := range []gradients.Fusion{gradients.MeanHeads, gradients.MaxHeads} {
			t.Run(fmt.Sprintf("%s/%s", name, heads), func(t *testing.T) {
				o := MapOptions{Methods: methods, Heads: heads, StartLayer: c.config.StartLayer}
				limit := 1e-9
				if name != "micro" {
					limit = 1e-6 // what is expected is rounded to float32 there
				}
				got := float64Maps(t, m, o, pictures, labels)
				for _, method := range methods {
					want, stretch := picturesOf(x.expected(method, o.StartLayer, heads == gradients.MaxHeads), found.Grid, pictures.Dims)
					if e := off(got[method], want, nil); e > limit*stretch {
						t.Errorf("%s is off by %.2g, more than %.2g", method, e, limit*stretch)
					}
					if published, _ := c.want(t, "relevance_map"); method == MethodRelevance && heads == gradients.MeanHeads {
						if e := off(got[method], published, nil); e > limit*stretch {
							t.Errorf("%s is off PyTorch's by %.2g", method, e)
						}
					}
				}
				orttest.Need(t)
				run := mapped(t, openMapper(t, m, 2, o), images, labels)
				for _, method := range methods {
					want, stretch := picturesOf(x.expected(method, o.StartLayer, heads == gradients.MaxHeads), found.Grid, pictures.Dims)
					limit := 10 * stretch * max(c.deviation["relevance"], c.deviation["attn"], c.deviation["attn_grad"])
					if e := off(run[method], want, nil); e > limit {
						t.Errorf("%s in ONNX Runtime is off by %.2g, more than %.2g", method, e, limit)
					}
				}
			})
		}
	}
}

func ints(s onnx.Shape) []int {
	var out []int
	for _, d := range s {
		out = append(out, int(d.N))
	}
	return out
}

// slopesOf are the central differences of score for each element of at (1,...).
func slopesOf(t *testing.T, at []float64, score func(batch []float64, n int) []float64) []float64 {
	t.Helper()
	const h, most = 1e-5, 32
	out := make([]float64, 0, len(at))
	for start := 0; start < len(at); start += most {
		n := min(most, len(at)-start)
		batch := slices.Repeat(at, 2*n)
		for i := range n {
			batch[2*i*len(at)+start+i] += h
			batch[(2*i+1)*len(at)+start+i] -= h
		}
		s := score(batch, 2*n)
		for i := range n {
			out = append(out, (s[2*i]-s[2*i+1])/(2*h))
		}
	}
	return out
}

// values64 evaluates a value of the whole model in float64.
func values64(t *testing.T, m *Model, image []float64, name string) ([]float64, []int) {
	t.Helper()
	g, _ := m.Graph.Clone()
	widen(t, g)
	shape := g.Inputs[0].Shape
	out, err := ref.Eval(g, map[string]*ref.Array{g.Inputs[0].Name: ref.Floats(image, append([]int{1}, ints(shape[1:])...)...)}, []*onnx.Value{g.Find(name)})
	if err != nil {
		t.Fatal(err)
	}
	return out[0].F, out[0].Shape
}

// foreignCase opens an oracle's foreign file, with its pictures and labels.
func foreignCase(t *testing.T, name string) (oracleCase, *Model, *onnx.Tensor, []int64) {
	t.Helper()
	c := openOracle(t, name)
	in, err := readTraceInputs(filepath.Join(c.folder, "inputs.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	labels, err := in.label.Int64s()
	if err != nil {
		t.Fatal(err)
	}
	m, err := OpenModel(filepath.Join(c.folder, "model.onnx"), ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c, m, in.image, labels
}

// microCase is micro's, with its first picture and label.
func microCase(t *testing.T) (oracleCase, *Model, *onnx.Tensor, int64) {
	t.Helper()
	c, m, pictures, labels := foreignCase(t, "micro")
	values, err := pictures.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	d := pictures.Dims
	return c, m, onnx.FloatTensor(values[:d[1]*d[2]*d[3]], 1, d[1], d[2], d[3]), labels[0]
}

// compareMaps holds a method's float64 graph against what is expected of its
// patches, and ONNX Runtime's run.
func compareMaps(t *testing.T, c oracleCase, m *Model, method string, image *onnx.Tensor, class int64, patches []float64) {
	t.Helper()
	found, err := models.Find(m.Graph, m.Find)
	if err != nil {
		t.Fatal(err)
	}
	want, stretch := picturesOf(patches, found.Grid, image.Dims)
	o := MapOptions{Methods: []string{method}}
	// Central differences at 1e-5 are right to about 1e-9 of the largest slope.
	if e := off(float64Maps(t, m, o, image, []int64{class})[method], want, nil); e > 1e-7*stretch {
		t.Errorf("%s is off by %.2g, more than %.2g", method, e, 1e-7*stretch)
	}
	orttest.Need(t)
	pixels, err := image.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	limit := 10 * c.deviation["attn_grad"] * stretch
	if e := off(mapped(t, openMapper(t, m, 1, o), pixels, []int64{class})[method], want, nil); e > limit {
		t.Errorf("%s in ONNX Runtime is off by %.2g, more than %.2g", method, e, limit)
	}
}

// TestGradCAMEqualsDifferences takes the output of the last block's norm1 by its
// name in PyTorch's export.
func TestGradCAMEqualsDifferences(t *testing.T) {
	c, m, image, class := microCase(t)
	const name = "/blocks/blocks.1/norm1/LayerNormalization_output_0"
	pixels, err := image.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	x, shape := values64(t, m, pixels, name) // (1,N,D)
	g := slopesOf(t, x, func(batch []float64, n int) []float64 {
		return pick(onwards(t, m, pixels, name, batch, n, shape, "logits"), n, int(class))
	})
	tokens, width := shape[1], shape[2]
	cam := make([]float64, tokens-1)
	for d := range width {
		weight := 0.0
		for p := 1; p < tokens; p++ {
			weight += g[p*width+d] / float64(tokens-1)
		}
		for p := range cam {
			cam[p] += weight * x[(p+1)*width+d]
		}
	}
	for p := range cam {
		cam[p] = math.Max(cam[p], 0)
	}
	compareMaps(t, c, m, MethodGradCAM, image, class, cam)
}

// pick takes column j of (n,...).
func pick(v []float64, n, j int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = v[i*len(v)/n+j]
	}
	return out
}

// TestLeGradEqualsDifferences computes each block's own prediction by hand from
// its tokens: the classifier of the normalised mean.
func TestLeGradEqualsDifferences(t *testing.T) {
	c, m, image, class := microCase(t)
	f, err := safetensors.Open(c.weights)
	if err != nil {
		t.Fatal(err)
	}
	scale, bias, head, constant := values(t, f, "norm.weight"), values(t, f, "norm.bias"), values(t, f, "head.weight"), values(t, f, "head.bias")
	pixels, err := image.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	width := len(scale)
	score := func(tokens []float64) float64 { // (N,D)
		mean := make([]float64, width)
		for i, v := range tokens {
			mean[i%width] += v * float64(width) / float64(len(tokens))
		}
		average, variance := 0.0, 0.0
		for _, v := range mean {
			average += v / float64(width)
		}
		for _, v := range mean {
			variance += (v - average) * (v - average) / float64(width)
		}
		s := constant[class]
		for d, v := range mean {
			s += head[int(class)*width+d] * ((v-average)/math.Sqrt(variance+1e-6)*scale[d] + bias[d])
		}
		return s
	}
	var patches []float64
	for l := range 2 {
		name := fmt.Sprintf("/blocks/blocks.%d/attn/Softmax_output_0", l)
		a, shape := values64(t, m, pixels, name) // (1,H,N,N)
		g := slopesOf(t, a, func(batch []float64, n int) []float64 {
			tokens := onwards(t, m, pixels, name, batch, n, shape, fmt.Sprintf("/blocks/blocks.%d/Add_1_output_0", l))
			out := make([]float64, n)
			for i := range out {
				out[i] = score(tokens[i*len(tokens)/n:][:len(tokens)/n])
			}
			return out
		})
		n := shape[2]
		if patches == nil {
			patches = make([]float64, n-1)
		}
		for i, v := range g {
			if j := i % n; j > 0 {
				patches[j-1] += math.Max(v, 0)
			}
		}
	}
	compareMaps(t, c, m, MethodLeGrad, image, class, patches)
}

// onwards evaluates a value for n times a picture, with other numbers in the
// value of a name.
func onwards(t *testing.T, m *Model, pixels []float64, name string, batch []float64, n int, shape []int, value string) []float64 {
	t.Helper()
	g, _ := m.Graph.Clone()
	widen(t, g)
	v := g.Find(name)
	g.Replace(v, g.AddInput("cut", onnx.Double, v.Shape))
	image := g.Inputs[0]
	out, err := ref.Eval(g, map[string]*ref.Array{image.Name: ref.Floats(slices.Repeat(pixels, n), append([]int{n}, ints(image.Shape[1:])...)...),
		"cut": ref.Floats(batch, append([]int{n}, shape[1:]...)...)}, []*onnx.Value{g.Find(value)})
	if err != nil {
		t.Fatal(err)
	}
	return out[0].F
}
