package pipeline

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// relevanceRun is a model with relevance in ONNX Runtime.
type relevanceRun struct {
	testing.TB
	ends         RelevanceEnds
	session      *ort.Session
	half         bool // the picture is float16
	channelsLast bool // of the picture
}

// withRelevance derives, encodes and opens the model of a file.
func withRelevance(t testing.TB, path string, o RelevanceOptions) relevanceRun {
	t.Helper()
	m, err := OpenModel(path, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return openRelevance(t, m.Source, o)
}

func openRelevance(t testing.TB, source *onnx.Model, o RelevanceOptions) relevanceRun {
	t.Helper()
	return openExtended(t, extend(t, source, o))
}

func extend(t testing.TB, source *onnx.Model, o RelevanceOptions) *onnx.Model {
	t.Helper()
	extended, err := WithRelevance(source, o)
	if err != nil {
		t.Fatal(err)
	}
	return extended
}

// openExtended opens a model with relevance.
func openExtended(t testing.TB, extended *onnx.Model) relevanceRun {
	t.Helper()
	data, err := extended.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r := relevanceRun{TB: t, half: extended.Graph.Inputs[0].Type == onnx.Float16, channelsLast: extended.Graph.Inputs[0].Shape[3].Is(3)}
	var ok bool
	if r.ends, ok = RelevanceOf(extended); !ok {
		t.Fatal("the model doesn't name its ends")
	}
	if r.session, err = ort.NewSession(data, ort.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.session.Close)
	return r
}

// run returns logits and maps; no target explains the predicted class.
func (r relevanceRun) run(image *onnx.Tensor, target ...int64) (logits, maps []float64) {
	r.Helper()
	n := image.Dims
	if r.channelsLast {
		image = channelsLast(r, image)
	}
	if r.half {
		var err error
		if image, err = image.As(onnx.Float16); err != nil {
			r.Fatal(err)
		}
	}
	pixels, err := ort.BufferFrom(image)
	if err != nil {
		r.Fatal(err)
	}
	defer pixels.Close()
	feed := map[string]*ort.Buffer{r.ends.Image: pixels}
	if target != nil {
		class, err := ort.BufferOf(target, int64(len(target)))
		if err != nil {
			r.Fatal(err)
		}
		defer class.Close()
		feed[r.ends.Target] = class
	}
	out, err := r.session.Call(feed, r.ends.Logits, r.ends.Map)
	if err != nil {
		r.Fatal(err)
	}
	defer out[r.ends.Logits].Close()
	defer out[r.ends.Map].Close()
	if want := []int64{n[0], 1, n[2], n[3]}; !slices.Equal(out[r.ends.Map].Shape(), want) {
		r.Fatalf("the map has shape %v, expected %v", out[r.ends.Map].Shape(), want)
	}
	if logits, err = out[r.ends.Logits].Tensor().Float64s(); err != nil {
		r.Fatal(err)
	}
	return logits, wide(out[r.ends.Map].Float32s())
}

// channelsLast moves an image's channels behind its rows and columns.
func channelsLast(t testing.TB, image *onnx.Tensor) *onnx.Tensor {
	t.Helper()
	from, err := image.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	b, c, area := image.Dims[0], image.Dims[1], image.Dims[2]*image.Dims[3]
	to := make([]float32, len(from))
	for i := range b {
		for j := range c {
			for k := range area {
				to[(i*area+k)*c+j] = from[(i*c+j)*area+k]
			}
		}
	}
	return onnx.FloatTensor(to, b, image.Dims[2], image.Dims[3], c)
}

// softmaxed gives probabilities for logits of so many classes.
func softmaxed(logits []float64, classes int64) []float64 {
	out := make([]float64, len(logits))
	for i := range logits {
		sum := 0.0
		for j := i - i%int(classes); j < i-i%int(classes)+int(classes); j++ {
			sum += math.Exp(logits[j] - logits[i])
		}
		out[i] = 1 / sum
	}
	return out
}

func wide(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// TestModelWithRelevanceMatchesPyTorch holds the second output, of checkpoints
// and of foreign files, against PyTorch's float64 maps.
func TestModelWithRelevanceMatchesPyTorch(t *testing.T) {
	orttest.Need(t)
	for _, name := range []string{"micro", "micro-rect", "micro-deep", "vit-tiny"} {
		c := openOracle(t, name)
		sources := []string{c.weights}
		if foreign := filepath.Join(c.folder, "model.onnx"); exists(foreign) {
			sources = append(sources, foreign)
		}
		in, err := readTraceInputs(filepath.Join(c.folder, "inputs.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		label, err := in.label.Int64s()
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range sources {
			t.Run(name+"/"+filepath.Base(source), func(t *testing.T) {
				logits, maps := withRelevance(t, source, RelevanceOptions{StartLayer: c.config.StartLayer}).run(in.image, label...)
				for key, got := range map[string][]float64{"logits": logits, "relevance_map": maps} {
					want, at := c.want(t, key)
					if e := off(got, want, at); e > 10*c.deviation[key] {
						t.Errorf("%s is off by %.2g, more than 10 times %.2g", key, e, c.deviation[key])
					}
				}
			})
		}
	}
}

// TestModelsWithRelevanceOfTheZooMatchPyTorch does so for every exporter's
// spelling.
func TestModelsWithRelevanceOfTheZooMatchPyTorch(t *testing.T) {
	orttest.Need(t)
	for _, c := range zoo(t) {
		t.Run(c.name, func(t *testing.T) {
			image, err := c.expected.Tensor("image")
			if err != nil {
				t.Fatal(err)
			}
			labels, err := c.expected.Tensor("label")
			if err != nil {
				t.Fatal(err)
			}
			label, err := labels.Int64s()
			if err != nil {
				t.Fatal(err)
			}
			find := models.FindOptions{ImageSize: [2]int64(image.Dims[2:])} // for those that leave it open
			m, err := OpenModel(c.source, ModelOptions{Find: find})
			if err != nil {
				t.Fatal(err)
			}
			found, err := models.Find(m.Graph, m.Find)
			if err != nil {
				t.Fatal(err)
			}
			if batch := found.Image.Shape[0]; batch.Known() && !batch.Is(image.Dims[0]) {
				t.Skipf("the file's batch is fixed at %v, which relevance keeps", batch)
			}
			if !found.Image.Shape[2:].Known() { // tokens must be counted when the map is derived
				if _, err := WithRelevance(m.Source, RelevanceOptions{}); err == nil || !strings.Contains(err.Error(), "isn't known") {
					t.Errorf("an open picture size gives %v", err)
				}
				return
			}
			r := openRelevance(t, m.Source, RelevanceOptions{Find: find})
			logits, maps := r.run(image, label...)
			expected := values(t, c.expected, "logits")
			if m.Focus.Behind == "Softmax" {
				expected = softmaxed(expected, found.Classes)
			}
			if e := off(logits, expected, nil); e > 10*c.deviation["logits"] {
				t.Errorf("logits are off by %.2g, more than 10 times %.2g", e, c.deviation["logits"])
			}
			want, stretch := picturesOf(values(t, c.expected, "relevance"), found.Grid, image.Dims)
			if e := off(maps, want, nil); e > 10*c.deviation["relevance"]*stretch {
				t.Errorf("maps are off by %.2g, more than 10 times %.2g, of which scaling makes %.2g", e, c.deviation["relevance"], stretch)
			}
		})
	}
}

// picturesOf upsamples relevance (B,P) as PyTorch's bilinear interpolation does
// and scales every picture to [0,1]. stretch is how far that magnifies errors
// relative to the largest relevance.
func picturesOf(relevance []float64, grid [2]int64, image []int64) (maps []float64, stretch float64) {
	rows, columns := image[2], image[3]
	patches := grid[0] * grid[1]
	// place is where a pixel lies between two patches.
	place := func(i, pixels, patches int64) (low, high int64, part float64) {
		x := max((float64(i)+0.5)*float64(patches)/float64(pixels)-0.5, 0)
		low = int64(x)
		return low, min(low+1, patches-1), x - float64(low)
	}
	largest := 0.0
	for _, v := range relevance {
		largest = max(largest, math.Abs(v))
	}
	for b := range image[0] {
		r := relevance[b*patches : (b+1)*patches]
		one := make([]float64, 0, rows*columns)
		for y := range rows {
			top, bottom, v := place(y, rows, grid[0])
			for x := range columns {
				left, right, u := place(x, columns, grid[1])
				above := (1-u)*r[top*grid[1]+left] + u*r[top*grid[1]+right]
				below := (1-u)*r[bottom*grid[1]+left] + u*r[bottom*grid[1]+right]
				one = append(one, (1-v)*above+v*below)
			}
		}
		low, high := slices.Min(one), slices.Max(one)
		stretch = max(stretch, 2*largest/(high-low))
		for _, x := range one {
			maps = append(maps, (x-low)/(high-low))
		}
	}
	return maps, stretch
}

// small is a model for pictures of 16x24 pixels in five classes, with random
// weights and more of timm's arguments as JSON.
func small(t testing.TB, more string) *onnx.Model {
	t.Helper()
	a, err := models.NewArchitecture(`{"img_size":[16,24],"patch_size":8,"embed_dim":16,"depth":2,"num_heads":2,"num_classes":5` + more + `}`)
	if err != nil {
		t.Fatal(err)
	}
	c, err := models.RandomCheckpoint(a, 7)
	if err != nil {
		t.Fatal(err)
	}
	m, err := models.Build(c, a, models.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pixels is a batch of noise.
func pixels(batch int) *onnx.Tensor {
	v := make([]float32, batch*3*16*24)
	state := uint32(1)
	for i := range v {
		state = state*1664525 + 1013904223
		v[i] = float32(state>>8)/(1<<23) - 1
	}
	return onnx.FloatTensor(v, int64(batch), 3, 16, 24)
}

// TestTargetChoosesTheClass compares every way of stating it, for batches of 1,
// 2 and 7 pictures.
func TestTargetChoosesTheClass(t *testing.T) {
	orttest.Need(t)
	m := small(t, "")
	r := openRelevance(t, m, RelevanceOptions{})
	if in, optional := r.session.Inputs(), r.session.Optional(); len(in) != 1 || len(optional) != 1 || optional[0].Name != TargetInput {
		t.Fatalf("inputs %v, optional %v", in, optional)
	}
	for _, batch := range []int{1, 2, 7} {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			image := pixels(batch)
			plane := 16 * 24
			byClass := make([][]float64, 5)
			for class := range byClass {
				_, byClass[class] = r.run(image, int64(class))
				each := slices.Repeat([]int64{int64(class)}, batch)
				if _, maps := r.run(image, each...); !slices.Equal(maps, byClass[class]) {
					t.Errorf("class %d stated once and %d times gives other maps", class, batch)
				}
			}
			logits, maps := r.run(image)
			mixed := make([]int64, batch)
			for i := range batch {
				top := int64(top1(narrow(logits[i*5:][:5])))
				if !slices.Equal(maps[i*plane:][:plane], byClass[top][i*plane:][:plane]) {
					t.Errorf("picture %d: without a target the map isn't that of class %d, which is predicted", i, top)
				}
				mixed[i] = int64(i%6) - 1
			}
			_, maps = r.run(image, mixed...)
			for i, class := range mixed {
				if class < 0 {
					class = int64(top1(narrow(logits[i*5:][:5])))
				}
				if !slices.Equal(maps[i*plane:][:plane], byClass[class][i*plane:][:plane]) {
					t.Errorf("picture %d: its map isn't that of its own class %d", i, class)
				}
			}
			if slices.Equal(byClass[0], byClass[1]) {
				t.Error("two classes have the same maps")
			}
			if _, maps := r.run(image, 99); slices.Max(maps) != 0 || slices.Min(maps) != 0 {
				t.Error("a class that the model doesn't have has a map other than zero")
			}
		})
	}
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

func TestRequiredTargetHasNoDefault(t *testing.T) {
	orttest.Need(t)
	m := small(t, "")
	r := openRelevance(t, m, RelevanceOptions{RequireTarget: true})
	if in := r.session.Inputs(); len(in) != 2 || in[1].Name != TargetInput || r.ends.Optional {
		t.Errorf("inputs %v", in)
	}
	_, want := openRelevance(t, m, RelevanceOptions{}).run(pixels(2))
	if _, got := r.run(pixels(2), -1); !slices.Equal(got, want) {
		t.Error("target -1 isn't the default's map")
	}
}

// TestWithRelevanceLeavesTheModelAsItWas compares every field of the source's
// graph with that of the extended one.
func TestWithRelevanceLeavesTheModelAsItWas(t *testing.T) {
	m := small(t, "")
	before := m.Graph.String()
	extended, err := WithRelevance(m, RelevanceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Graph.String() != before {
		t.Error("the source has changed")
	}
	g := extended.Graph
	for i, n := range m.Graph.Nodes {
		own := *g.Nodes[i]
		own.Outputs = own.Outputs[:len(n.Outputs)] // LayerNormalization gives more
		if n.String() != own.String() {
			t.Errorf("node %s has become %s", n, &own)
		}
	}
	for i, v := range m.Graph.Inits {
		if w := g.Inits[i]; w.Name != v.Name || w.Data != v.Data {
			t.Errorf("initializer %s has become %s", v, w)
		}
	}
	if len(g.Inputs) != 2 || len(g.Outputs) != 2 || g.Outputs[0].String() != m.Graph.Outputs[0].String() || g.Outputs[1].Name != MapOutput {
		t.Errorf("inputs %v, outputs %v", g.Inputs, g.Outputs)
	}
	if !slices.Equal(extended.Opsets, m.Opsets) {
		t.Errorf("opsets %v have become %v", m.Opsets, extended.Opsets)
	}
	if problems := onnx.Check(extended); len(problems) > 0 {
		t.Errorf("the checker finds %v", problems)
	}
	for _, n := range g.Nodes {
		if n.Domain != "" {
			t.Errorf("node %s is of domain %s", n.Label(), n.Domain)
		}
	}
}

func TestWithRelevanceRefusesWhatCannotWork(t *testing.T) {
	taken := small(t, "")
	taken.Graph.Rename(taken.Graph.Inits[0], TargetInput)
	twice, err := WithRelevance(small(t, ""), RelevanceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model *onnx.Model
		opt   RelevanceOptions
		want  string
	}{
		{taken, RelevanceOptions{}, `"target"`}, {twice, RelevanceOptions{}, "already"},
		{small(t, ""), RelevanceOptions{StartLayer: 2}, "block 2"},
		{&onnx.Model{Opsets: []onnx.Opset{{Version: 17}}}, RelevanceOptions{}, "no graph"},
	} {
		if _, err := WithRelevance(c.model, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, expected it to name %s", err, c.want)
		}
	}
}
