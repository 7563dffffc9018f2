package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/dataset/datasettest"
)

// modelOfClasses writes a checkpoint of 32x32 pixels with so many classes.
func modelOfClasses(t *testing.T, classes int) string {
	t.Helper()
	a, err := models.NewArchitecture(fmt.Sprintf(`{"img_size":32,"patch_size":8,"embed_dim":16,"depth":2,"num_heads":2,"num_classes":%d}`, classes))
	if err != nil {
		t.Fatal(err)
	}
	c, err := models.RandomCheckpoint(a, 3)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vit.safetensors")
	if err := c.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFinetuningReadsEachLayoutAsItLies(t *testing.T) {
	orttest.Need(t)
	for _, c := range []struct {
		layout  string
		write   func(testing.TB, string)
		classes int
		labels  []int // of all pictures; nil: the model's own
		drawn   bool
		train   int
	}{
		{"imagenet-s", datasettest.ImageNetS, 1000, []int{1, 235, 998}, false, 6},
		{"pets", datasettest.Pets, 37, []int{0, 2, 7, 36}, false, 6},
		{"voc", datasettest.VOC, 20, []int{0, 7, 14, 19}, true, 6},
		{"coco", datasettest.COCO, 3, []int{0, 1, 2}, true, 7},
		{"voc", datasettest.VOC, 6, nil, true, 6},
	} {
		t.Run(fmt.Sprintf("%s with %d classes", c.layout, c.classes), func(t *testing.T) {
			root := t.TempDir()
			c.write(t, root)
			sets := []string{"model=" + modelOfClasses(t, c.classes), "data.layout=" + c.layout, "data.root=" + root, "data.samples=0", "batch=2", "epochs=1", "sheet_images=1",
				fmt.Sprintf("data.classes=%d", map[bool]int{true: 2, false: 3}[len(c.labels) == 3])}
			cfg, err := configs.Load([]string{"vit-tiny"}, sets)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "run")
			result, err := Finetune(context.Background(), FinetuneOptions{Config: cfg, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if result.Epochs != 1 || result.Steps != c.train/2 {
				t.Errorf("%+v", result)
			}
			// The run goes on reading its lists wherever it is moved, and where the
			// data set's own lists and masks are gone.
			moved := dir + "-moved"
			if err := os.Rename(dir, moved); err != nil {
				t.Fatal(err)
			}
			run, err := OpenRun(moved)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			train, validation, ok, err := readSplits(run)
			if err != nil || !ok || len(train) != c.train || len(validation) == 0 {
				t.Fatalf("%d and %d pictures (%v, %v)", len(train), len(validation), ok, err)
			}
			for _, s := range slices.Concat(train, validation) {
				if c.labels != nil && !slices.Contains(c.labels, s.Label) || s.Label < 0 || s.Label >= c.classes {
					t.Errorf("%s has label %d", s.ID, s.Label)
				}
				if drawn := strings.HasPrefix(s.MaskPath, moved); drawn != c.drawn {
					t.Errorf("mask %s", s.MaskPath)
				}
			}
			first, _ := selected(t, cfg, c.classes)
			second, _ := selected(t, cfg, c.classes)
			if !slices.Equal(first, second) || len(first) != len(train) {
				t.Errorf("%v, then %v", first, second)
			}
		})
	}
}

// selected are the IDs that a configuration selects.
func selected(t *testing.T, cfg *configs.Config, classes int) (train, validation []string) {
	t.Helper()
	set, err := ListSamples(cfg, classes, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b, err := planOf(cfg).Partition(set.Samples)
	if err != nil {
		t.Fatal(err)
	}
	names := func(list []dataset.Sample) (out []string) {
		for _, s := range list {
			out = append(out, s.ID)
		}
		return out
	}
	return names(a), names(b)
}

func TestAWrongLayoutEndsARunBeforeItLeavesAnything(t *testing.T) {
	orttest.Need(t)
	root := t.TempDir()
	datasettest.Pets(t, root)
	cfg, err := configs.Load([]string{"vit-tiny"}, []string{"model=" + modelOfClasses(t, 37), "data.layout=voc", "data.root=" + root})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	_, err = Finetune(context.Background(), FinetuneOptions{Config: cfg, Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "set data.layout=pets and data.root="+root) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the run folder is left: %v", err)
	}
}
