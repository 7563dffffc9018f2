package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// zooCase is one folder of testdata/zoo: a model as an exporter or a library
// wrote it, and case.safetensors with a batch and PyTorch's float64 results.
// testdata/recipes holds the programs that made them.
type zooCase struct {
	name, source string
	expected     *safetensors.File
	deviation    map[string]float64
	find         models.FindOptions
}

// zoo lists the cases of testdata/zoo.
func zoo(t *testing.T) []zooCase {
	t.Helper()
	return zooIn(t, "testdata/zoo")
}

// zooIn lists the cases of a folder. A case's source is its only file or folder whose name
// begins with "model"; external data lie beside it.
func zooIn(t *testing.T, folder string) []zooCase {
	t.Helper()
	folders, err := filepath.Glob(folder + "/*/case.safetensors")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no cases in %s (%v)", folder, err)
	}
	var out []zooCase
	for _, path := range folders {
		dir := filepath.Dir(path)
		c := zooCase{name: filepath.Base(dir)}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "model") && !strings.HasSuffix(e.Name(), ".data") {
				if c.source != "" {
					t.Fatalf("%s has two models", dir)
				}
				c.source = filepath.Join(dir, e.Name())
			}
		}
		if c.expected, err = safetensors.Open(path); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(c.expected.Metadata["float32_deviation"]), &c.deviation); err != nil {
			t.Fatalf("%s: float32_deviation: %v", path, err)
		}
		out = append(out, c)
	}
	return out
}

// TestZooMatchesPyTorch traces every library's and every exporter's spelling of
// a ViT: logits, attention maps, their gradients and relevance lie within 10
// times the deviation of PyTorch's own float32 run.
func TestZooMatchesPyTorch(t *testing.T) {
	orttest.Need(t)
	for _, c := range zoo(t) {
		t.Run(c.name, c.trace)
	}
}

// TestResizedCheckpointsMatchPyTorch traces checkpoints at another size of
// pictures than their own, as timm resizes them.
func TestResizedCheckpointsMatchPyTorch(t *testing.T) {
	orttest.Need(t)
	for _, c := range zooIn(t, "testdata/resized") {
		t.Run(c.name, c.trace)
	}
}

// TestImageTowersAreTracedByTheirOutput traces a whole CLIP model, whose logits
// need a text: stating the output that the picture alone gives is enough.
func TestImageTowersAreTracedByTheirOutput(t *testing.T) {
	orttest.Need(t)
	for _, c := range zooIn(t, "testdata/towers") {
		t.Run(c.name, func(t *testing.T) {
			m, err := OpenModel(c.source, ModelOptions{})
			if err != nil {
				t.Fatal(err)
			}
			s, err := models.Find(m.Graph, m.Find)
			if err == nil {
				err = s.Err()
			}
			if err == nil || strings.Contains(err.Error(), "\n") || strings.Count(err.Error(), "besides the picture") != 1 ||
				!strings.Contains(err.Error(), "image tower") || !strings.Contains(err.Error(), "--logits") {
				t.Errorf("without a text: %v", err)
			}
			c.find.Output = "image_embeds"
			c.trace(t)
		})
	}
}

func (c zooCase) trace(t *testing.T) {
	config, err := configs.Load([]string{"vit-tiny"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	opt := TraceOptions{Model: c.source, Open: ModelOptions{Find: c.find}, Inputs: filepath.Join(filepath.Dir(c.source), "case.safetensors"),
		Output: filepath.Join(t.TempDir(), "out.safetensors"), Config: config}
	keys, err := Trace(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	got, err := safetensors.Open(opt.Output)
	if err != nil {
		t.Fatal(err)
	}
	c.compare(t, got, keys)
}

// compare takes the maps in order of execution, whatever their blocks.
func (c zooCase) compare(t *testing.T, got *safetensors.File, keys []string) {
	t.Helper()
	seen := map[string]int{}
	for _, key := range keys {
		group, _, _ := strings.Cut(key, ".")
		want := key
		switch group {
		case "attn", "attn_grad":
			want = fmt.Sprintf("%s.%d", group, seen[group])
		case "logits", "relevance":
		default:
			continue
		}
		seen[group]++
		if e := off(values(t, got, key), values(t, c.expected, want), nil); e > 10*c.deviation[group] {
			t.Errorf("%s is off by %.2g, more than 10 times %.2g", key, e, c.deviation[group])
		}
	}
	for _, key := range c.expected.Names() {
		if group, _, _ := strings.Cut(key, "."); strings.HasPrefix(group, "attn") {
			seen[group]--
		}
	}
	if seen["logits"] != 1 || seen["relevance"] != 1 || seen["attn"] != 0 || seen["attn_grad"] != 0 {
		t.Errorf("not every quantity was traced: %v", keys)
	}
}

func values(t *testing.T, f *safetensors.File, key string) []float64 {
	t.Helper()
	if !slices.Contains(f.Names(), key) {
		t.Fatalf("no tensor %s among %v", key, f.Names())
	}
	tensor, err := f.Tensor(key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := tensor.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}
