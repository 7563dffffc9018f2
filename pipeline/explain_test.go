package pipeline

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// agreement holds the ways to a relevance map against each other.
type agreement struct {
	testing.TB
	model    string
	exported string // the model with relevance
	pictures string // folder of folders, each named by a class
	list     []string
	labels   []int64 // the folders' classes
	images   []float32
	shape    []int64 // (1,3,H,W)
	classes  int64
	grid     [2]int64
	known    map[string][2][]float64 // by labels: what traced gave
	worst    float64                 // difference so far
	stretch  float64                 // how far scaling a map to [0,1] magnifies errors
}

// newAgreement exports a model with relevance and draws seven pictures.
func newAgreement(t testing.TB, model string) *agreement {
	t.Helper()
	a := &agreement{TB: t, model: model, exported: filepath.Join(t.TempDir(), "explains.onnx"), pictures: t.TempDir(), known: map[string][2][]float64{}}
	if _, err := Export(context.Background(), model, a.exported, ExportOptions{WithRelevance: true}); err != nil {
		t.Fatal(err)
	}
	m, err := OpenModel(model, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found, err := models.Find(m.Graph, m.Find)
	if err != nil {
		t.Fatal(err)
	}
	a.classes, a.grid = found.Classes, found.Grid
	a.shape = []int64{1, 3, int64(m.Preprocess.Size[0]), int64(m.Preprocess.Size[1])}
	var samples []dataset.Sample
	for i := range 7 {
		label := []int64{0, a.classes - 1, 1}[i%3]
		path := filepath.Join(a.pictures, fmt.Sprint(label), fmt.Sprintf("%d.png", i))
		savePicture(t, path, uint64(i), 40+5*i, 55-4*i)
		samples = append(samples, dataset.Sample{ID: path, ImagePath: path})
	}
	slices.SortFunc(samples, func(a, b dataset.Sample) int { return strings.Compare(a.ID, b.ID) })
	l, err := dataset.NewLoader(samples, dataset.Options{Batch: 7, Preprocess: m.Preprocess})
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := l.Epoch(context.Background(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer epoch.Close()
	batch, err := epoch.Next()
	if err != nil {
		t.Fatal(err)
	}
	a.images = slices.Clone(batch.Images.Data().([]float32))
	for _, s := range samples {
		a.list = append(a.list, s.ImagePath)
		var label int64
		fmt.Sscan(filepath.Base(filepath.Dir(s.ImagePath)), &label)
		a.labels = append(a.labels, label)
	}
	return a
}

// savePicture draws colours that change slowly.
func savePicture(t testing.TB, path string, seed uint64, w, h int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	p := picture.NewRGB(w, h)
	var phase [6]float64
	for i := range phase {
		phase[i] = 6 * r.Float64()
	}
	for i := range p.Pix {
		x, y, c := float64(i/3%w), float64(i/3/w), i%3
		p.Pix[i] = uint8(127 + 60*math.Sin(x/7+phase[c]) + 60*math.Cos(y/5+phase[c+3]))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := p.SavePNG(path); err != nil {
		t.Fatal(err)
	}
}

// first is a batch of the first pictures.
func (a *agreement) first(n int) *onnx.Tensor {
	plane := int(a.shape[1] * a.shape[2] * a.shape[3])
	return onnx.FloatTensor(a.images[:n*plane], int64(n), a.shape[1], a.shape[2], a.shape[3])
}

// traced are the logits and maps of the first pictures by the training graph,
// which is emitted, lowered and run apart from what Explain and Export do. It
// always runs all pictures: each is explained for itself.
func (a *agreement) traced(labels []int64) (logits, maps []float64) {
	a.Helper()
	const n = 7
	count := len(labels)
	labels = append(labels[:count:count], slices.Repeat([]int64{1}, n-count)...)
	key := fmt.Sprint(labels)
	if _, ok := a.known[key]; !ok {
		a.known[key] = a.trace(labels)
	}
	r := a.known[key]
	return r[0][:count*len(r[0])/n], r[1][:count*len(r[1])/n]
}

func (a *agreement) trace(labels []int64) [2][]float64 {
	a.Helper()
	n := len(labels)
	in, out := filepath.Join(a.TempDir(), "in.safetensors"), filepath.Join(a.TempDir(), "out.safetensors")
	mask := onnx.FloatTensor(make([]float32, int64(n)*a.shape[2]*a.shape[3]), int64(n), 1, a.shape[2], a.shape[3])
	err := safetensors.Write(in, []safetensors.Named{{Name: "image", Tensor: a.first(n)}, {Name: "mask", Tensor: mask},
		{Name: "label", Tensor: onnx.Int64Tensor(labels, int64(n))}}, nil)
	if err != nil {
		a.Fatal(err)
	}
	cfg, err := configs.Load(nil, nil)
	if err != nil {
		a.Fatal(err)
	}
	if _, err := Trace(context.Background(), TraceOptions{Model: a.model, Inputs: in, Output: out, Config: cfg}); err != nil {
		a.Fatal(err)
	}
	f, err := safetensors.Open(out)
	if err != nil {
		a.Fatal(err)
	}
	read := func(name string) []float64 {
		tensor, err := f.Tensor(name)
		if err != nil {
			a.Fatal(err)
		}
		v, err := tensor.Float64s()
		if err != nil {
			a.Fatal(err)
		}
		return v
	}
	_, stretch := picturesOf(read("relevance"), a.grid, []int64{int64(n), 3, a.shape[2], a.shape[3]})
	a.stretch = max(a.stretch, stretch)
	return [2][]float64{read("logits"), read("relevance_map")}
}

// predicted are the classes of the first pictures.
func (a *agreement) predicted(n int) []int64 {
	logits, _ := a.traced(slices.Repeat([]int64{1}, n))
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(top1(narrow(logits[i*int(a.classes):][:a.classes])))
	}
	return out
}

// agrees is the promise: 1e-5 of the largest relevance before it is scaled.
func (a *agreement) agrees(what string, got, want []float64) {
	a.Helper()
	if len(got) != len(want) {
		a.Fatalf("%s: %d values, expected %d", what, len(got), len(want))
	}
	limit := 1e-5 * max(1, a.stretch/2) // a.stretch is 2 where the least is 0
	e := off(got, want, nil)
	if a.worst = max(a.worst, e); !(e <= limit) {
		a.Errorf("%s: maps are off by %.2g, more than %.2g", what, e, limit)
	}
	if slices.Max(want) != 1 {
		a.Errorf("%s: the largest value is %v: the case says nothing", what, slices.Max(want))
	}
}

// exportedAgrees runs the exported file as any user of ONNX Runtime would.
func (a *agreement) exportedAgrees(classes []int64) {
	a.Helper()
	m, _, err := onnx.ReadModel(a.exported)
	if err != nil {
		a.Fatal(err)
	}
	session, err := ort.Open(a.exported, ort.Options{})
	if err != nil {
		a.Fatal(err)
	}
	defer session.Close()
	r := relevanceRun{TB: a, session: session}
	r.ends, _ = RelevanceOf(m)
	r.channelsLast = m.Graph.Find(r.ends.Image).Shape[3].Is(3)
	for _, n := range []int{1, 2, 7} {
		top := a.predicted(n)
		_, want := a.traced(top)
		_, got := r.run(a.first(n))
		a.agrees(fmt.Sprintf("%d pictures, no target", n), got, want)
		for _, class := range classes {
			_, want := a.traced(slices.Repeat([]int64{class}, n))
			_, got := r.run(a.first(n), class)
			a.agrees(fmt.Sprintf("%d pictures, class %d", n, class), got, want)
		}
		mixed := slices.Clone(a.labels[:n])
		_, want = a.traced(mixed)
		_, got = r.run(a.first(n), mixed...)
		a.agrees(fmt.Sprintf("%d pictures, a class each", n), got, want)
		mixed[0] = -1
		_, got = r.run(a.first(n), mixed...)
		mixed[0] = top[0]
		_, want = a.traced(mixed)
		a.agrees(fmt.Sprintf("%d pictures, the first's class predicted", n), got, want)
	}
}

// explainAgrees explains the pictures in batches that don't divide them, and
// compares what it wrote.
func (a *agreement) explainAgrees(model string, class int64) {
	a.Helper()
	for target, labels := range map[string][]int64{TargetTop1: a.predicted(7), fmt.Sprint(class): slices.Repeat([]int64{class}, 7), TargetLabel: a.labels} {
		_, want := a.traced(labels)
		out := filepath.Join(a.TempDir(), "maps")
		e, err := Explain(context.Background(), ExplainOptions{Model: model, Inputs: []string{a.pictures}, Output: out, Targets: []string{target}, Batch: 3, Opacity: 0.5})
		if err != nil {
			a.Fatal(err)
		}
		var got []float64
		for i, p := range e.Pictures {
			if p.Picture != a.list[i] || p.Target.Class != int(labels[i]) || p.Constant {
				a.Errorf("target %s: picture %d is %+v", target, i, p)
			}
			rows, columns, values := readNumPy(a, filepath.Join(out, filepath.FromSlash(p.Map)))
			if rows != a.shape[2] || columns != a.shape[3] {
				a.Fatalf("%s is (%d,%d)", p.Map, rows, columns)
			}
			got = append(got, wide(values)...)
		}
		a.agrees("explain --target "+target, got, want)
	}
}

// readNumPy reads a float32 matrix by the description of the format, version
// 1.0, in NEP 1.
func readNumPy(t testing.TB, path string) (rows, columns int64, values []float32) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(data, []byte("\x93NUMPY\x01\x00")) {
		t.Fatalf("%s begins with %q", path, data[:8])
	}
	n := int(binary.LittleEndian.Uint16(data[8:]))
	header := string(data[10 : 10+n])
	if (10+n)%64 != 0 || header[n-1] != '\n' {
		t.Errorf("%s: the header %q isn't aligned, or has no end", path, header)
	}
	if _, err := fmt.Sscanf(header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", &rows, &columns); err != nil {
		t.Fatalf("%s: header %q: %v", path, header, err)
	}
	values = make([]float32, rows*columns)
	if _, err := binary.Decode(data[10+n:], binary.LittleEndian, values); err != nil || len(data) != 10+n+4*len(values) {
		t.Fatalf("%s: %d bytes of data for %d values: %v", path, len(data)-10-n, len(values), err)
	}
	return rows, columns, values
}

// saved writes a model to a file.
func saved(t testing.TB, m *onnx.Model) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnx.WriteModel(path, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRelevanceOfTheExportedFileEqualsExplainsAndTheTrainingGraphs is the
// promise of --with-relevance, for models with and without class token, with
// channels last, and with a softmax behind the logits.
func TestRelevanceOfTheExportedFileEqualsExplainsAndTheTrainingGraphs(t *testing.T) {
	orttest.Need(t)
	for name, model := range map[string]string{
		"class token":               saved(t, small(t, "")),
		"mean of patches":           saved(t, small(t, `,"class_token":false,"global_pool":"avg"`)),
		"channels last, Softmax":    "testdata/zoo/keras-tf2onnx-13/model.onnx",
		"two tokens, two heads":     "testdata/zoo/hf-deit-teacher-17/model.onnx",
		"operators of ONNX Runtime": "testdata/zoo/ort-extended/model.onnx",
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgreement(t, model)
			a.exportedAgrees([]int64{0, 1, a.classes - 1})
			a.explainAgrees(a.model, 1)
			a.explainAgrees(a.exported, 1)
		})
	}
}

// TestExplainAcceptsAModelOfEveryKind explains by a checkpoint, and by one with
// a fixed batch size.
func TestExplainAcceptsAModelOfEveryKind(t *testing.T) {
	orttest.Need(t)
	a := newAgreement(t, saved(t, small(t, "")))
	checkpoint, fixed, both := filepath.Join(t.TempDir(), "x.safetensors"), filepath.Join(t.TempDir(), "x.onnx"), filepath.Join(t.TempDir(), "x.onnx")
	for out, opt := range map[string]ExportOptions{checkpoint: {}, fixed: {Batch: 4}, both: {Batch: 2, WithRelevance: true}} {
		if _, err := Export(context.Background(), a.model, out, opt); err != nil {
			t.Fatal(err)
		}
	}
	for _, model := range []string{fixed, both} {
		a.explainAgrees(model, 2)
	}
	e, err := Explain(context.Background(), ExplainOptions{Model: checkpoint, Inputs: a.list[:2], Output: filepath.Join(t.TempDir(), "maps"),
		Open: ModelOptions{Convert: models.Options{Heads: 2, ImageSize: [2]int{16, 24}}}})
	if err != nil {
		t.Fatal(err)
	}
	_, want := a.traced(a.predicted(2))
	var got []float64
	for _, p := range e.Pictures {
		_, _, values := readNumPy(t, filepath.Join(e.Output, p.Map))
		got = append(got, wide(values)...)
	}
	a.agrees("a checkpoint", got, want)
}

// TestExplainWorksWhereAGraphLeavesThingsOpen has a picture of open size, and a
// second output with an input of its own.
func TestExplainWorksWhereAGraphLeavesThingsOpen(t *testing.T) {
	orttest.Need(t)
	m := small(t, "")
	a := newAgreement(t, saved(t, m))
	_, want := a.traced(slices.Repeat([]int64{1}, 7))
	g := m.Graph
	b := onnx.NewBuilder(g)
	words := g.AddInput("words", onnx.Float, onnx.Shape{onnx.D(1), onnx.D(5)})
	g.Outputs = slices.Insert(g.Outputs, 0, b.Named("logits_of_words", b.MatMul(words, b.Const(onnx.FloatTensor(make([]float32, 35), 5, 7)))))
	g.Inputs[0].Shape[2], g.Inputs[0].Shape[3] = onnx.Dim{N: 1, Sym: "height"}, onnx.Dim{N: 1, Sym: "width"}
	open := ModelOptions{Find: models.FindOptions{ImageSize: [2]int64{16, 24}}}
	e, err := Explain(context.Background(), ExplainOptions{Model: saved(t, m), Inputs: []string{a.pictures}, Output: filepath.Join(t.TempDir(), "maps"), Targets: []string{"1"}, Open: open})
	if err != nil {
		t.Fatal(err)
	}
	var got []float64
	for _, p := range e.Pictures {
		_, _, values := readNumPy(t, filepath.Join(e.Output, filepath.FromSlash(p.Map)))
		got = append(got, wide(values)...)
	}
	a.agrees("an open picture", got, want)
}

func TestExplainWritesWhatItSays(t *testing.T) {
	orttest.Need(t)
	m := small(t, "")
	m.Metadata = append(m.Metadata, onnx.KV{Key: models.MetaLabels, Value: `["ant","bee","cat, tabby, pet","dog, pet","elk"]`})
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "maps")
	for i, name := range []string{"cat/a.png", "cat/a.bmp.png", "dog/b.png", "dog/.hidden/c.png", "dog/notes.txt"} {
		savePicture(t, filepath.Join(in, filepath.FromSlash(name)), uint64(i), 30, 40)
	}
	if err := os.Rename(filepath.Join(in, "dog", "notes.txt"), filepath.Join(in, "dog", "README")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in, "cat", "broken.jpg"), []byte("none"), 0o666); err != nil {
		t.Fatal(err)
	}
	var began, ended int
	opt := ExplainOptions{Model: saved(t, m), Inputs: []string{in}, Output: out, Targets: []string{TargetLabel}, Batch: 2, Opacity: 0.5,
		OnStart: func(n int) { began = n }, OnProgress: func(done, total int) { ended = done }}
	e, err := Explain(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range e.Pictures {
		names = append(names, p.Map)
		sum := 0.0
		for i, c := range p.Top {
			sum += float64(c.Probability)
			if i > 0 && c.Probability > p.Top[i-1].Probability {
				t.Errorf("%s: classes aren't in order: %+v", p.Picture, p.Top)
			}
		}
		if len(p.Top) != 5 || math.Abs(sum-1) > 1e-6 {
			t.Errorf("%s: the probabilities of all five classes add up to %v", p.Picture, sum)
		}
		if want := filepath.Base(filepath.Dir(p.Picture)); !strings.HasPrefix(p.Target.Name, want) {
			t.Errorf("%s: class %+v was explained", p.Picture, p.Target)
		}
		rows, columns, values := readNumPy(t, filepath.Join(out, p.Map))
		gray, err := picture.ReadMask(filepath.Join(out, p.MapPNG), picture.MaskOptions{Encoding: picture.Binary})
		if err != nil || int64(gray.H) != rows || int64(gray.W) != columns {
			t.Errorf("%s: %v", p.MapPNG, err)
		}
		overlay, err := picture.ReadFile(filepath.Join(out, p.Overlay))
		if err != nil || int64(overlay.H) != rows || int64(overlay.W) != columns {
			t.Errorf("%s: %v", p.Overlay, err)
		}
		for i, v := range values { // of a mask the upper 8 bits are read
			if got := float64(gray.Pix[i]); math.Abs(got-float64(v)) > 1.0/255 {
				t.Fatalf("%s: pixel %d is %v, the map %v", p.MapPNG, i, got, v)
			}
		}
	}
	if want := []string{"cat/a.bmp.npy", "cat/a.npy", "dog/b.npy"}; !slices.Equal(names, want) {
		t.Errorf("maps %v, want %v", names, want)
	}
	if len(e.Skipped) != 1 || !strings.HasSuffix(e.Skipped[0].Picture, "broken.jpg") || began != 4 || ended != 4 {
		t.Errorf("skipped %v, %d of %d", e.Skipped, ended, began)
	}
	text, err := os.ReadFile(filepath.Join(out, explanationName))
	if err != nil {
		t.Fatal(err)
	}
	var read Explanation
	if err := json.Unmarshal(text, &read); err != nil || len(read.Pictures) != 3 || read.Method != MethodRelevance || read.Target != TargetLabel {
		t.Errorf("explain.json says %+v, %v", read, err)
	}
	var there *ExistsError
	if _, err := Explain(context.Background(), opt); !errors.As(err, &there) {
		t.Errorf("a second explanation over the first gives %v", err)
	}
	opt.Force, opt.Strict = true, true
	if _, err := Explain(context.Background(), opt); err == nil || !strings.Contains(err.Error(), "broken.jpg") {
		t.Errorf("strict, a broken picture gives %v", err)
	}
}

