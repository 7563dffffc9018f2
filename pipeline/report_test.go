package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
	"github.com/relevit/relevit/pipeline/report/reporttest"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-6*max(1, math.Abs(want))) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestResultsAddUpToTheLogAndShowTheModelBeforeAndAfter holds what a run says of
// each held-out picture against its means in the log, and the sheets, which are
// drawn with the original parameters put back, against both.
func TestResultsAddUpToTheLogAndShowTheModelBeforeAndAfter(t *testing.T) {
	orttest.Need(t)
	dir := filepath.Join(t.TempDir(), "run")
	trainTwoSteps(t, filepath.Join("testdata", "zoo", "timm-torchscript-17", "model.onnx"), dir, t.TempDir())
	run, err := ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := run.Results()
	if err != nil || r == nil {
		t.Fatal(r, err)
	}
	h, err := run.ReadLog()
	if err != nil {
		t.Fatal(err)
	}
	moved := 0.0
	for _, c := range []struct {
		name string
		want *Metrics
		of   func(HeldOut) *Judged
	}{{"before", h.Start.Validation, wasBefore}, {"after", h.Epochs[r.BestEpoch].Validation, wasAfter}} {
		var share, iou, right, loss float64
		for _, p := range r.Pictures {
			j := c.of(p)
			share, iou, loss = share+float64(j.Share), iou+float64(j.IoU), loss+float64(j.Loss)
			right += float64(truth(j.Prediction == p.Label))
		}
		n := float64(len(r.Pictures))
		near(t, c.name+": share", share/n, float64(c.want.ForegroundShare))
		near(t, c.name+": IoU", iou/n, float64(c.want.IoU))
		near(t, c.name+": accuracy", right/n, float64(c.want.Accuracy))
		near(t, c.name+": loss", loss/n, float64(c.want.Loss))
		moved = loss/n - moved
	}
	if len(r.Pictures) != 4 || math.Abs(moved) < 1e-3 {
		t.Errorf("%d pictures, whose loss moved by %v", len(r.Pictures), moved)
	}
	for _, s := range r.Sheets {
		i := slices.IndexFunc(r.Pictures, func(p HeldOut) bool { return p.Picture == s.Picture })
		near(t, s.File+" before", float64(s.Before), float64(r.Pictures[i].Before.Share))
		near(t, s.File+" after", float64(s.After), float64(r.Pictures[i].After.Share))
		if change := s.After - s.Before; s.Sheet == sheetGain && change <= 0 || s.Sheet == sheetLoss && change >= 0 {
			t.Errorf("%s changed by %v", s.File, change)
		}
		png, err := picture.ReadFile(run.Sample(s.File))
		if err != nil {
			t.Fatal(err)
		}
		panels, err := picture.Panels(png, len(samplePanels))
		if err != nil || len(panels) != 4 || panels[0].W != panels[3].W || slices.Equal(panels[2].Pix, panels[3].Pix) {
			t.Errorf("%s: %d panels, %v", s.File, len(panels), err)
		}
	}
	if len(r.Sheets) < 5 { // the first four, and every one that changed
		t.Errorf("%d sheets", len(r.Sheets))
	}
	for _, s := range h.Steps {
		if !(s.Share > 0 && s.Share < 1) {
			t.Errorf("step %d: %v of the relevance on the foreground", s.GlobalStep, s.Share)
		}
	}

	t.Run("a run that isn't finished is told as far as it is", func(t *testing.T) {
		if err := os.Remove(run.Path(resultsName)); err != nil {
			t.Fatal(err)
		}
		p, err := Report(ReportOptions{Sources: []string{dir}})
		if err != nil || !strings.Contains(p.Lead, "not finished: 1 of 1 epochs") || p.File != run.Report() {
			t.Errorf("%+v, %v", p, err)
		}
		c, err := Compare([]string{dir})
		if err != nil || c.Runs[0].State != "epoch 1 of 1" || c.Runs[0].After == nil {
			t.Errorf("%+v, %v", c, err)
		}
	})
	t.Run("a run of an earlier version has no pictures from before", func(t *testing.T) {
		if err := os.Remove(run.Sample(beforeName)); err != nil {
			t.Fatal(err)
		}
		if _, err := Finetune(context.Background(), FinetuneOptions{Dir: dir, Resume: true}); err != nil {
			t.Fatal(err)
		}
		r, err := run.Results()
		if err != nil || len(r.Sheets) != 4 || r.Pictures[0].Before != nil || r.Pictures[0].After == nil {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestTheTrainingGraphsShareIsThatOfTheMaps computes it from the eval graph's
// maps of the same batch.
func TestTheTrainingGraphsShareIsThatOfTheMaps(t *testing.T) {
	orttest.Need(t)
	m, err := OpenModel(filepath.Join("testdata", "zoo", "timm-torchscript-17", "model.onnx"), ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"relevance", "gradmask"} {
		cfg, err := configs.Load(nil, []string{"method=" + method})
		if err != nil {
			t.Fatal(err)
		}
		gs, err := m.NewGraphs(3, ObjectiveOf(cfg), AdamWOf(cfg), nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewStepper(gs, 3, ort.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		e, err := NewEvaluator(gs, s, ort.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		rng, in := rand.New(rand.NewPCG(3, 4)), e.inputs[0]
		for i := range in.Image.Float32s() {
			in.Image.Float32s()[i] = rng.Float32()*2 - 1
		}
		for i := range in.Mask.Float32s() {
			in.Mask.Float32s()[i] = float32(rng.IntN(2))
		}
		labels := []int64{0, 1, 0}
		copy(in.Label.Int64s(), labels)
		if err := errors.Join(s.Compute(in), e.run(in)); err != nil {
			t.Fatal(err)
		}
		want := 0.0
		for i := range labels {
			share, _, ok := e.picture(&dataset.Batch{Samples: []int{0, 1, 2}, Labels: labels}, i).Overlap()
			if !ok {
				t.Fatal("a map is constant")
			}
			want += share / 3
		}
		near(t, method, s.ForegroundShare(), want)
	}
}

func TestExtremesAreTheLargestChangesOfEitherSign(t *testing.T) {
	held := func(before, after float64) HeldOut {
		return HeldOut{Before: &Judged{Share: Number(before)}, After: &Judged{Share: Number(after)}}
	}
	pictures := []HeldOut{held(0.5, 0.65), held(0.5, 0.1), {}, held(0.2, 0.9), held(0.4, 0.4), held(0.3, math.NaN()), held(0.5, 0.45), held(0.1, 0.2), {Before: &Judged{}}}
	gains, losses := extremes(pictures, 2)
	if !slices.Equal(gains, []int{3, 0}) || !slices.Equal(losses, []int{1, 6}) {
		t.Errorf("gains %v, losses %v", gains, losses)
	}
	if gains, losses := extremes(pictures[:1], 5); !slices.Equal(gains, []int{0}) || losses != nil {
		t.Errorf("gains %v, losses %v", gains, losses)
	}
	if gains, losses := extremes(nil, 5); gains != nil || losses != nil {
		t.Errorf("gains %v, losses %v", gains, losses)
	}
}

func TestWhatIsNoEvaluationIsABadInputFile(t *testing.T) {
	for text, says := range map[string]string{
		"":                 "it is no JSON object",
		"null":             "it is no JSON object",
		"{":                "unexpected end",
		"{}":               "it names no models",
		`{"models": [{}]}`: "it names no models",
		`{"models": 3}`:    "cannot unmarshal",
		`{"models": [{"model": "m", "top1": "high"}]}`:                                                          "where a number was expected",
		`{"models": [{"model": "m", "more": ` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}]}": "exceeded max depth",
	} {
		path := filepath.Join(t.TempDir(), "e.json")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Report(ReportOptions{Sources: []string{path}, Output: filepath.Join(t.TempDir(), "r.html")})
		if e := (*ReportSourceError)(nil); !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "e.json") {
			t.Errorf("%.40q: %v, want %q", text, err, says)
		}
	}
}

// TestEvaluationsAreShownWithWhateverWasMeasured has a model with figures of
// every form, some not numbers.
func TestEvaluationsAreShownWithWhateverWasMeasured(t *testing.T) {
	const text = `{"data": "d", "protocol": "paper", "images": 9, "models": [
{"model": "a/run", "top1": "NaN", "top5": 0.25, "intervals": {"top5": {"low": 0.125, "high": 0.375}},
 "calibration": {"ece": 0.5, "mean_confidence": 0.75, "bins": [{"low": 0, "high": 1, "count": 9, "confidence": 0.75, "accuracy": 0.25}]},
 "relevance": {"method": "legrad", "images": 7, "measures": {"pointing_game": {"value": 0.75, "low": 0.5, "high": "NaN"}, "mean_iou": {"value": 1, "low": 0.875, "high": 1}, "tiny": {"value": 0.00012345, "low": 0, "high": 1}}},
 "background": {"replaced": [{"with": "noise", "images": 9, "top1": 0.5, "low": 0.25, "high": 0.75}, {"with": "blur", "top1": "NaN"}], "gap": -0.5},
 "flag": true, "nothing": null}, {"model": "b/run"}]}`
	dir := t.TempDir()
	path := filepath.Join(dir, "e.json")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := Report(ReportOptions{Sources: []string{path}, Output: filepath.Join(dir, "r.html")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range r.Sections[0].Tables[0].Rows {
		got = append(got, strings.ReplaceAll(row[0].Text+" = "+row[1].Text, "\u00a0", " "))
		if row[2].Text != "" {
			t.Errorf("%q of a model that measured nothing", row[2].Text)
		}
	}
	want := []string{"top-1 = not measured", "top-5 = 25.0 % (12.5 to 37.5)", "mean confidence = 75.0 %", "expected calibration error = 50.0 %",
		"background, gap = \u22120.500", "background, replaced, noise = 0.500 (0.250 to 0.750)", "background, replaced, noise, images = 9", "background, replaced, blur, top-1 = not measured",
		"relevance, images = 7", "relevance, mean IoU = 1.000 (0.875 to 1.000)", "relevance, pointing game = 0.750", "relevance, tiny = 0.00012 (0.00000 to 1.00000)"}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if c := r.Sections[0].Tables[0].Columns; !slices.Equal(c, []string{"Measure", "run (model 1)", "run (model 2)"}) {
		t.Errorf("columns %q", c)
	}
	page, err := os.ReadFile(r.File)
	if err != nil {
		t.Fatal(err)
	}
	said, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := reporttest.Repeats(page, said); err != nil || n < 10 {
		t.Errorf("%d figures: %v", n, err)
	}
}
