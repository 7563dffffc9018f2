package pipeline

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"image"
	"image/color"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/benchmark"
	"github.com/relevit/relevit/pipeline/benchmark/benchmarktest"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// lookingModel predicts the class whose colour is nearest to the mean of a part
// of the picture, and sees nothing else of it.
type lookingModel struct {
	at    image.Rectangle // in 64x64 pixels
	shift int             // the class's colour is that of the class so much further on
}

func (m lookingModel) write(t testing.TB) string {
	t.Helper()
	weights, bias := make([]float32, 3000), make([]float32, 1000)
	for class := range 1000 {
		c := benchmarktest.Colour((class + m.shift) % 1000)
		for i, level := range []uint8{c.R, c.G, c.B} {
			v := float32(level)/127.5 - 1
			weights[i*1000+class] = 2 * v
			bias[class] -= v * v
		}
	}
	g := onnx.NewGraph("looking")
	input := g.AddInput("image", onnx.Float, onnx.Shape{{N: 1, Sym: "batch"}, onnx.D(3), onnx.D(64), onnx.D(64)})
	b := onnx.NewBuilder(g)
	from, to := b.Ints(int64(m.at.Min.Y), int64(m.at.Min.X)), b.Ints(int64(m.at.Max.Y), int64(m.at.Max.X))
	part := b.Op("Slice", nil, input, from, to, b.Ints(2, 3))
	means := b.Op("Flatten", nil, b.Op("GlobalAveragePool", nil, part))
	logits := b.Op("Gemm", nil, means, b.Const(onnx.FloatTensor(weights, 3, 1000)), b.Const(onnx.FloatTensor(bias, 1000)))
	g.Outputs = []*onnx.Value{b.Named("logits", logits)}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	stated, err := json.Marshal(picture.Preprocess{Size: [2]int{64, 64}, Resize: picture.ResizeSquash, CropPct: 1, Mean: picture.HalfMeanStd, Std: picture.HalfMeanStd})
	if err != nil {
		t.Fatal(err)
	}
	model := &onnx.Model{IRVersion: 8, Producer: "test", Opsets: []onnx.Opset{{Version: 17}}, Graph: g, Metadata: []onnx.KV{{Key: models.MetaPreprocess, Value: string(stated)}}}
	path := filepath.Join(t.TempDir(), "looking.onnx")
	if err := onnx.WriteModel(path, model, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// objectModel looks at the middle, where the objects are, and backgroundModel at
// a corner.
var (
	objectModel     = lookingModel{at: image.Rect(30, 30, 34, 34)}
	backgroundModel = lookingModel{at: image.Rect(0, 0, 4, 4), shift: 500}
)

// writeObjects writes pictures of three classes, four each, with masks: squares of
// their class's colour on a chequered background of which every other cell has
// the colour of the class 500 further on. Another picture has an empty mask.
func writeObjects(t testing.TB) (images, masks string) {
	t.Helper()
	dir := t.TempDir()
	images, masks = filepath.Join(dir, "images"), filepath.Join(dir, "masks")
	paint := func(p *picture.RGB, at int, c color.RGBA) { p.Pix[3*at], p.Pix[3*at+1], p.Pix[3*at+2] = c.R, c.G, c.B }
	for wnid, class := range map[string]int{"n01440764": 0, "n01751748": 65, "n15075141": 999} {
		for n := range 5 {
			if n == 4 && class != 65 {
				continue
			}
			p, m := picture.NewRGB(64, 64), picture.NewGray(64, 64)
			for i := range m.Pix {
				x, y := i%64, i/64
				switch {
				case x >= 24 && x < 40 && y >= 24 && y < 40:
					paint(p, i, benchmarktest.Colour(class))
					if n < 4 {
						m.Pix[i] = 1
					}
				case (x/4+y/4)%2 == 0:
					paint(p, i, benchmarktest.Colour((class+500)%1000))
				default:
					paint(p, i, benchmarktest.Colour(222))
				}
			}
			for folder, save := range map[string]func(string) error{images: p.SavePNG, masks: m.SavePNG} {
				if err := os.MkdirAll(filepath.Join(folder, wnid), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := save(filepath.Join(folder, wnid, fmt.Sprintf("%d.png", n))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return images, masks
}

// shares lists the accuracies on variants by name.
func shares(of []VariantScore) map[string]float64 {
	out := map[string]float64{}
	for _, v := range of {
		out[v.With] = float64(v.Top1)
	}
	return out
}

func TestModelsThatLookAtTheBackgroundAreToldFromThoseThatLookAtTheObject(t *testing.T) {
	orttest.Need(t)
	images, masks := writeObjects(t)
	e, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{objectModel.write(t), backgroundModel.write(t)}, Data: images, Masks: masks,
		Measure: []string{MeasureAccuracy, MeasureBackground}, Batch: 5, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		mean, blur, noise, other, same, removed float64
		gap, mixed                              float64
	}{
		{mean: 1, blur: 1, noise: 1, other: 1, same: 1, removed: 0, gap: 1, mixed: 0},
		{mean: 0, blur: 0, noise: 0, other: 0, same: 1, removed: 1, gap: -1, mixed: 1},
	} {
		counts(t, e.Models[i], 13, 13, 13)
		b := e.Models[i].Background
		if b == nil || b.Images != 12 || b.Original.Images != 12 || b.Original.Right1 != 12 {
			t.Fatalf("model %d: %+v", i, b)
		}
		got, removed := shares(b.Replaced), shares(b.Removed)
		if got["mean"] != want.mean || got["blur"] != want.blur || got["noise"] != want.noise || got["other"] != want.other || got["same-class"] != want.same || len(got) != 5 {
			t.Errorf("model %d, background replaced: %v", i, got)
		}
		if removed["mean"] != want.removed || removed["blur"] != want.removed || len(removed) != 2 {
			t.Errorf("model %d, object removed: %v", i, removed)
		}
		if g := b.Gap; float64(g.Value) != want.gap || g.Low != g.Value || g.High != g.Value || b.ObjectOnly.Value-b.BackgroundOnly.Value != g.Value {
			t.Errorf("model %d: gap %+v", i, g)
		}
		if m := b.Mixed; m == nil || m.Images != 12 || float64(m.Gap.Value) != want.mixed || m.Same.Value-m.Other.Value != m.Gap.Value {
			t.Errorf("model %d: %+v", i, m)
		}
	}
}

func TestBackgroundsDependOnTheSeedAloneNotOnBatchesOrThreads(t *testing.T) {
	images, masks := writeObjects(t)
	set := objectsSet(t, images)
	r := &evaluating{opt: EvaluateOptions{Masks: masks, Measure: []string{MeasureBackground}}, set: set}
	if err := r.pairMasks(); err != nil {
		t.Fatal(err)
	}
	// copies are hashes of all pictures made of each sample.
	copies := func(seed uint64, batch, threads int) map[int]uint64 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		l, err := dataset.NewLoader(set.Samples, dataset.Options{Batch: batch, Preprocess: picture.PaperEval(32, 32), Masks: true,
			Copies: variants, Vary: newBackgrounds(set, seed).vary})
		if err != nil {
			t.Fatal(err)
		}
		out := map[int]uint64{}
		err = eachBatch(context.Background(), l, 0, func(b *dataset.Batch) error {
			values := len(l.Varied(b, 0)) / batch
			for i, sample := range b.Samples {
				h := fnv.New64a()
				for _, v := range l.Varied(b, 0)[i*values:][:values] {
					binary.Write(h, binary.LittleEndian, v)
				}
				out[sample] = h.Sum64()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := copies(1, 5, 1)
	for _, c := range [][2]int{{1, 1}, {3, 4}, {16, 2}} {
		if got := copies(1, c[0], c[1]); !maps.Equal(got, want) {
			t.Errorf("other pictures in batches of %d on %d threads", c[0], c[1])
		}
	}
	for sample, hash := range copies(2, 5, 2) {
		if empty := len(want) == 13 && sample == 8; (hash == want[sample]) != empty { // the one without an object
			t.Errorf("sample %d: the same pictures by another seed", sample)
		}
	}
}

func TestScenesComeFromOtherClassesAndFromTheOwn(t *testing.T) {
	images, masks := writeObjects(t)
	r := &evaluating{opt: EvaluateOptions{Data: images, Masks: masks, Measure: []string{MeasureBackground}}}
	set := objectsSet(t, images)
	r.set = set
	if err := r.pairMasks(); err != nil {
		t.Fatal(err)
	}
	classOf := func(p *picture.RGB) int { // by its first cell
		for class := range 1000 {
			c := benchmarktest.Colour((class + 500) % 1000)
			if p.Pix[0] == c.R && p.Pix[1] == c.G && p.Pix[2] == c.B {
				return class
			}
		}
		return -1
	}
	drawn := map[int]int{}
	for seed := range uint64(20) {
		s := newScenes(set, seed)
		for i := range set.Samples {
			own := set.Classes[set.ClassOf[i]].Targets[0]
			other := s.ofAnother(i)
			if got := classOf(other); got == own || got < 0 {
				t.Fatalf("class %d gets a background of %d", own, got)
			}
			drawn[classOf(other)]++
			same := s.ofItsClass(i)
			if got := classOf(same); got != own {
				t.Fatalf("class %d gets a background of %d as its own", own, got)
			}
			for y := 24; y < 40; y++ {
				for x := 24; x < 40; x++ {
					if o := benchmarktest.Colour(own); same.Pix[3*(y*64+x)] == o.R && same.Pix[3*(y*64+x)+1] == o.G && same.Pix[3*(y*64+x)+2] == o.B {
						t.Fatal("the object is still there")
					}
				}
			}
			if again := newScenes(set, seed).ofAnother(i); !bytes.Equal(again.Pix, other.Pix) {
				t.Fatal("the same seed draws another background")
			}
		}
	}
	for class, n := range drawn {
		if n < 40 {
			t.Errorf("class %d was drawn %d times of 260", class, n)
		}
	}
	alone := newScenes(objectsSet(t, images), 1)
	alone.size[0], alone.from[0] = 1, alone.place[0]
	if alone.ofItsClass(0) != nil {
		t.Error("a class of one picture has another")
	}
}

// TestBackgroundIsComputedAsDefined has three pictures, of which one has no
// picture of its class beside it.
func TestBackgroundIsComputedAsDefined(t *testing.T) {
	nan := math.NaN()
	b := measuredBackground([]varied{
		{1, [variants]float64{1, 1, 0, 0, 1, 1, 0}},
		{1, [variants]float64{1, 0, 0, 0, 0, 0, 0}},
		{0, [variants]float64{0, 0, 1, 1, nan, 1, 1}},
	}, 0)
	near := func(what string, got Number, want float64) {
		t.Helper()
		if math.Abs(float64(got)-want) > 1e-12 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	near("original", b.Original.Top1, 2.0/3)
	near("mean", b.Replaced[replacedMean].Top1, 2.0/3)
	near("same class", b.Replaced[replacedSame].Top1, 0.5)
	if s := b.Replaced[replacedSame]; s.Images != 2 || s.Right1 != 1 || s.Low != 0 || s.High != 1 {
		t.Errorf("same class: %+v", s)
	}
	near("object", b.ObjectOnly.Value, (0+0+1.0)/3)
	near("background", b.BackgroundOnly.Value, (0.5+0+1)/3)
	near("gap", b.Gap.Value, (-0.5+0+0)/3)
	near("same", b.Mixed.Same.Value, 0.5)
	near("other", b.Mixed.Other.Value, 0)
	near("mixed gap", b.Mixed.Gap.Value, 0.5)
	if b.Mixed.Images != 2 || b.Gap.Low < -0.5 || b.Gap.High > 0 || b.Gap.Low >= b.Gap.High {
		t.Errorf("%+v, %+v", b.Mixed, b.Gap)
	}
}

// objectsSet lists what writeObjects wrote.
func objectsSet(t testing.TB, images string) *benchmark.Set {
	t.Helper()
	set, err := benchmark.Open(images, benchmark.Options{Layout: benchmark.ImageNet})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestMasksThatShowNoObjectAnywhereAreAnError(t *testing.T) {
	orttest.Need(t)
	images, masks := writeObjects(t)
	found, err := filepath.Glob(filepath.Join(masks, "*", "*.png"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		if err := picture.NewGray(64, 64).SavePNG(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, opt := range []EvaluateOptions{{Measure: []string{MeasureBackground}}, {Measure: []string{MeasureAccuracy}, Synthesize: true}} {
		opt.Models, opt.Data, opt.Masks = []string{objectModel.write(t)}, images, masks
		if _, err := Evaluate(context.Background(), opt); !errors.Is(err, dataset.ErrEmpty) {
			t.Errorf("%v: %v", opt.Measure, err)
		}
	}
}
