package pipeline

import (
	"math"
	"slices"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/ref"
)

// tinyPictures is a model for pictures of 8x12 pixels, few enough for
// differences in each of them, and some noise to look at.
func tinyPictures(t testing.TB, n int) (*Model, []float32) {
	t.Helper()
	a, err := models.NewArchitecture(`{"img_size":[8,12],"patch_size":4,"embed_dim":16,"depth":2,"num_heads":2,"num_classes":5}`)
	if err != nil {
		t.Fatal(err)
	}
	c, err := models.RandomCheckpoint(a, 7)
	if err != nil {
		t.Fatal(err)
	}
	built, err := models.Build(c, a, models.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := OpenModel(saved(t, built), ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	images := make([]float32, n*3*8*12)
	noise(images)
	return m, images
}

// noise fills pictures with numbers like those of normalised photographs.
func noise(v []float32) {
	state := uint32(1)
	for i := range v {
		state = state*1664525 + 1013904223
		v[i] = float32(state>>8)/(1<<23) - 1
	}
}

// pictureSlopes are the central differences of a class's logit for each pixel.
func pictureSlopes(t *testing.T, m *Model, picture []float64, class int) []float64 {
	t.Helper()
	g, _ := m.Graph.Clone()
	widen(t, g)
	image := g.Inputs[0]
	return slopesOf(t, picture, func(batch []float64, n int) []float64 {
		out, err := ref.Eval(g, map[string]*ref.Array{image.Name: ref.Floats(batch, append([]int{n}, ints(image.Shape[1:])...)...)}, g.Outputs)
		if err != nil {
			t.Fatal(err)
		}
		return pick(out[0].F, n, class)
	})
}

// onPixels reduces (3,H,W) to what a pixel has and scales that to [0,1]. stretch
// is how far scaling magnifies errors.
func onPixels(v []float64, of func(r, g, b float64) float64) (out []float64, stretch float64) {
	plane := len(v) / 3
	for i := range plane {
		out = append(out, of(v[i], v[plane+i], v[2*plane+i]))
	}
	low, high := slices.Min(out), slices.Max(out)
	for i := range out {
		out[i] = (out[i] - low) / (high - low)
	}
	return out, 2 * high / (high - low)
}

func mostOf(r, g, b float64) float64 { return max(math.Abs(r), math.Abs(g), math.Abs(b)) }

// legendre are the nodes in [0,1] and weights of Gauss and Legendre, by Newton's
// method on the polynomial's recurrence.
func legendre(n int) (at, weight []float64) {
	for i := range n {
		x, slope := math.Cos(math.Pi*(float64(n-i)-0.25)/(float64(n)+0.5)), 0.0
		for range 50 {
			p, q := 1.0, 0.0
			for k := range n {
				p, q = (float64(2*k+1)*x*p-float64(k)*q)/float64(k+1), p
			}
			slope = float64(n) * (x*p - q) / (x*x - 1)
			x -= p / slope
		}
		at, weight = append(at, (x+1)/2), append(weight, 1/((1-x*x)*slope*slope))
	}
	return at, weight
}

// TestPixelMethodsEqualDifferences takes the gradient of every pixel by central
// differences of the model's logit in float64.
func TestPixelMethodsEqualDifferences(t *testing.T) {
	orttest.Need(t)
	m, images := tinyPictures(t, 1)
	picture, class := wide(images), 3
	o := MapOptions{Methods: []string{MethodInputGradient, MethodIntegratedGradients, MethodSmoothGrad}, Steps: 12, Samples: 5, Noise: 0.2, Seed: 9}
	x := openMapper(t, m, 2, o)
	got := mapped(t, x, images, []int64{int64(class)})
	// PyTorch's float32 gradients of models of this kind are off by 1e-6.
	const deviation = 1e-6
	compare := func(method string, slopes []float64, of func(r, g, b float64) float64) {
		want, stretch := onPixels(slopes, of)
		if e := off(got[method], want, nil); e > 10*deviation*stretch {
			t.Errorf("%s is off by %.2g, more than %.2g", method, e, 10*deviation*stretch)
		}
	}
	compare(MethodInputGradient, pictureSlopes(t, m, picture, class), mostOf)

	if missed, ok := x.Incompleteness(MethodIntegratedGradients, 0); !ok || missed > complete {
		t.Fatalf("integrated gradients miss %v of the change", missed)
	}
	integrated := make([]float64, len(picture))
	at, weight := legendre(o.Steps << (len(x.slopes.at) - 1))
	for s := range at {
		on := make([]float64, len(picture))
		for i, v := range picture {
			on[i] = at[s] * v
		}
		for i, v := range pictureSlopes(t, m, on, class) {
			integrated[i] += weight[s] * v * picture[i]
		}
	}
	compare(MethodIntegratedGradients, integrated, func(r, g, b float64) float64 { return math.Abs(r + g + b) })

	smooth := make([]float64, len(picture))
	noisy := make([]float32, len(picture))
	spread := 0.0
	for s := range o.Samples {
		disturb(noisy, images, float32(o.Noise)*(slices.Max(images)-slices.Min(images)), hashOf(images)^o.Seed, uint64(s))
		for i, v := range noisy {
			d := float64(v-images[i]) / float64(slices.Max(images)-slices.Min(images))
			spread += d * d / float64(len(noisy)*o.Samples)
		}
		for i, v := range pictureSlopes(t, m, wide(noisy), class) {
			smooth[i] += v / float64(o.Samples)
		}
	}
	compare(MethodSmoothGrad, smooth, mostOf)
	if math.Abs(math.Sqrt(spread)-o.Noise) > 0.1*o.Noise {
		t.Errorf("the noise deviates by %.3f of the range, expected %.3f", math.Sqrt(spread), o.Noise)
	}
}

// float32Error is ten times what PyTorch's float32 attention gradients of such
// models are off its float64 ones.
const float32Error = 1e-5

// TestMapsDontDependOnTheBatch runs every method alone and among others.
func TestMapsDontDependOnTheBatch(t *testing.T) {
	orttest.Need(t)
	m, images := tinyPictures(t, 7)
	classes := []int64{0, 3, -1, 2, 2, -1, 4}
	o := MapOptions{Methods: Methods(), Steps: 10, Samples: 9}
	want := mapped(t, openMapper(t, m, 1, o), images, classes)
	for _, batch := range []int{2, 7} {
		got := mapped(t, openMapper(t, m, batch, o), images, classes)
		for _, method := range o.Methods {
			if e := off(got[method], want[method], nil); e > float32Error || slices.Max(want[method]) != 1 {
				t.Errorf("%s in batches of %d is off by %.2g", method, batch, e)
			}
		}
	}
	// Several methods give what each gives alone.
	for _, method := range o.Methods {
		alone := o
		alone.Methods = []string{method}
		if e := off(mapped(t, openMapper(t, m, 7, alone), images, classes)[method], want[method], nil); e > float32Error {
			t.Errorf("%s alone is off by %.2g", method, e)
		}
	}
}

// TestIntegratedGradientsAreComplete is their axiom: what all pixels add is the
// change of the logit, to 1 %.
func TestIntegratedGradientsAreComplete(t *testing.T) {
	orttest.Need(t)
	c, m, image, class := microCase(t)
	pixels, err := image.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	x := openMapper(t, m, 1, MapOptions{Methods: []string{MethodIntegratedGradients}, Steps: 8})
	mapped(t, x, pixels, []int64{class})
	added := 0.0
	for _, v := range x.slopes.added.Float32s() {
		added += float64(v)
	}
	logits, _ := c.want(t, "logits")
	baseline, _ := values64(t, m, make([]float64, len(pixels)), "logits")
	if change := logits[class] - baseline[class]; math.Abs(added-change) > 0.01*math.Abs(change) {
		t.Errorf("all pixels add %v, the logit changes by %v", added, change)
	}
}

// TestSmoothGradIsAFunctionOfThePicture gives the same picture the same map
// wherever it stands, and another one with another seed.
func TestSmoothGradIsAFunctionOfThePicture(t *testing.T) {
	orttest.Need(t)
	m, images := tinyPictures(t, 2)
	two := slices.Concat(images[:len(images)/2], images)
	o := MapOptions{Methods: []string{MethodSmoothGrad}, Samples: 3}
	got := mapped(t, openMapper(t, m, 3, o), two, []int64{1, 1, 1})[MethodSmoothGrad]
	n := len(got) / 3
	if !slices.Equal(got[:n], got[n:2*n]) || slices.Equal(got[:n], got[2*n:]) {
		t.Error("the noise isn't the picture's")
	}
	o.Seed = 1
	if slices.Equal(got[:n], mapped(t, openMapper(t, m, 1, o), two[:len(two)/3], []int64{1})[MethodSmoothGrad]) {
		t.Error("another seed gives the same noise")
	}
}
