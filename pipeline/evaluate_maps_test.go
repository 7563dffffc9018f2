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
	"sync"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/benchmark"
	"github.com/relevit/relevit/pipeline/benchmark/benchmarktest"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/metrics"
	"github.com/relevit/relevit/pipeline/picture"
)

var (
	vit      = filepath.Join("testdata", "zoo", "timm-torchscript-17", "model.onnx")
	otherViT = filepath.Join("testdata", "zoo", "timm-dynamo-18", "model.onnx")
	gtsegs   = filepath.Join("benchmark", "hdf5", "testdata", "gtsegs.mat")
)

// savedMasked writes n pictures into class folders of three classes, and masks of
// all but the last without.
func savedMasked(t *testing.T, n, without int) (images, masks string) {
	t.Helper()
	dir := t.TempDir()
	images, masks = filepath.Join(dir, "images"), filepath.Join(dir, "masks")
	for i := range n {
		name := filepath.Join(fmt.Sprint(i%3), fmt.Sprintf("%02d", i))
		savePicture(t, filepath.Join(images, name+".png"), uint64(i), 20+i, 18)
		if i < n-without {
			saveMask(t, filepath.Join(masks, name+".png"), 20+i, 18)
		}
	}
	return images, masks
}

// saveMask writes a mask whose left half is foreground.
func saveMask(t *testing.T, path string, w, h int) {
	t.Helper()
	p := picture.NewRGB(w, h)
	for i := range p.Pix {
		if i/3%w < w/2 {
			p.Pix[i] = 255
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := p.SavePNG(path); err != nil {
		t.Fatal(err)
	}
}

// TestEveryPictureIsDecodedOnceForAllModelsAndMeasures counts how often each is
// read.
func TestEveryPictureIsDecodedOnceForAllModelsAndMeasures(t *testing.T) {
	orttest.Need(t)
	images, masks := savedMasked(t, 7, 0)
	r := &evaluating{opt: EvaluateOptions{Models: []string{vit, otherViT, vit}, Data: images, Masks: masks, Batch: 3, Steps: 2, Protocol: ProtocolStandard,
		Measure: []string{MeasureAccuracy, MeasureSegmentation, MeasureRelevance, MeasureRandomisation}}}
	defer r.close()
	if err := r.prepare(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	read := map[string]int{}
	r.set.Read = func(s *dataset.Sample, image *picture.RGB, mask *picture.Gray) error {
		mu.Lock()
		read[s.ID]++
		mu.Unlock()
		if err := mask.ReadMask(s.MaskPath, picture.MaskOptions{}); err != nil {
			return err
		}
		return image.ReadFile(s.ImagePath)
	}
	if err := r.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	e, err := r.result(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(read) != 7 {
		t.Errorf("%d pictures were read", len(read))
	}
	for id, n := range read {
		if n != 1 {
			t.Errorf("%s was read %d times", id, n)
		}
	}
	if len(e.Models) != 3 || len(e.Pairs) != 3 {
		t.Errorf("%d models, %d pairs", len(e.Models), len(e.Pairs))
	}
	if a, b := fmt.Sprint(e.Models[0].Relevance, e.Models[0].Segmentation), fmt.Sprint(e.Models[2].Relevance, e.Models[2].Segmentation); a != b {
		t.Errorf("one model twice: %s and %s", a, b)
	}
	if d := e.Pairs[1]; d.First != vit || d.Second != vit || d.Top1.Difference != 0 || d.McNemar.P != 1 || d.Relevance[ForegroundShare] != (Difference{}) {
		t.Errorf("a model against itself: %+v", d)
	}
}

// TestMapsAreMeasuredOnWholePicturesAgainstTheirMasks goes the way by hand: a
// picture and its mask brought to the model's size without a crop, explained, and
// measured.
func TestMapsAreMeasuredOnWholePicturesAgainstTheirMasks(t *testing.T) {
	orttest.Need(t)
	images, masks := savedMasked(t, 5, 0)
	for _, protocol := range []string{ProtocolStandard, ProtocolPaper} {
		e, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{vit}, Data: images, Masks: masks, Batch: 2, Protocol: protocol})
		if err != nil {
			t.Fatal(err)
		}
		m, err := OpenModel(vit, ModelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p := picture.SegmentationEval(m.Preprocess.Size[0], m.Preprocess.Size[1])
		if protocol == ProtocolStandard {
			p.Mean, p.Std = m.Preprocess.Mean, m.Preprocess.Std
		}
		samples, err := dataset.Tree(images, masks)
		if err != nil {
			t.Fatal(err)
		}
		for i := range samples {
			samples[i].Label = predicted
		}
		x, err := NewMapper(m, len(samples), MapOptions{}, ort.Options{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := dataset.NewLoader(samples, dataset.Options{Batch: len(samples), Preprocess: p})
		if err != nil {
			t.Fatal(err)
		}
		var total metrics.Segmentations
		share, pointing := 0.0, 0.0
		err = eachBatch(context.Background(), l, 0, func(batch *dataset.Batch) error {
			if err := x.Run(context.Background(), l.View(batch, 0), batch.Labels); err != nil {
				return err
			}
			for i, at := range batch.Samples {
				mask, err := picture.ReadMask(samples[at].MaskPath, picture.MaskOptions{})
				if err != nil {
					return err
				}
				relevance := x.Map(MethodRelevance, i)
				hard := make([]float32, len(relevance))
				if err := new(picture.Transformer).HardMask(hard, mask, p.EvalGeometry(mask.W, mask.H)); err != nil {
					return err
				}
				order := metrics.Order(relevance)
				total.Add(metrics.Segment(relevance, hard, order))
				share += metrics.ForegroundShare(relevance, hard) / 5
				pointing += metrics.Pointing(relevance, hard, order) / 5
			}
			return nil
		})
		x.Close()
		if err != nil {
			t.Fatal(err)
		}
		got := e.Models[0]
		for name, v := range map[string][2]float64{
			"pixel accuracy":   {float64(got.Segmentation.PixelAccuracy.Value), total.PixelAccuracy()},
			"mean IoU":         {float64(got.Segmentation.MeanIoU.Value), total.MeanIoU()},
			"mean AP":          {float64(got.Segmentation.MeanAP.Value), total.MeanAP()},
			"foreground share": {float64(got.Relevance.Measures[ForegroundShare].Value), share},
			"pointing game":    {float64(got.Relevance.Measures[PointingGame].Value), pointing},
		} {
			// runs of other batch sizes add up in another order
			if math.Abs(v[0]-v[1]) > 1e-3 {
				t.Errorf("%s: %s is %v, want %v", protocol, name, v[0], v[1])
			}
		}
		if _, ok := got.Relevance.Measures[InsertionBlur]; ok || got.Intervals == nil || got.Calibration == nil {
			t.Errorf("curves were measured: %v; %+v, %+v", ok, got.Intervals, got.Calibration)
		}
	}
}

// TestImageNetSegmentationIsEvaluatedAsItsPicturesAndMasksAre compares the
// MATLAB file with its pictures and masks as PNGs.
func TestImageNetSegmentationIsEvaluatedAsItsPicturesAndMasksAre(t *testing.T) {
	orttest.Need(t)
	set, err := benchmark.Open(gtsegs, benchmark.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	dir := t.TempDir()
	images, masks := filepath.Join(dir, "images"), filepath.Join(dir, "masks")
	for i := range set.Samples {
		var p picture.RGB
		var m picture.Gray
		if err := set.Read(&set.Samples[i], &p, &m); err != nil {
			t.Fatal(err)
		}
		for folder, what := range map[string]*picture.RGB{images: &p, masks: m.RGB()} {
			if err := os.MkdirAll(folder, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := what.SavePNG(filepath.Join(folder, set.Samples[i].ID+".png")); err != nil {
				t.Fatal(err)
			}
		}
	}
	packed, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{vit}, Data: gtsegs})
	if err != nil {
		t.Fatal(err)
	}
	loose, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{vit}, Data: images, Layout: "flat", Masks: masks})
	if err != nil {
		t.Fatal(err)
	}
	if packed.Layout != "imagenet-segmentation" || packed.Images != 5 || !slices.Equal(packed.Measures, []string{MeasureSegmentation, MeasureRelevance}) {
		t.Errorf("%+v", packed)
	}
	a, b := packed.Models[0], loose.Models[0]
	if fmt.Sprint(*a.Segmentation, *a.Relevance) != fmt.Sprint(*b.Segmentation, *b.Relevance) {
		t.Errorf("%+v %+v, as files %+v %+v", a.Segmentation, a.Relevance, b.Segmentation, b.Relevance)
	}
	if a.Images != 5 || !math.IsNaN(float64(a.Top1)) || a.Intervals != nil || len(a.PerClass) != 0 {
		t.Errorf("without labels: %+v", a)
	}
}

func TestPicturesWithoutMaskCountForAccuracyAlone(t *testing.T) {
	orttest.Need(t)
	images, masks := savedMasked(t, 6, 2)
	list := filepath.Join(t.TempDir(), "list.csv")
	warned := ""
	e, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{vit}, Data: images, Masks: masks, CSV: list, Steps: 1, OnWarning: func(text string) { warned += text }})
	if err != nil {
		t.Fatal(err)
	}
	m := e.Models[0]
	if m.Images != 6 || m.Segmentation.Images != 4 || m.Relevance.Images != 4 || !strings.Contains(warned, "2 of 6 pictures have no mask") {
		t.Errorf("%d, %d and %d pictures, warned %q", m.Images, m.Segmentation.Images, m.Relevance.Images, warned)
	}
	f, err := os.Open(list)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != 7 || len(lines[0]) != 17 || lines[0][8] != "average_precision" || lines[0][16] != DeletionZero {
		t.Fatalf("%v (%v)", lines, err)
	}
	measured := 0
	for _, line := range lines[1:] {
		if line[7] != "" {
			measured++
		}
		if (line[7] == "") != (line[8] == "") || (line[7] == "") != (line[16] == "") {
			t.Errorf("%q", line)
		}
	}
	if measured != 4 {
		t.Errorf("%d pictures were measured", measured)
	}
}

func TestOutputIsWhatIsReturned(t *testing.T) {
	orttest.Need(t)
	images, masks := savedMasked(t, 4, 0)
	file := filepath.Join(t.TempDir(), "eval.json")
	opt := EvaluateOptions{Models: []string{vit, otherViT}, Data: images, Masks: masks, Output: file}
	e, err := Evaluate(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var read Evaluation
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := json.Marshal(e); err != nil || string(again) != string(want) {
		t.Errorf("read back: %s, want %s", again, want)
	}
	if _, err := Evaluate(context.Background(), opt); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("%v", err)
	}
}

// TestPairsHoldKnownPredictions: one model is right on all pictures, the other,
// whose normalisation isn't applied by the paper's protocol, on those of the
// darkest or the brightest class.
func TestPairsHoldKnownPredictions(t *testing.T) {
	orttest.Need(t)
	half, own := colourModel{}.write(t), colourModel{mean: [3]float32{0.58, 0.58, 0.58}, std: picture.HalfMeanStd}.write(t)
	e, err := evaluated(t, "imagenet", benchmarktest.ImageNet(), EvaluateOptions{Models: []string{half, own}, Protocol: ProtocolPaper})
	if err != nil {
		t.Fatal(err)
	}
	right := e.Models[1].Right1
	if len(e.Pairs) != 1 || right == 0 || right == 12 {
		t.Fatalf("%+v, %d right", e.Pairs, right)
	}
	p := e.Pairs[0]
	if *p.McNemar != (McNemar{right, 12 - right, 0, 0, p.McNemar.Statistic, p.McNemar.P}) || math.Abs(float64(p.Top1.Difference)-float64(right-12)/12) > 1e-12 || p.Relevance != nil {
		t.Errorf("%+v, %+v", p.McNemar, p.Top1)
	}
	if want := math.Pow(0.5, float64(12-right-1)); math.Abs(float64(p.McNemar.P)-want) > 1e-12 {
		t.Errorf("p is %v, want %v", p.McNemar.P, want)
	}
	if i := e.Models[0].Intervals; i.Top1 != (Interval{1, 1}) || i.Top5 != (Interval{1, 1}) {
		t.Errorf("intervals of a model that is always right: %+v", i)
	}
	if i := e.Models[1].Intervals.Top1; !(i.Low < e.Models[1].Top1 && e.Models[1].Top1 < i.High) {
		t.Errorf("%+v around %v", i, e.Models[1].Top1)
	}
	if c := e.Models[0].Calibration; math.Abs(float64(c.ECE)-(1-float64(c.Confidence))) > 1e-9 || len(c.Bins) != 15 {
		t.Errorf("calibration of a model that is always right: %+v", c)
	}
}

func TestWhatCantBeMeasuredIsSaid(t *testing.T) {
	orttest.Need(t)
	images, masks := savedMasked(t, 3, 0)
	flat := filepath.Join(images, "0")
	for name, c := range map[string]struct {
		opt   EvaluateOptions
		part  string
		usage bool
	}{
		"unknown measure":           {EvaluateOptions{Data: images, Measure: []string{"beauty"}}, `no measure "beauty"`, true},
		"unknown method":            {EvaluateOptions{Data: images, Method: "guess"}, `no method "guess"`, true},
		"accuracy without labels":   {EvaluateOptions{Data: flat, Layout: "flat", Measure: []string{MeasureAccuracy}}, "no labels", true},
		"nothing to measure":        {EvaluateOptions{Data: flat, Layout: "flat"}, "no labels; state masks", true},
		"segmentation, no masks":    {EvaluateOptions{Data: images, Measure: []string{MeasureSegmentation}}, "no masks", true},
		"masks twice":               {EvaluateOptions{Data: gtsegs, Masks: masks}, "masks of its own", true},
		"masks of other pictures":   {EvaluateOptions{Data: images, Masks: filepath.Join(masks, "0")}, "no mask for any of the 3 pictures, such as ", false},
		"a model without attention": {EvaluateOptions{Models: []string{colourModel{}.write(t)}, Data: gtsegs}, "attention", false},
	} {
		if c.opt.Models == nil {
			c.opt.Models = []string{vit}
		}
		_, err := Evaluate(context.Background(), c.opt)
		if err == nil || !strings.Contains(err.Error(), c.part) || errors.As(err, new(*configs.Error)) != c.usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMapsAreMeasuredWithoutMasksToo(t *testing.T) {
	orttest.Need(t)
	images, _ := savedMasked(t, 3, 3)
	e, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{vit}, Data: images, Measure: []string{MeasureRelevance}})
	if err != nil {
		t.Fatal(err)
	}
	m := e.Models[0]
	if _, ok := m.Relevance.Measures[Sparseness]; !ok || len(m.Relevance.Measures) != 1 || m.Relevance.Images != 3 || m.Segmentation != nil || m.Calibration != nil || m.Images != 3 {
		t.Errorf("%+v", m.Relevance)
	}
}

// TestEveryParameterBecomesRandomFromTheOutputDown randomises models of several
// forms: numbers in 16 bits, weights in branches, checkpoints.
func TestEveryParameterBecomesRandomFromTheOutputDown(t *testing.T) {
	orttest.Need(t)
	images, _ := savedMasked(t, 3, 3)
	for _, name := range []string{"timm-torchscript-17/model.onnx", "fp16-17/model.onnx", "hf-vit-eager-17/model.onnx", "branch-weights-17/model.onnx", "ckpt-mean/model.safetensors"} {
		path := filepath.Join("testdata", "zoo", filepath.FromSlash(name))
		m, err := OpenModel(path, ModelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		numbers := 0
		for _, p := range m.Params {
			n := 1
			for _, d := range p.Shape.Ints() {
				n *= int(d)
			}
			numbers += n
		}
		stages := 0
		e, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{path}, Data: images, Measure: []string{MeasureRandomisation},
			OnStage: func(_ string, done, total int) {
				if done != stages {
					t.Errorf("%s: stage %d of %d after %d", name, done, total, stages)
				}
				stages++
			}})
		if err != nil {
			t.Fatal(err)
		}
		r := e.Models[0].Randomisation
		if r == nil || len(r.Stages) < 2 || r.Images != 3 {
			t.Fatalf("%s: %+v", name, r)
		}
		before, block := 0, len(r.Stages)
		for _, s := range r.Stages {
			if v := float64(s.Similarity.Value); s.Parameters <= before || s.Block != block-1 || !(v >= -1 && v <= 1) {
				t.Errorf("%s: %+v", name, s)
			}
			before, block = s.Parameters, s.Block
		}
		if before != numbers || block != 0 {
			t.Errorf("%s: %d of %d numbers are random", name, before, numbers)
		}
	}
}
