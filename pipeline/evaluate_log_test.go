package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/onnx/ort/orttest"
)

// longEvaluation measures everything there is, on pictures of which one can't be
// read, in batches of 3 and then object by object.
func longEvaluation(t *testing.T) EvaluateOptions {
	t.Helper()
	images, masks := savedMasked(t, 13, 2)
	if err := os.WriteFile(filepath.Join(images, "1", "broken.png"), []byte("no picture"), 0o666); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return EvaluateOptions{Models: []string{vit, otherViT}, Data: images, Masks: masks, Measure: Measures(), Steps: 2, Batch: 3, Synthesize: true, Samples: 3, Seed: 7,
		Output: filepath.Join(dir, "eval.json"), CSV: filepath.Join(dir, "eval.csv"), Keep: filepath.Join(dir, "kept")}
}

// shortEvaluation measures less.
func shortEvaluation(t *testing.T) EvaluateOptions {
	t.Helper()
	opt := longEvaluation(t)
	opt.Models, opt.Measure = opt.Models[:1], []string{MeasureAccuracy, MeasureSegmentation}
	opt.Steps, opt.Synthesize, opt.Samples, opt.Keep = 0, false, 0, ""
	return opt
}

// interruptedAfter runs an evaluation until so many batches or objects have been
// measured, and says how many of how many pictures were before.
func interruptedAfter(t *testing.T, opt EvaluateOptions, n int) (went, of int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opt.OnStart = func(done, total int) { went, of = done, total }
	opt.OnProgress = func(int, int) {
		if n--; n == 0 {
			cancel()
		}
	}
	if _, err := Evaluate(ctx, opt); !errors.Is(err, context.Canceled) || !strings.HasSuffix(err.Error(), "the same command goes on from there") {
		t.Fatal(err)
	}
	return went, of
}

// measuredIn is what a finished evaluation has written, without what it took.
func measuredIn(t *testing.T, opt EvaluateOptions) string {
	t.Helper()
	data, err := os.ReadFile(opt.Output)
	if err != nil {
		t.Fatal(err)
	}
	var e Evaluation
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	if e.Seconds <= 0 || e.Rate <= 0 {
		t.Errorf("it took %v", e.Seconds)
	}
	e.Seconds, e.Rate = 0, 0
	if s := e.Synthesis; s != nil {
		kept, err := filepath.Glob(filepath.Join(opt.Keep, "*", "*", "*.png"))
		if err != nil || len(kept) != s.Images || s.Seconds <= 0 {
			t.Errorf("%d of %d pictures are kept (%v), and took %v", len(kept), s.Images, err, s.Seconds)
		}
		s.Seconds, s.Rate, s.Kept = 0, 0, ""
	}
	text, err := json.MarshalIndent(e, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(opt.CSV)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(opt.Output + progressSuffix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its file of progress is still there: %v", err)
	}
	return string(text) + string(list)
}

func evaluateAll(t *testing.T, opt EvaluateOptions) string {
	t.Helper()
	if _, err := Evaluate(context.Background(), opt); err != nil {
		t.Fatal(err)
	}
	return measuredIn(t, opt)
}

// elsewhere is the same evaluation with other files to write.
func elsewhere(t *testing.T, opt EvaluateOptions) EvaluateOptions {
	dir := t.TempDir()
	opt.Output, opt.CSV = filepath.Join(dir, "eval.json"), filepath.Join(dir, "eval.csv")
	if opt.Synthesize {
		opt.Keep = filepath.Join(dir, "kept")
	}
	return opt
}

// TestAnEvaluationInterruptedAnywhereMeasuresTheSame stops after each batch and
// each object.
func TestAnEvaluationInterruptedAnywhereMeasuresTheSame(t *testing.T) {
	orttest.Need(t)
	opt := longEvaluation(t)
	want := evaluateAll(t, elsewhere(t, opt))
	before := 0
	for n := range 5 + 3 - 1 { // batches, and objects but the last, which ends it
		went, of := interruptedAfter(t, opt, 1)
		if n > 0 && went <= before || went >= of {
			t.Fatalf("the next time it began after %d pictures of %d, before that after %d", went, of, before)
		}
		before = went
	}
	sameLines(t, evaluateAll(t, opt), want)
}

// TestAnEvaluationKilledBetweenItsFilesGoesOn has a list of predictions and no
// Evaluation yet.
func TestAnEvaluationKilledBetweenItsFilesGoesOn(t *testing.T) {
	orttest.Need(t)
	opt := shortEvaluation(t)
	want := evaluateAll(t, elsewhere(t, opt))
	interruptedAfter(t, opt, 5)
	if err := os.WriteFile(opt.CSV, []byte("whole"), 0o666); err != nil {
		t.Fatal(err)
	}
	sameLines(t, evaluateAll(t, opt), want)
	if err := os.Remove(opt.Output); err != nil {
		t.Fatal(err)
	}
	if _, err := Evaluate(context.Background(), opt); !errors.As(err, new(*ExistsError)) || !strings.Contains(err.Error(), opt.CSV) {
		t.Errorf("a list that is another evaluation's: %v", err)
	}
}

// sameLines reports the first line in which texts differ.
func sameLines(t *testing.T, got, want string) {
	t.Helper()
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Fatalf("line %d is %q, want %q", i+1, a[i], b[i])
		}
	}
	if len(a) != len(b) {
		t.Fatalf("%d lines, want %d", len(a), len(b))
	}
}

