package pipeline

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/benchmark/benchmarktest"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// colourModel writes a model that predicts the class whose colour is nearest to
// a picture's mean: logits 2 m.c - |c|^2, with m and c normalised.
type colourModel struct {
	mean, std [3]float32 // zero: 0.5, and the file doesn't say
	classes   int        // 0: 1000
	batch     int64      // 0: open
	names     []string
}

func (m colourModel) write(t testing.TB) string {
	t.Helper()
	if m.classes == 0 {
		m.classes = 1000
	}
	mean, std := m.mean, m.std
	if std == [3]float32{} {
		mean, std = picture.HalfMeanStd, picture.HalfMeanStd
	}
	weights, bias := make([]float32, 3*m.classes), make([]float32, m.classes)
	for class := range m.classes {
		c := benchmarktest.Colour(class)
		for i, level := range []uint8{c.R, c.G, c.B} {
			v := (float32(level)/255 - mean[i]) / std[i]
			weights[i*m.classes+class] = 2 * v
			bias[class] -= v * v
		}
	}
	g := onnx.NewGraph("colours")
	batch := onnx.Dim{N: 1, Sym: "batch"}
	if m.batch > 0 {
		batch = onnx.D(m.batch)
	}
	image := g.AddInput("image", onnx.Float, onnx.Shape{batch, onnx.D(3), onnx.D(16), onnx.D(16)})
	b := onnx.NewBuilder(g)
	means := b.Op("Flatten", nil, b.Op("GlobalAveragePool", nil, image))
	logits := b.Op("Gemm", nil, means, b.Const(onnx.FloatTensor(weights, 3, int64(m.classes))), b.Const(onnx.FloatTensor(bias, int64(m.classes))))
	g.Outputs = []*onnx.Value{b.Named("logits", logits)}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	model := &onnx.Model{IRVersion: 8, Producer: "test", Opsets: []onnx.Opset{{Version: 17}}, Graph: g}
	if m.std != [3]float32{} {
		stated, err := json.Marshal(picture.Preprocess{Size: [2]int{16, 16}, Resize: picture.ResizeShorter, CropPct: 1, Interpolation: picture.Bicubic, Mean: m.mean, Std: m.std})
		if err != nil {
			t.Fatal(err)
		}
		model.Metadata = append(model.Metadata, onnx.KV{Key: models.MetaPreprocess, Value: string(stated)})
	}
	if m.names != nil {
		names, err := json.Marshal(m.names)
		if err != nil {
			t.Fatal(err)
		}
		model.Metadata = append(model.Metadata, onnx.KV{Key: models.MetaLabels, Value: string(names)})
	}
	path := filepath.Join(t.TempDir(), "colours.onnx")
	if err := onnx.WriteModel(path, model, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// evaluated evaluates models on a data set written into a folder of the given
// name, strictly unless the options say otherwise.
func evaluated(t *testing.T, name string, set benchmarktest.Set, opt EvaluateOptions) (*Evaluation, error) {
	t.Helper()
	opt.Data = filepath.Join(t.TempDir(), name)
	set.Write(t, opt.Data)
	if opt.Batch == 0 {
		opt.Batch = 5
	}
	return Evaluate(context.Background(), opt)
}

// counts fails unless a model got so many pictures, so many right.
func counts(t *testing.T, m EvaluatedModel, images, right1, right5 int) {
	t.Helper()
	if m.Images != images || m.Right1 != right1 || m.Right5 != right5 || math.Abs(float64(m.Top1)-float64(right1)/float64(images)) > 1e-12 || math.Abs(float64(m.Top5)-float64(right5)/float64(images)) > 1e-12 {
		t.Errorf("%s: %d images, %d and %d right, %v and %v; want %d, %d, %d", m.Model, m.Images, m.Right1, m.Right5, m.Top1, m.Top5, images, right1, right5)
	}
	sum := Score{}
	for _, c := range m.PerClass {
		sum.Images, sum.Right1, sum.Right5 = sum.Images+c.Images, sum.Right1+c.Right1, sum.Right5+c.Right5
	}
	if sum.Images != images || sum.Right1 != right1 || sum.Right5 != right5 {
		t.Errorf("%s: the classes add up to %+v", m.Model, sum)
	}
}

// painted gives a set's picture the colour of another class.
func painted(set benchmarktest.Set, path string, class int) benchmarktest.Set {
	set.Pictures = slices.Clone(set.Pictures)
	i := slices.IndexFunc(set.Pictures, func(p benchmarktest.Picture) bool { return p.Path == path })
	set.Pictures[i].Class = class
	return set
}

func TestEvaluateCountsKnownPredictionsOnEveryLayout(t *testing.T) {
	orttest.Need(t)
	model := colourModel{}.write(t)
	flat := benchmarktest.ImageNetFlat()
	flat.Texts = map[string]string{"val.txt": benchmarktest.FlatTruths()["val.txt"]}
	v2 := benchmarktest.ImageNetV2()
	v2 = painted(v2, "0/0.jpeg", 1)     // beside class 0: one of the five largest
	v2 = painted(v2, "999/1.jpeg", 555) // far from class 999
	for _, c := range []struct {
		layout                 string
		set                    benchmarktest.Set
		images, right1, right5 int
	}{
		{"imagenet", benchmarktest.ImageNet(), 12, 12, 12},
		{"imagenet-flat", flat, 6, 6, 6},
		{"imagenetv2", v2, 12, 10, 11},
		{"imagenet-a", benchmarktest.ImageNetA(), 12, 12, 12},
		{"imagenet-r", benchmarktest.ImageNetR(), 12, 12, 12},
		{"imagenet-sketch", benchmarktest.ImageNetSketch(), 12, 12, 12},
		{"objectnet", benchmarktest.ObjectNet(), 8, 8, 8},
		{"si-score", benchmarktest.SIScore(), 12, 12, 12},
	} {
		for _, protocol := range []string{ProtocolStandard, ProtocolPaper} {
			t.Run(c.layout+"/"+protocol, func(t *testing.T) {
				e, err := evaluated(t, c.layout, c.set, EvaluateOptions{Models: []string{model}, Protocol: protocol, Strict: true})
				if err != nil {
					t.Fatal(err)
				}
				if e.Layout != c.layout || e.Protocol != protocol || e.Images != c.images || len(e.Skipped) != 0 {
					t.Errorf("%+v", e)
				}
				counts(t, e.Models[0], c.images, c.right1, c.right5)
			})
		}
	}
}

// TestImageNetAAndRAreRestrictedToTheirClassesByStandardAlone paints a picture
// in the colour of a class that the data set hasn't.
func TestImageNetAAndRAreRestrictedToTheirClassesByStandardAlone(t *testing.T) {
	orttest.Need(t)
	model := colourModel{}.write(t)
	for layout, set := range map[string]benchmarktest.Set{
		"imagenet-a": painted(benchmarktest.ImageNetA(), "n12267677/0.00_x.jpg", 989), // of its colours 988's is nearest
		"imagenet-r": painted(benchmarktest.ImageNetR(), "n09472597/art_0.jpg", 970),  // of its colours 980's is nearest
	} {
		for protocol, right := range map[string]int{ProtocolStandard: 12, ProtocolPaper: 11} {
			e, err := evaluated(t, layout, set, EvaluateOptions{Models: []string{model}, Protocol: protocol})
			if err != nil {
				t.Fatal(err)
			}
			counts(t, e.Models[0], 12, right, 12)
		}
	}
}

func TestObjectNetCountsEveryMappedClassByStandardAndTheFirstByPaper(t *testing.T) {
	orttest.Need(t)
	model := colourModel{}.write(t)
	set := painted(painted(benchmarktest.ObjectNet(), "images/alarm_clock/0.png", 530), "images/chair/2.png", 765)
	for protocol, right := range map[string]int{ProtocolStandard: 8, ProtocolPaper: 6} {
		e, err := evaluated(t, "objectnet", set, EvaluateOptions{Models: []string{model}, Protocol: protocol})
		if err != nil {
			t.Fatal(err)
		}
		counts(t, e.Models[0], 8, right, right)
		for _, c := range e.Models[0].PerClass {
			want := map[string][]int{"alarm_clock": {409, 530}, "chair": {423, 559, 765}}[c.Class]
			if protocol == ProtocolPaper {
				want = want[:1]
			}
			if c.Images != 4 || !slices.Equal(c.Targets, want) || c.Name == "" {
				t.Errorf("%s: %+v", protocol, c)
			}
		}
	}
}

// TestObjectNetsRedBorderIsSeenWhereItIsNotCutOff shows that the miniature can
// tell: as class folders its pictures are wrong.
func TestObjectNetsRedBorderIsSeenWhereItIsNotCutOff(t *testing.T) {
	orttest.Need(t)
	model := colourModel{}.write(t)
	set := benchmarktest.ObjectNet()
	for i := range set.Pictures {
		p := &set.Pictures[i]
		p.Path = fmt.Sprintf("%d/%d.png", p.Class, i)
	}
	e, err := evaluated(t, "folders", set, EvaluateOptions{Models: []string{model}, Layout: "folders"})
	if err != nil {
		t.Fatal(err)
	}
	counts(t, e.Models[0], 12, 0, 0)
}

func TestSIScoreIsCountedByFactorToo(t *testing.T) {
	orttest.Need(t)
	set := painted(painted(benchmarktest.SIScore(), "rotation/hot dog/0.jpg", 0), "rotation/hot dog/1.jpg", 933) // 933 is beside 934
	e, err := evaluated(t, "si", set, EvaluateOptions{Models: []string{colourModel{}.write(t)}})
	if err != nil {
		t.Fatal(err)
	}
	counts(t, e.Models[0], 12, 10, 11)
	got := fmt.Sprint(e.Models[0].Parts)
	if want := "[{area {4 4 4 1 1}} {location {4 4 4 1 1}} {rotation {4 2 3 0.5 0.75}}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestModelsShareDecodedPicturesEachWithItsOwnPreprocessing evaluates models of
// two normalisations, one of them at a fixed batch size, which standard tells
// apart and paper doesn't.
func TestModelsShareDecodedPicturesEachWithItsOwnPreprocessing(t *testing.T) {
	orttest.Need(t)
	half, own := colourModel{}.write(t), colourModel{mean: picture.ImageNetMean, std: picture.ImageNetStd, batch: 3}.write(t)
	set := benchmarktest.ImageNet()
	list := filepath.Join(t.TempDir(), "predictions.csv")
	e, err := evaluated(t, "imagenet", set, EvaluateOptions{Models: []string{half, own, half}, CSV: list})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range e.Models {
		counts(t, m, 12, 12, 12)
		if m.Model != []string{half, own, half}[i] || m.Classes != 1000 || m.Preprocess.Mean[0] != []float32{0.5, 0.485, 0.5}[i] {
			t.Errorf("%+v", m)
		}
	}
	f, err := os.Open(list)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != 37 {
		t.Fatalf("%d lines (%v)", len(lines), err)
	}
	for _, line := range lines[1:] {
		if line[2] != line[4] || line[6] != "1" || !strings.HasPrefix(line[0], line[1]+"/") {
			t.Errorf("%q", line)
		}
	}
	if _, err := evaluated(t, "imagenet", set, EvaluateOptions{Models: []string{half}, CSV: list}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("%v", err)
	}

	// By paper all are normalised with 0.5. What the second then takes a colour
	// for is by its own formula.
	e, err = evaluated(t, "imagenet", set, EvaluateOptions{Models: []string{half, own}, Protocol: ProtocolPaper})
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for _, p := range set.Pictures {
		if mistaken(p.Class) == p.Class {
			right++
		}
	}
	if right == 12 {
		t.Fatal("the normalisations don't differ")
	}
	counts(t, e.Models[0], 12, 12, 12)
	if m := e.Models[1]; m.Right1 != right || m.Preprocess != picture.PaperEval(16, 16) {
		t.Errorf("%d right, want %d; %+v", m.Right1, right, m.Preprocess)
	}
}

// mistaken is the class that a model of ImageNet's normalisation sees in a
// class's colour normalised with 0.5.
func mistaken(class int) int {
	normalise := func(c int, mean, std [3]float32) (v [3]float64) {
		p := benchmarktest.Colour(c)
		for i, level := range []uint8{p.R, p.G, p.B} {
			v[i] = (float64(level)/255 - float64(mean[i])) / float64(std[i])
		}
		return v
	}
	seen := normalise(class, picture.HalfMeanStd, picture.HalfMeanStd)
	best, least := 0, math.Inf(1)
	for c := range 1000 {
		d := 0.0
		for i, v := range normalise(c, picture.ImageNetMean, picture.ImageNetStd) {
			d += (v - seen[i]) * (v - seen[i])
		}
		if d < least {
			best, least = c, d
		}
	}
	return best
}

func TestUnreadablePicturesAreCountedOutAndListed(t *testing.T) {
	orttest.Need(t)
	model := colourModel{}.write(t)
	set := benchmarktest.ImageNet()
	set.Texts = map[string]string{"n01440764/broken.JPEG": "no picture", "n15075141/zz.JPEG": ""}
	dir := filepath.Join(t.TempDir(), "imagenet")
	set.Write(t, dir)
	gone := filepath.Join(dir, "n01751748", "gone.JPEG")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), gone); err != nil {
		t.Skip(err)
	}
	told := 0
	e, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{model}, Data: dir, Batch: 4, OnSkipped: func(string, string) { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	counts(t, e.Models[0], 12, 12, 12)
	var skipped []string
	for _, s := range e.Skipped {
		skipped = append(skipped, filepath.Base(s.Picture))
	}
	if e.Images != 12 || told != 3 || fmt.Sprint(skipped) != "[broken.JPEG gone.JPEG zz.JPEG]" {
		t.Errorf("%d images, %d told, skipped %v", e.Images, told, skipped)
	}
	_, err = Evaluate(context.Background(), EvaluateOptions{Models: []string{model}, Data: dir, Strict: true})
	if e := (*picture.Error)(nil); !errors.As(err, &e) || e.ExitCode() != 3 {
		t.Errorf("%v", err)
	}
}

func TestDataOfNothingButUnreadablePicturesIsAnError(t *testing.T) {
	orttest.Need(t)
	set := benchmarktest.Set{Texts: map[string]string{"n01440764/a.JPEG": "x", "n01440764/b.JPEG": "y"}}
	_, err := evaluated(t, "imagenet", set, EvaluateOptions{Models: []string{colourModel{}.write(t)}})
	if !errors.Is(err, dataset.ErrEmpty) || !strings.Contains(err.Error(), "a.JPEG") || !strings.Contains(err.Error(), "none of the 2 pictures can be read") {
		t.Errorf("%v", err)
	}
}

func TestClassFoldersAreLabelledByTableNamesNumbersOrRank(t *testing.T) {
	orttest.Need(t)
	set := benchmarktest.Set{Pictures: []benchmarktest.Picture{{Path: "cat/a.png", Class: 2}, {Path: "dog/b.png", Class: 0}, {Path: "eel/c.png", Class: 1}, {Path: "eel/d.png", Class: 2}}}
	ranked := benchmarktest.Set{Pictures: []benchmarktest.Picture{{Path: "cat/a.png", Class: 0}, {Path: "dog/b.png", Class: 1}, {Path: "eel/c.png", Class: 2}, {Path: "eel/d.png", Class: 1}}}
	numbered := benchmarktest.Set{Pictures: []benchmarktest.Picture{{Path: "2/a.png", Class: 2}, {Path: "0/b.png", Class: 0}, {Path: "1/c.png", Class: 1}, {Path: "1/d.png", Class: 2}}}
	listed := set
	listed.Texts = map[string]string{"list.csv": "image,label\ncat/a.png,cat\ndog/b.png,0\neel/c.png,1\neel/d.png,eel\n"}
	table := filepath.Join(t.TempDir(), "classes.tsv")
	if err := os.WriteFile(table, []byte("2\tcat\n0\tdog\n1\teel\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	plain, named := colourModel{classes: 3}.write(t), colourModel{classes: 3, names: []string{"dog", "eel, conger", "tom, cat"}}.write(t)
	for name, c := range map[string]struct {
		set benchmarktest.Set
		opt EvaluateOptions
	}{
		"table":  {set, EvaluateOptions{Models: []string{plain}, Classes: table}},
		"names":  {set, EvaluateOptions{Models: []string{named, plain}}},
		"number": {numbered, EvaluateOptions{Models: []string{plain}}},
		"rank":   {ranked, EvaluateOptions{Models: []string{plain}}},
		"csv":    {listed, EvaluateOptions{Models: []string{named}, Layout: "csv"}},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := evaluated(t, "pets", c.set, c.opt)
			if err != nil {
				t.Fatal(err)
			}
			counts(t, e.Models[0], 4, 3, 4)
		})
	}
	_, err := evaluated(t, "pets", set, EvaluateOptions{Models: []string{colourModel{classes: 4}.write(t)}})
	labelError(t, err, `3 of its 3 classes, such as "cat"`, "the model has 4", "--classes")
	_, err = evaluated(t, "pets", set, EvaluateOptions{Models: []string{named, colourModel{classes: 4}.write(t)}})
	labelError(t, err, "different classes", "one by one")
	_, err = evaluated(t, "pets", set, EvaluateOptions{Models: []string{named, colourModel{classes: 3, names: []string{"cat", "dog", "eel"}}.write(t)}})
	labelError(t, err, "different classes")
	_, err = evaluated(t, "imagenet", benchmarktest.ImageNet(), EvaluateOptions{Models: []string{plain}, Layout: "imagenet"})
	labelError(t, err, "the model has 3 classes", "labelled by 1000")
}

func labelError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if !errors.Is(err, dataset.ErrLabel) {
		t.Errorf("%v is no ErrLabel", err)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%v: it lacks %q", err, p)
		}
	}
}

