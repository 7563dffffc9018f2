package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/picture"
)

// checkpointsOfEveryFormat writes a small checkpoint in every form in which
// finetune takes one.
func checkpointsOfEveryFormat(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	a, err := models.NewArchitecture(`{"img_size":16,"patch_size":8,"embed_dim":16,"depth":2,"num_heads":2,"num_classes":5}`)
	if err != nil {
		t.Fatal(err)
	}
	c, err := models.RandomCheckpoint(a, 3)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "vit.safetensors")
	if err := c.Save(file); err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(dir, "vit.onnx")
	open := models.Options{Heads: 2}
	if _, err := Convert(context.Background(), file, model, ConvertOptions{Open: open}); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{"safetensors": file, "pth": filepath.Join(dir, "vit.pth"), "folder": filepath.Join(dir, "folder"), "sharded folder": filepath.Join(dir, "sharded"), "ONNX": model}
	for path, format := range map[string]string{out["pth"]: FormatPyTorch, out["folder"]: FormatHub} {
		if _, err := Export(context.Background(), model, path, ExportOptions{Format: format, Open: open}); err != nil {
			t.Fatal(err)
		}
	}
	shard(t, c, out["sharded folder"])
	if found, _ := filepath.Glob("testdata/zoo/*/model.npz"); len(found) == 0 {
		t.Log("there is no .npz in testdata/zoo")
	} else {
		data, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		out["npz"] = filepath.Join(dir, "vit.npz")
		if err := os.WriteFile(out["npz"], data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// shard writes a checkpoint as a folder with an index and two files.
func shard(t *testing.T, c *models.Checkpoint, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var parts [2][]safetensors.Named
	index := map[string]string{}
	for i, name := range c.Names() {
		parts[i%2] = append(parts[i%2], safetensors.Named{Name: name, Tensor: c.Tensor(name)})
		index[name] = fmt.Sprintf("model-%d.safetensors", i%2)
	}
	for i, list := range parts {
		if err := safetensors.Write(filepath.Join(dir, fmt.Sprintf("model-%d.safetensors", i)), list, nil); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(map[string]any{"weight_map": index})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), text, 0o666); err != nil {
		t.Fatal(err)
	}
}

// trainingData draws two classes of pictures with masks.
func trainingData(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := range 8 {
		name := filepath.Join(fmt.Sprint("class", i%2), fmt.Sprintf("%d.png", i))
		savePicture(t, filepath.Join(dir, "images", name), uint64(i), 40, 30)
		mask := picture.NewGray(40, 30)
		for k := range mask.Pix {
			if k%40 < 20 {
				mask.Pix[k] = 1
			}
		}
		if err := os.MkdirAll(filepath.Join(dir, "masks", filepath.Dir(name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := mask.SavePNG(filepath.Join(dir, "masks", name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestFinetuneTakesCheckpointsOfEveryFormat interrupts each run, takes the
// checkpoint away, and resumes: the parameters are those of a run that nobody
// interrupted, and what is exported is the checkpoint's model.
func TestFinetuneTakesCheckpointsOfEveryFormat(t *testing.T) {
	orttest.Need(t)
	data := trainingData(t)
	for format, source := range checkpointsOfEveryFormat(t) {
		t.Run(format, func(t *testing.T) {
			cfg, err := configs.Load(nil, []string{"model=" + source, "lr=1e-3", "epochs=3", "batch=4", "data.images=" + filepath.Join(data, "images"), "data.masks=" + filepath.Join(data, "masks"),
				"data.labels=top1", "data.classes=0", "data.samples=0", "data.validation.split=none", "sheet_images=0"})
			if err != nil {
				t.Fatal(err)
			}
			opt := FinetuneOptions{Config: cfg, Dir: filepath.Join(t.TempDir(), "whole"), Tool: "test"}
			if format != "folder" && format != "npz" { // which say so themselves
				opt.Open.Convert.Heads = 2
			}
			if _, err := Finetune(context.Background(), opt); err != nil {
				t.Fatal(err)
			}
			want := lastParameters(t, opt.Dir)

			opt.Dir = filepath.Join(t.TempDir(), "stopped")
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			opt.Hooks.OnStep = func(r StepRecord) {
				if r.GlobalStep == 1 {
					cancel()
				}
			}
			if _, err := Finetune(ctx, opt); !errors.Is(err, ErrInterrupted) {
				t.Fatalf("got %v, want an interruption", err)
			}
			if err := os.Rename(source, source+".away"); err != nil {
				t.Fatal(err)
			}
			if _, err := Finetune(context.Background(), FinetuneOptions{Dir: opt.Dir, Resume: true, Tool: "test"}); err != nil {
				t.Fatal(err)
			}
			got := lastParameters(t, opt.Dir)
			if len(want) == 0 || len(got) != len(want) {
				t.Fatalf("%d parameters, want %d", len(got), len(want))
			}
			for name, p := range want {
				if !bytes.Equal(got[name].Raw, p.Raw) {
					t.Errorf("%s isn't what it is without the interruption", name)
				}
			}
			if _, err := Export(context.Background(), opt.Dir, filepath.Join(t.TempDir(), "robust.onnx"), ExportOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func lastParameters(t *testing.T, dir string) map[string]*onnx.Tensor {
	t.Helper()
	run, err := ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := run.LoadParameters(Last)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*onnx.Tensor{}
	for _, p := range c.Parameters {
		out[p.Name] = p.Tensor
	}
	return out
}
