package demo

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline"
)

// small is a demo of seconds, whose figures mean little.
func small(dir string) RunOptions {
	return RunOptions{Dir: dir, Seeds: 2, Pictures: 66, TestPictures: 60, Epochs: 1, Version: "test"}
}

func TestRunLeavesAVerifiedModelAndAReport(t *testing.T) {
	orttest.Need(t)
	opt := small(filepath.Join(t.TempDir(), "demo"))
	steps, total := 0, 0
	opt.OnProgress = func(_ string, done, of int) { steps, total = done, of }
	r, err := Run(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if steps != total {
		t.Errorf("progress ended at %d of %d", steps, total)
	}
	if r.Verdict != pipeline.VerdictRetrained || r.Largest == 0 || !(r.Logits <= tolerance*r.Largest) {
		t.Errorf("exported model: %s, logits up to %v differ by %v", r.Verdict, r.Largest, r.Logits)
	}
	page, err := os.ReadFile(r.Report)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{setNames[usual], setNames[shifted], "without masks", "data:image/png", Classes[5]} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the report doesn't say %q", want)
		}
	}
	if len(r.Comparisons) != 6 {
		t.Errorf("found %d comparisons, want 6", len(r.Comparisons))
	}
	for _, c := range r.Comparisons {
		for _, v := range []Interval{c.Before, c.After, c.NoMasks} {
			if !(v.Low <= v.Mean && v.Mean <= v.High && v.Low >= 0 && v.High <= 1) {
				t.Errorf("%s, %s: %+v", c.Pictures, c.Measure, v)
			}
		}
	}
	if text, err := json.Marshal(r); err != nil || !strings.Contains(string(text), `"interval"`) {
		t.Errorf("as JSON: %s, %v", text, err)
	}
	if _, err := Run(context.Background(), opt); !isExists(err) {
		t.Errorf("again into the same folder: %v, want an *ExistsError", err)
	}
}

func isExists(err error) bool {
	var e *pipeline.ExistsError
	return errors.As(err, &e)
}

func TestRunStopsWhenInterrupted(t *testing.T) {
	orttest.Need(t)
	ctx, cancel := context.WithCancel(context.Background())
	opt := small(filepath.Join(t.TempDir(), "demo"))
	opt.OnProgress = func(string, int, int) { cancel() }
	if _, err := Run(ctx, opt); !errors.Is(err, context.Canceled) {
		t.Errorf("found %v, want context.Canceled", err)
	}
}

func TestEmbeddedModelIsTheViTThatTheDemoDescribes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tiny.safetensors")
	if err := os.WriteFile(path, weights, 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := models.OpenCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := models.ReadArchitecture(c, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := models.NewArchitecture(architecture)
	if err != nil {
		t.Fatal(err)
	}
	if a.Describe() != want.Describe() || len(a.Warnings) > 0 {
		t.Errorf("found %s (warnings %q), want %s", a.Describe(), a.Warnings, want.Describe())
	}
	if len(weights) > 1<<20 {
		t.Errorf("the weights have %d bytes, want less than 1 MiB", len(weights))
	}
}
