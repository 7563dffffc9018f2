package pipeline

import (
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestRunsAreEvaluatedWithTheirTrainedWeights holds a run against the model that
// is exported from it; the file in the run has the weights from before.
func TestRunsAreEvaluatedWithTheirTrainedWeights(t *testing.T) {
	orttest.Need(t)
	model, dir := filepath.Join("testdata", "zoo", "timm-torchscript-17", "model.onnx"), t.TempDir()
	run, exported := filepath.Join(dir, "run"), filepath.Join(dir, "robust.onnx")
	trainTwoSteps(t, model, run, t.TempDir())
	if _, err := Export(context.Background(), run, exported, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	for i := range 6 {
		savePicture(t, filepath.Join(data, fmt.Sprint(i%3), fmt.Sprintf("%d.png", i)), uint64(i), 20+i, 18)
	}
	list := filepath.Join(dir, "predictions.csv")
	if _, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{run, exported, model}, Data: data, CSV: list}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(list)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != 19 {
		t.Fatalf("%d lines (%v)", len(lines), err)
	}
	probability := func(line int) float64 {
		p, err := strconv.ParseFloat(lines[line][5], 64)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	moved := 0.0
	for i := 1; i <= 6; i++ {
		if d := math.Abs(probability(i) - probability(6+i)); !(d < 1e-5) || lines[i][4] != lines[6+i][4] {
			t.Errorf("the run says %q, what is exported from it %q", lines[i], lines[6+i])
		}
		moved = max(moved, math.Abs(probability(i)-probability(12+i)))
	}
	if moved < 1e-3 {
		t.Errorf("training moved the probabilities by %g, so the test can't tell", moved)
	}
}