func TestEvaluateStopsWhenInterruptedAndSaysHowFarItGot(t *testing.T) {
	orttest.Need(t)
	dir := filepath.Join(t.TempDir(), "imagenet")
	benchmarktest.ImageNet().Write(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	list := filepath.Join(t.TempDir(), "p.csv")
	_, err := Evaluate(ctx, EvaluateOptions{Models: []string{colourModel{}.write(t)}, Data: dir, Batch: 4, CSV: list, OnProgress: func(int, int) { cancel() }})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "4 of 12 pictures were evaluated") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(list); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the list of predictions: %v", err)
	}
}

func TestEvaluateRefusesWhatIsNoProtocol(t *testing.T) {
	_, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{"m"}, Protocol: "mine"})
	if e := (*configs.Error)(nil); !errors.As(err, &e) {
		t.Errorf("%v", err)
	}
}

func TestJudgeRanksTheBestOfTheRightClasses(t *testing.T) {
	logits := []float32{1, 7, 3, 3, 5, 4, 0}
	nan := float32(math.NaN())
	for _, c := range []struct {
		logits       []float32
		right, among []int
		predicted    int
		rank         int
	}{
		{logits, []int{1}, nil, 1, 0},
		{logits, []int{6, 4}, nil, 1, 1},
		{logits, []int{3}, nil, 1, 4}, // after its equal
		{logits, []int{6}, nil, 1, 6},
		{logits, []int{2}, []int{0, 2, 3, 6}, 2, 0},
		{logits, []int{1}, []int{0, 2}, 2, 2}, // none of those that count
		{[]float32{nan, 1}, []int{1}, nil, 0, 2},
		{[]float32{nan, nan}, []int{0}, nil, 0, 2},
	} {
		if v := judge(c.logits, c.right, c.among); v.predicted != c.predicted || v.rank != c.rank {
			t.Errorf("%+v: predicted %d, rank %d", c, v.predicted, v.rank)
		}
	}
	if v := judge([]float32{0, float32(math.Log(3)), 9}, []int{1}, []int{0, 1}); math.Abs(v.probability-0.75) > 1e-6 {
		t.Errorf("probability %v of the two that count, want 0.75", v.probability)
	}
}
