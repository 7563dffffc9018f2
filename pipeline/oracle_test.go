package pipeline

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/ref"
)

// shared is the folder of reference vectors beside the project's root.
func shared(t testing.TB, names ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{"..", "..", "shared"}, names...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no reference data: %v", err)
	}
	return path
}

// oracleCase is one folder of reference vectors.
type oracleCase struct {
	folder    string
	config    *configs.Config
	deviation map[string]float64
	weights   string
	expected  *safetensors.File
}

func openOracle(t testing.TB, name string) oracleCase {
	t.Helper()
	c := oracleCase{folder: shared(t, "oracle", name)}
	text, err := os.ReadFile(filepath.Join(c.folder, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var meta struct {
		Arch      map[string]any     `json:"arch"`
		Deviation map[string]float64 `json:"float32_deviation"`
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		t.Fatal(err)
	}
	c.deviation = meta.Deviation
	c.weights = filepath.Join(c.folder, "weights.safetensors")
	if path, ok := meta.Arch["weights"].(string); ok {
		c.weights = shared(t, path)
	}
	if c.config, err = configs.Load([]string{filepath.Join(c.folder, "case.json")}, nil); err != nil {
		t.Fatal(err)
	}
	if c.expected, err = safetensors.Open(filepath.Join(c.folder, "expected.safetensors")); err != nil {
		t.Fatal(err)
	}
	return c
}

// want returns an expected tensor; for a digest also the indices of its values.
func (c oracleCase) want(t testing.TB, key string) (values []float64, at []int64) {
	t.Helper()
	read := func(name string) *onnx.Tensor {
		tensor, err := c.expected.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		return tensor
	}
	var err error
	for _, name := range c.expected.Names() {
		switch name {
		case key:
			if values, err = read(key).Float64s(); err != nil {
				t.Fatal(err)
			}
			return values, nil
		case key + "#at":
			if at, err = read(name).Int64s(); err != nil {
				t.Fatal(err)
			}
			if values, err = read(key + "#value").Float64s(); err != nil {
				t.Fatal(err)
			}
			return values, at
		}
	}
	return nil, nil
}

// off is the largest difference over the largest expected value.
func off(got, want []float64, at []int64) float64 {
	worst, scale := 0.0, 0.0
	for i, w := range want {
		j := int64(i)
		if at != nil {
			j = at[i]
		}
		worst, scale = math.Max(worst, math.Abs(got[j]-w)), math.Max(scale, math.Abs(w))
	}
	if math.IsNaN(worst) {
		return math.Inf(1)
	}
	return worst / math.Max(scale, 1e-30)
}

// expectedKey maps a trace's key to the reference's, and to its deviation.
func expectedKey(key, method, mode string) (want, deviation string) {
	order := map[string]string{"first-order": "first", "second-order": "second"}[mode]
	if method != "relevance" {
		order = map[string]string{"first-order": "released", "second-order": "second"}[mode]
		if strings.HasPrefix(key, "loss.") || strings.HasPrefix(key, "grad.") {
			return method + "." + order + "." + key, method + "." + order
		}
	}
	group, rest, _ := strings.Cut(key, ".")
	switch group {
	case "grad":
		return "grad." + order + "." + rest, "grad." + order
	case "trajectory", "after", "loss", "attn", "attn_grad":
		return key, group
	}
	return key, key
}

// TestTraceMatchesPyTorch traces every reference case, mode and baseline, from
// the checkpoint and from the foreign ONNX file, within 10 times the deviation
// of PyTorch's own float32 run.
func TestTraceMatchesPyTorch(t *testing.T) {
	orttest.Need(t)
	for _, name := range []string{"micro", "micro-rect", "micro-deep", "vit-tiny"} {
		c := openOracle(t, name)
		sources := []string{c.weights}
		if foreign := filepath.Join(c.folder, "model.onnx"); exists(foreign) {
			sources = append(sources, foreign)
		}
		for _, source := range sources {
			for _, method := range []string{"relevance", "gradmask", "rrr"} {
				for _, mode := range []string{"first-order", "second-order"} {
					t.Run(strings.Join([]string{name, filepath.Base(source), method, mode}, "/"), func(t *testing.T) {
						c.compareTrace(t, source, method, mode, ort.Options{})
					})
				}
			}
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (c oracleCase) compareTrace(t *testing.T, source, method, mode string, on ort.Options) {
	cfg := *c.config
	cfg.Method, cfg.Mode = method, mode
	opt := TraceOptions{Model: source, Inputs: filepath.Join(c.folder, "inputs.safetensors"), Output: filepath.Join(t.TempDir(), "out.safetensors"), Config: &cfg, ORT: on}
	if method == "relevance" && mode == "first-order" {
		opt.Steps = cfg.Steps
	}
	opt.Open = c.options()
	keys, err := Trace(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	got, err := safetensors.Open(opt.Output)
	if err != nil {
		t.Fatal(err)
	}
	compared := map[string]int{}
	for _, key := range keys {
		wantKey, group := expectedKey(key, method, mode)
		want, at := c.want(t, wantKey)
		if want == nil {
			continue
		}
		tensor, err := got.Tensor(key)
		if err != nil {
			t.Fatal(err)
		}
		values, err := tensor.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(key, "after.") && strings.HasSuffix(key, "attn.qkv.bias") {
			c.compareRounding(t, key, values, want, at)
			continue
		}
		compared[group]++
		if e := off(values, want, at); e > 10*c.deviation[group] {
			t.Errorf("%s is off by %.2g, more than 10 times %.2g", key, e, c.deviation[group])
		}
	}
	t.Logf("compared %v", compared)
	if len(compared) < 2 {
		t.Errorf("only %v could be compared", compared)
	}
}

// compareRounding compares a bias whose key part has an exactly zero gradient:
// AdamW divides rounding noise by rounding noise there.
func (c oracleCase) compareRounding(t *testing.T, key string, got, want []float64, at []int64) {
	third := len(got) / 3
	for i, w := range want {
		j := i
		if at != nil {
			j = int(at[i])
		}
		limit := 10 * c.deviation["after"] * math.Abs(w)
		if j >= third && j < 2*third {
			limit = float64(c.config.Steps) * c.config.LR
		}
		if d := math.Abs(got[j] - w); d > limit+1e-6 {
			t.Errorf("%s[%d] = %v, expected %v", key, j, got[j], w)
		}
	}
}

// options state what the checkpoint's tensors leave open.
func (c oracleCase) options() ModelOptions {
	return ModelOptions{Convert: models.Options{}}
}

// TestFloat64MatchesPyTorchOnMicro evaluates the graphs of both modes and
// baselines in float64: 1e-9 leaves no room for a wrong formula.
func TestFloat64MatchesPyTorchOnMicro(t *testing.T) {
	c := openOracle(t, "micro")
	in, err := readTraceInputs(filepath.Join(c.folder, "inputs.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{c.weights, filepath.Join(c.folder, "model.onnx")} {
		for _, method := range []string{"relevance", "gradmask", "rrr"} {
			for _, mode := range []string{"first-order", "second-order"} {
				for _, whole := range []bool{true, false} {
					t.Run(strings.Join([]string{filepath.Base(source), method, mode, map[bool]string{true: "whole maps", false: "training graph"}[whole]}, "/"), func(t *testing.T) {
						m, err := OpenModel(source, c.options())
						if err != nil {
							t.Fatal(err)
						}
						widen(t, m.Graph)
						c.compareFloat64(t, m, in, method, mode, whole)
					})
				}
			}
		}
	}
}

func (c oracleCase) compareFloat64(t *testing.T, m *Model, in traceInputs, method, mode string, whole bool) {
	cfg := *c.config
	cfg.Method, cfg.Mode = method, mode
	a, err := m.assemble(in.batch(), ObjectiveOf(&cfg), nil, whole)
	if err != nil {
		t.Fatal(err)
	}
	out, err := traceOutputs(a)
	if err != nil {
		t.Fatal(err)
	}
	feed := map[string]*ref.Array{}
	for name, tensor := range map[string]*onnx.Tensor{a.subject.Image.Name: in.image, "mask": in.mask, "label": in.label} {
		if feed[name], err = ref.FromTensor(tensor); err != nil {
			t.Fatal(err)
		}
	}
	results, err := ref.Eval(a.g, feed, out.values)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for i, key := range out.names {
		wantKey, _ := expectedKey(key, method, mode)
		want, _ := c.want(t, wantKey)
		if want == nil || len(want) != len(results[i].F) { // of the last map, the training graph has a row
			continue
		}
		compared++
		if e := off(results[i].F, want, nil); e > 1e-9 {
			t.Errorf("%s is off by %.2g", key, e)
		}
	}
	if compared < 5 {
		t.Errorf("only %d tensors could be compared", compared)
	}
}

// widen turns a float32 graph into a float64 one.
func widen(t *testing.T, g *onnx.Graph) {
	t.Helper()
	g.Each(func(v *onnx.Value) {
		if v.Type != onnx.Float {
			return
		}
		v.Type = onnx.Double
		if v.Data != nil {
			values, err := v.Data.Float64s()
			if err != nil {
				t.Fatal(err)
			}
			v.Data = onnx.DoubleTensor(values, v.Data.Dims...)
		}
	})
}