// TestInterruptedExplanationListsWhatThereIs ends after the first batch.
func TestInterruptedExplanationListsWhatThereIs(t *testing.T) {
	orttest.Need(t)
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "maps")
	for i := range 9 {
		savePicture(t, filepath.Join(in, fmt.Sprintf("%d.png", i)), uint64(i), 30, 40)
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Explain(ctx, ExplainOptions{Model: saved(t, small(t, "")), Inputs: []string{in}, Output: out, Batch: 2, OnProgress: func(int, int) { cancel() }})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "of 9 pictures are explained") {
		t.Fatalf("got %v", err)
	}
	text, err := os.ReadFile(filepath.Join(out, explanationName))
	if err != nil {
		t.Fatal(err)
	}
	var e Explanation
	if err := json.Unmarshal(text, &e); err != nil || len(e.Pictures) < 2 || len(e.Pictures) == 9 {
		t.Fatalf("%d pictures are listed, %v", len(e.Pictures), err)
	}
	for _, p := range e.Pictures {
		readNumPy(t, filepath.Join(out, p.Map))
	}
}

func TestExplainRefusesWhatCannotWork(t *testing.T) {
	orttest.Need(t)
	m := small(t, "")
	model, in := saved(t, m), filepath.Join(t.TempDir(), "pictures")
	savePicture(t, filepath.Join(in, "a.png"), 1, 30, 40)
	broken := t.TempDir()
	for _, name := range []string{"x.png", "y.png", "z.png"} {
		if err := os.WriteFile(filepath.Join(broken, name), []byte("none"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	explains, err := WithRelevance(m, RelevanceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	one, far := 1, 2
	for want, c := range map[string]struct {
		opt  ExplainOptions
		code int
	}{
		"no method \"lime\"":                 {ExplainOptions{Maps: MapOptions{Methods: []string{"lime"}}}, 2},
		"target 5: the model's classes":      {ExplainOptions{Targets: []string{"5"}}, 2},
		"target -1: the model's classes":     {ExplainOptions{Targets: []string{"-1"}}, 2},
		"state a table of classes":           {ExplainOptions{Targets: []string{"tabby"}}, 2},
		"no class of the model":              {ExplainOptions{Targets: []string{TargetLabel}}, 3},
		"there is no such file":              {ExplainOptions{Inputs: []string{"nowhere"}}, 3},
		"no image files in it":               {ExplainOptions{Inputs: []string{t.TempDir()}}, 3},
		"none of the 3 pictures":             {ExplainOptions{Inputs: []string{broken}}, 3},
		"no attention lies in block 2":       {ExplainOptions{StartLayer: &far}, 2},
		"it has its relevance map already":   {ExplainOptions{Model: saved(t, explains), StartLayer: &one}, 2},
		"names no value and no node of the ": {ExplainOptions{Open: ModelOptions{Find: models.FindOptions{Attention: []string{"nothing"}}}}, 2},
	} {
		opt := c.opt
		opt.Output = filepath.Join(t.TempDir(), "maps")
		if opt.Model == "" {
			opt.Model = model
		}
		if opt.Inputs == nil {
			opt.Inputs = []string{in}
		}
		_, err := Explain(context.Background(), opt)
		var code interface{ ExitCode() int }
		var wrong *configs.Error
		switch {
		case err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(want, "it ")):
			t.Errorf("got %v, want %q", err, want)
		case errors.As(err, &wrong) && c.code == 2:
		case !errors.As(err, &code) || code.ExitCode() != c.code:
			t.Errorf("%v: no exit code %d", err, c.code)
		}
		if exists(filepath.Join(opt.Output, explanationName)) && want != "none of the 3 pictures" {
			t.Errorf("%s: something was written", want)
		}
	}
}

func TestNamesOfMapsAreUniqueAndKeepFolders(t *testing.T) {
	list := []sitter{{name: "a.png"}, {name: "a.jpg"}, {name: "A.png"}, {name: "b.png"}, {name: "b.png"}, {name: "c/d.tar.png"}}
	nameSitters(list)
	var got []string
	for _, s := range list {
		got = append(got, s.name)
	}
	if want := []string{"a.png", "a.jpg", "A.png-2", "b.png", "b.png-2", "c/d.tar"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTargetsAreClassesByNumberNameOrOneOfTheirNames(t *testing.T) {
	targets := &targets{names: []string{"tench, Tinca tinca", "crane", "crane, bird", "cat"}, classes: 4}
	for text, want := range map[string]int64{"0": 0, "3": 3, "cat": 3, "tench": 0, "Tinca tinca": 0, "bird": 2, "crane": 1, "4": -1, "tin": -1, "": -1} {
		got, err := targets.class(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q is class %d, want %d (%v)", text, got, want, err)
		}
	}
}

func TestProbabilitiesAreLeftAsTheyAre(t *testing.T) {
	if got := probabilities([]float32{0.25, 0.75}); got[0] != 0.25 || got[1] != 0.75 {
		t.Errorf("probabilities have become %v", got)
	}
	if got := probabilities([]float32{1000, 1000, -1e30}); got[0] != 0.5 || got[1] != 0.5 || got[2] != 0 {
		t.Errorf("logits give %v", got)
	}
}