// TestAnEvaluationGoesOnFromWhatIsWholeAndStillTrue has half a line at the end,
// pictures that have changed, and records that can't be right.
func TestAnEvaluationGoesOnFromWhatIsWholeAndStillTrue(t *testing.T) {
	orttest.Need(t)
	opt := shortEvaluation(t)
	want := evaluateAll(t, elsewhere(t, opt))
	progress := opt.Output + progressSuffix
	for _, c := range []struct {
		name  string
		spoil func(data []byte) error
		went  int // pictures, of batches of 3
	}{
		{"half a line", func(data []byte) error { return os.WriteFile(progress, data[:len(data)-5], 0o666) }, 6},
		{"no line end", func(data []byte) error { return os.WriteFile(progress, data[:len(data)-1], 0o666) }, 6},
		{"nothing but zeros behind", func(data []byte) error { return os.WriteFile(progress, append(data, make([]byte, 100)...), 0o666) }, 9},
		{"a sample of another batch", func(data []byte) error {
			return os.WriteFile(progress, []byte(strings.Replace(string(data), `"verdicts":[[3,`, `"verdicts":[[1,`, 1)), 0o666)
		}, 3},
		{"a class that isn't there", func(data []byte) error {
			return os.WriteFile(progress, []byte(strings.Replace(string(data), `"verdicts":[[0,`, `"verdicts":[[0,1e9,0,1],[1,`, 1)), 0o666)
		}, 0},
		{"a picture of the second batch that has changed", func([]byte) error {
			return os.Chtimes(filepath.Join(opt.Data, "0", "09.png"), time.Time{}, time.Now())
		}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := opt
			opt.Force = true
			interruptedAfter(t, opt, 3)
			data, err := os.ReadFile(progress)
			if err == nil {
				err = c.spoil(data)
			}
			if err != nil {
				t.Fatal(err)
			}
			went := -1
			opt.OnStart = func(done, _ int) { went = done }
			sameLines(t, evaluateAll(t, opt), want)
			if went != c.went {
				t.Errorf("it went on after %d pictures, want %d", went, c.went)
			}
		})
	}
}

