//go:build demomodel

package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline"
)

// modelSum is the SHA-256 of the embedded weights. Another kind of CPU may give
// other last bits, and so another sum.
const modelSum = "3c77e6914d389ee8ebf1b3518fad63fd90c1e12e0457a2ae73bbfa0d58554720"

// TestTrainDemoModel trains the model that the demo embeds from random weights,
// by relevit itself, and writes tiny.safetensors anew.
func TestTrainDemoModel(t *testing.T) {
	orttest.Need(t)
	dir := t.TempDir()
	a, err := models.NewArchitecture(architecture)
	if err != nil {
		t.Fatal(err)
	}
	start, err := models.RandomCheckpoint(a, modelSeed)
	if err != nil {
		t.Fatal(err)
	}
	start.Metadata["crop_pct"], start.Metadata["interpolation"] = "0.875", "bilinear" // as in training
	if err := start.Save(filepath.Join(dir, "random.safetensors")); err != nil {
		t.Fatal(err)
	}
	if err := writeSet(filepath.Join(dir, "data"), modelSeed, 1500, usually); err != nil {
		t.Fatal(err)
	}
	c, err := configs.Parse("demo model", []byte(fmt.Sprintf(pretraining, dir)))
	if err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "run")
	_, err = pipeline.Finetune(context.Background(), pipeline.FinetuneOptions{Config: c, Dir: run, ORT: ort.Options{Threads: 1},
		Open: pipeline.ModelOptions{Convert: models.Options{Arch: architecture}},
		Hooks: pipeline.Hooks{OnEpoch: func(e pipeline.EpochRecord) {
			t.Logf("epoch %d: loss %.3f, accuracy %.3f", e.Epoch+1, e.Loss, e.Accuracy)
		}}})
	if err != nil {
		t.Fatal(err)
	}
	exported := filepath.Join(dir, "tiny.safetensors")
	if _, err := pipeline.Export(context.Background(), run, exported, pipeline.ExportOptions{Checkpoint: pipeline.Last}); err != nil {
		t.Fatal(err)
	}
	if err := keep(exported, "tiny.safetensors"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("tiny.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != modelSum {
		t.Logf("the model's SHA-256 is %s, and was %q: on the same kind of CPU that means that something changed", got, modelSum)
	}
}

// keep copies weights with what is needed to read them, leaving out metadata
// that differ from run to run.
func keep(from, to string) error {
	f, err := safetensors.Open(from)
	if err != nil {
		return err
	}
	var tensors []safetensors.Named
	for _, name := range f.Names() {
		t, err := f.Tensor(name)
		if err != nil {
			return err
		}
		tensors = append(tensors, safetensors.Named{Name: name, Tensor: t})
	}
	metadata := map[string]string{"format": "pt"}
	for _, key := range []string{models.MetaArchitecture, models.MetaPreprocess} {
		metadata[key] = f.Metadata[key]
	}
	return safetensors.Write(to, tensors, metadata)
}

// pretraining is how the embedded model was trained: plain classification.
const pretraining = `
model: %[1]s/random.safetensors
data: {root: %[1]s/data, images: images, masks: masks, labels: classes-file, classes_file: classes.tsv, classes: 0, samples: 0, validation: {split: none}}
lambda_seg: 0
lambda_acc: 1
confidence: label
lr: 1e-3
lr_schedule: {factor: 0.7, every: 1}
weight_decay: 0.05
epochs: 4
batch: 32
seed: 1
sheet_images: 0
checkpoint: {every_epochs: 0}
`
