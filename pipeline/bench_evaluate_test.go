//go:build bench

package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/relevit/relevit/onnx/ort"
)

const (
	// evaluateLimit is from what share of the bare forward pass's pictures per
	// second evaluating has to make, and evaluateTorch from how many times
	// PyTorch's with a DataLoader of two workers.
	evaluateLimit = 0.93
	evaluateTorch = 1.35

	// benchEvaluated is how many pictures are evaluated, in evaluateBatch at once.
	benchEvaluated = 240
	evaluateBatch  = 16
)

// evaluating runs, by turns, evaluate on JPEGs, bare forward passes of the batch
// for which they were exported, and PyTorch on the same files.
func (b *bench) evaluating(j job) {
	folder, files := benchFolders(b.T)
	forward := bareForward(b.T, b.model, ort.Options{})
	pytorch := b.startTorch(j, "evaluate", append([]string{strconv.Itoa(evaluateBatch)}, files...)...)
	r := newRounds(b)
	var rate float64
	evaluate := func() error {
		e, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{j.Model}, Data: folder, Batch: evaluateBatch, Strict: true})
		if err == nil {
			rate = float64(e.Rate)
		}
		return err
	}
	forwards := func() error {
		for range len(files) / benchBatch / 2 {
			if err := forward(); err != nil {
				return err
			}
		}
		return nil
	}
	for range j.Rounds + 1 {
		r.timed("forward", forwards)
		before := last(r.seconds["forward"])
		r.timed("command", evaluate)
		r.timed("forward", forwards)
		bare := float64(len(files)/benchBatch/2*benchBatch) * 2 / (before + last(r.seconds["forward"]))
		r.took("bare rate", bare)
		r.took("rate", rate)
		r.divide("rate", "bare rate")
		if pytorch != nil {
			r.took("PyTorch rate", float64(len(files))/pytorch.number(b.T, "evaluate"))
			r.divide("rate", "PyTorch rate")
		}
		r.warm()
	}
	r.report()
}

// benchFolders lists JPEGs in folders of their classes: ImageNet samples where
// they are, generated photographs otherwise.
func benchFolders(t *testing.T) (folder string, files []string) {
	t.Helper()
	folder = t.TempDir()
	classes, _ := filepath.Glob(filepath.Join("..", "..", "shared", "data", "imagenet-samples", "*"))
	link := func(from, to string) {
		from, err := filepath.Abs(from)
		if err == nil {
			err = os.Symlink(from, to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(classes) < benchEvaluated {
		if err := os.Mkdir(filepath.Join(folder, "0"), 0o777); err != nil {
			t.Fatal(err)
		}
		photo := benchPictures(t, 1)[0].ImagePath
		for i := range benchEvaluated {
			files = append(files, filepath.Join(folder, "0", fmt.Sprintf("%03d.jpg", i)))
			link(photo, last(files))
		}
		return folder, files
	}
	for i := range benchEvaluated {
		class := classes[i*len(classes)/benchEvaluated]
		link(class, filepath.Join(folder, filepath.Base(class)))
		list, err := filepath.Glob(filepath.Join(class, "*"))
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: no pictures: %v", class, err)
		}
		files = append(files, list[0])
	}
	return folder, files
}

// benchEvaluating prints how many pictures evaluate takes in a second.
func benchEvaluating(t *testing.T, m benchedModel, rounds int) {
	r := measure(t, job{Kind: "evaluating", Model: m.path, Size: m.size, Weights: m.weights, Rounds: rounds})
	out := &figures{T: t, title: fmt.Sprintf("Evaluating %d JPEGs by %s", benchEvaluated, m.title)}
	out.figure("bare forward pass", "%.1f pictures/s", r.Seconds["bare rate"])
	out.figure("evaluate", "%.1f pictures/s", r.Seconds["rate"])
	out.atLeast(evaluateLimit, "  in times of the bare forward pass", "%.3f", r.Ratio["rate/bare rate"])
	if r.Beside != "" {
		out.figure(r.Beside+", a DataLoader of two workers", "%.1f pictures/s", r.Seconds["PyTorch rate"])
		out.atLeast(evaluateTorch, "  evaluate in times of that", "%.2f", r.Ratio["rate/PyTorch rate"])
	} else {
		out.figure("PyTorch", "none (%s)", r.Without)
	}
	out.print()
}