func TestAnotherEvaluationIsNotGoneOnWith(t *testing.T) {
	orttest.Need(t)
	opt := shortEvaluation(t)
	interruptedAfter(t, opt, 2)
	for name, change := range map[string]func(*EvaluateOptions){
		"seed":     func(o *EvaluateOptions) { o.Seed++ },
		"measures": func(o *EvaluateOptions) { o.Measure = o.Measure[:1] },
		"models":   func(o *EvaluateOptions) { o.Models = []string{otherViT} },
		"batch":    func(o *EvaluateOptions) { o.Batch = 2 },
		"pictures": func(o *EvaluateOptions) { o.Limit = 2 },
	} {
		other := opt
		change(&other)
		if _, err := Evaluate(context.Background(), other); !errors.As(err, new(*ExistsError)) || !strings.Contains(err.Error(), opt.Output+progressSuffix) {
			t.Errorf("other %s: error %v, want an *ExistsError that names the file", name, err)
		}
	}
	opt.Measure = []string{MeasureAccuracy, MeasureBackground}
	opt.Force = true
	interruptedAfter(t, opt, 2)
	opt.Force = false
	if err := os.Chtimes(filepath.Join(opt.Data, "2", "11.png"), time.Time{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := Evaluate(context.Background(), opt); !errors.As(err, new(*ExistsError)) {
		t.Errorf("another picture that may be a background: error %v, want an *ExistsError", err)
	}
	opt.Seed, opt.Force = 8, true
	went := -1
	opt.OnStart = func(done, _ int) { went = done }
	if _, err := Evaluate(context.Background(), opt); err != nil || went != 0 {
		t.Errorf("with force it went on after %d pictures: %v", went, err)
	}
}

func TestAFileOfSomebodyElseIsNotOverwritten(t *testing.T) {
	orttest.Need(t)
	opt := shortEvaluation(t)
	progress := opt.Output + progressSuffix
	if err := os.WriteFile(progress, []byte("my notes\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Evaluate(context.Background(), opt); !errors.As(err, new(*ExistsError)) || !strings.Contains(err.Error(), progress) {
		t.Errorf("error %v, want an *ExistsError that names the file", err)
	}
	if data, err := os.ReadFile(progress); err != nil || string(data) != "my notes\n" {
		t.Errorf("it holds %q, %v", data, err)
	}
}

func TestASecondEvaluationIntoTheSameFileIsRefused(t *testing.T) {
	orttest.Need(t)
	opt := shortEvaluation(t)
	opt.OnProgress = func(int, int) {
		opt.OnProgress = nil
		if _, err := Evaluate(context.Background(), opt); err == nil || !strings.Contains(err.Error(), "another process is writing it") {
			t.Errorf("error %v", err)
		}
	}
	evaluateAll(t, opt)
}

func FuzzEvaluationLog(f *testing.F) {
	for _, record := range []string{
		`{"files_sha256":"a","seconds":1.5,"images":2,"skipped":[{"picture":"x.png","reason":"broken"}],"models":[{"verdicts":[[0,3,1,0.5],[1,2,0,"NaN"]]}]}`,
		`{"models":[{"appraisals":[[0,1,0,2,3,4,5,6,7,0.5,"NaN",1,1,1,1,1,1,1]],"varied":[[1,0,1,"NaN",0,0,0,1]]}]}`,
		`{"models":[{"verdicts":[[1e300,-1,"Inf",0]]}]}`, `{`, ``,
	} {
		f.Add([]byte("settings\n" + record + "\n"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &evaluationLog{}
		l.read(data, "settings")
		if len(l.ends) > 0 && (len(l.records) != len(l.ends)-1 || l.ends[len(l.ends)-1] > int64(len(data))) {
			t.Fatalf("%d records end at %v of %d bytes", len(l.records), l.ends, len(data))
		}
		r := &evaluating{contenders: []*contender{{predictor: &Predictor{Classes: 10}}}}
		for i := range l.records {
			if !r.fits(&l.records[i], 0, 2) {
				continue
			}
			for _, v := range l.records[i].Models[0].Verdicts {
				if v.sample < 0 || v.sample > 1 || v.predicted < 0 || v.predicted > 9 || v.rank < 0 {
					t.Fatalf("%+v passes", v)
				}
			}
		}
	})
}
