package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/passes"
	"github.com/relevit/relevit/onnx/ref"
)

// evaluate runs a model in float64.
func evaluate(t *testing.T, m *onnx.Model, image *ref.Array) []float64 {
	t.Helper()
	g, err := passes.Prepare(m)
	if err != nil {
		t.Fatal(err)
	}
	out, err := ref.Run(g, map[string]*ref.Array{"image": image})
	if err != nil {
		t.Fatal(err)
	}
	return out["logits"].F
}

// deviation is the largest difference over the largest value.
func deviation(got, want []float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	worst, largest := 0.0, 0.0
	for i := range want {
		worst, largest = max(worst, math.Abs(got[i]-want[i])), max(largest, math.Abs(want[i]))
	}
	if d := worst / largest; !math.IsNaN(d) {
		return d
	}
	return math.Inf(1)
}

// perturbed is a random checkpoint without zeros and ones, so that every
// tensor matters.
func perturbed(t *testing.T, spec string) (*Checkpoint, *Architecture) {
	c, a := random(t, spec)
	rng := rand.New(rand.NewPCG(3, 4))
	for _, name := range c.names {
		v, err := c.tensors[name].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for i := range v {
			v[i] += float32(0.2 * rng.NormFloat64())
		}
		c.tensors[name] = onnx.FloatTensor(v, c.tensors[name].Dims...)
	}
	return c, a
}

func TestBuiltGraphComputesTheForwardPassOfEveryKind(t *testing.T) {
	for name, spec := range small {
		c, a := perturbed(t, spec)
		rng := rand.New(rand.NewPCG(5, 6))
		image := make([]float64, a.Channels*a.ImageSize[0]*a.ImageSize[1])
		for i := range image {
			image[i] = rng.NormFloat64()
		}
		want := plainForward(c, a, image)
		for opset := int64(17); opset <= 21; opset++ {
			m, err := Build(c, a, BuildOptions{Opset: opset})
			if err != nil {
				t.Fatal(err)
			}
			got := evaluate(t, m, ref.Floats(image, 1, a.Channels, a.ImageSize[0], a.ImageSize[1]))
			if d := deviation(got, want); d > 1e-6 { // scale and act constants are float32
				t.Errorf("%s, opset %d: logits are %.3g off", name, opset, d)
			}
			g, err := passes.Prepare(m)
			if err != nil {
				t.Fatal(err)
			}
			s := find(t, g)
			grid := a.Grid()
			if s.Err() != nil || len(s.Attention) != a.Depth || s.Pool != a.Pool || s.PrefixTokens != int64(a.Prefix()) || s.Grid != [2]int64{int64(grid[0]), int64(grid[1])} ||
				s.Attention[0].Heads != int64(a.Heads) || s.Attention[0].Value.Name != "blocks.0.attn/A" {
				t.Errorf("%s, opset %d: found %+v, %v", name, opset, s, s.Err())
			}
		}
	}
}

func TestBuiltGraphKeepsNamesLayoutsAndData(t *testing.T) {
	for name, spec := range small {
		c, a := random(t, spec)
		m, err := Build(c, a, BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var weights []string
		for _, v := range m.Graph.Inits {
			if x := c.Tensor(v.Name); x != nil {
				weights = append(weights, v.Name)
				if !slices.Equal(v.Data.Dims, x.Dims) || !bytes.Equal(v.Data.Raw, x.Raw) {
					t.Errorf("%s: %v differs from the checkpoint's %v", name, v, x.Dims)
				}
			}
		}
		if !slices.Equal(weights, c.Names()) {
			t.Errorf("%s: initializers %v, want %v", name, weights, c.Names())
		}
		g, err := passes.Prepare(m)
		if err != nil {
			t.Fatal(err)
		}
		var params []string
		for _, p := range passes.Parameters(g) {
			params = append(params, p.Name)
		}
		if !slices.Equal(params, c.Names()) {
			t.Errorf("%s: trainable are %v, want %v", name, params, c.Names())
		}
	}
}

func TestBuiltModelCarriesItsMetadata(t *testing.T) {
	c, a := random(t, small["vit"])
	c.Path = "somewhere/small.safetensors"
	a.Labels = []string{"a", "b", "c", "d", "e"}
	m, err := Build(c, a, BuildOptions{Opset: 18, Version: "1.2"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	d, err := onnx.ParseDocument(data, "")
	if err != nil {
		t.Fatal(err)
	}
	if m, err = d.Model(); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{MetaVersion: "1.2", MetaSource: "small.safetensors", MetaSourceSum: c.SHA256, MetaLabels: `["a","b","c","d","e"]`} {
		if got, _ := m.Meta(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	text, _ := m.Meta(MetaArchitecture)
	back := &Architecture{}
	if err := json.Unmarshal([]byte(text), back); err != nil || back.Heads != a.Heads || back.Title() != a.Title() {
		t.Errorf("architecture %s, %v", text, err)
	}
	if p := PreprocessOf(m); !reflect.DeepEqual(*p, a.Preprocess) {
		t.Errorf("preprocessing %+v, want %+v", p, a.Preprocess)
	}
	if m.IRVersion != 8 || m.OpsetVersion("") != 18 || m.Producer != "relevit" {
		t.Errorf("IR %d, opset %d, producer %s", m.IRVersion, m.OpsetVersion(""), m.Producer)
	}
	if r := m.Graph.Inputs[0]; r.String() != "image float32(batch,3,32,32)" || m.Graph.Outputs[0].String() != "logits float32(batch,5)" {
		t.Errorf("input %v, output %v", r, m.Graph.Outputs[0])
	}
}

func TestBuildRefuses(t *testing.T) {
	c, a := random(t, small["vit"])
	var e *Error
	if _, err := Build(c, a, BuildOptions{Opset: 16}); !errors.As(err, &e) || e.ExitCode() != 2 {
		t.Errorf("opset 16 gives %v", err)
	}
	headless := edit(c, map[string]*onnx.Tensor{"head.weight": nil, "head.bias": nil})
	if _, err := Build(headless, a, BuildOptions{}); err == nil || !strings.Contains(err.Error(), "no tensor head.weight") {
		t.Errorf("another checkpoint's architecture gives %v", err)
	}
}

func TestCheckpointsWithoutAClassifierGiveFeatures(t *testing.T) {
	for name, spec := range small {
		c, _ := perturbed(t, spec)
		headless := edit(c, map[string]*onnx.Tensor{"head.weight": nil, "head.bias": nil, "head_dist.weight": nil, "head_dist.bias": nil})
		a, err := ReadArchitecture(headless, Options{Arch: strings.Replace(spec, `"num_classes":5`, `"num_classes":0`, 1)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "no classifier") {
			t.Errorf("%s: warnings %q", name, a.Warnings)
		}
		m, err := Build(headless, a, BuildOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if out := m.Graph.Outputs[0]; out.String() != fmt.Sprintf("features float32(batch,%d)", a.Width) {
			t.Errorf("%s: output %v", name, out)
		}
		g, err := passes.Prepare(m)
		if err != nil {
			t.Fatal(err)
		}
		if s := find(t, g); s.Err() == nil || !strings.Contains(s.Err().Error(), "no classifier") || len(s.Attention) != a.Depth {
			t.Errorf("%s: found %+v", name, s)
		}
	}
}

func TestHalfPrecisionCheckpointsBecomeFloat32(t *testing.T) {
	c, a := random(t, small["vit"])
	halves := map[string]*onnx.Tensor{}
	for _, n := range c.Names() {
		x := c.Tensor(n)
		raw := make([]byte, 0, len(x.Raw)/2)
		for i := 0; i < len(x.Raw); i += 4 {
			raw = append(raw, x.Raw[i+2], x.Raw[i+3])
		}
		halves[n] = &onnx.Tensor{Type: onnx.BFloat16, Dims: x.Dims, Raw: raw}
	}
	h := edit(c, halves)
	if _, err := ReadArchitecture(h, Options{}); err != nil {
		t.Fatal(err)
	}
	m, err := Build(h, a, BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range m.Graph.Inits {
		if c.Tensor(v.Name) != nil && v.Type != onnx.Float {
			t.Errorf("%v isn't float32", v)
		}
	}
}

// oracleCase is a case of the reference vectors.
type oracleCase struct {
	weights, folder string
	exact           bool // expectations are float64
}

func oracleCases(t *testing.T) map[string]oracleCase {
	out := map[string]oracleCase{"vit-tiny": {shared(t, "data", "models", "vit_tiny_patch16_224.safetensors"), shared(t, "oracle", "vit-tiny"), false}}
	for _, name := range []string{"micro", "micro-rect", "micro-deep"} {
		folder := shared(t, "oracle", name)
		out[name] = oracleCase{filepath.Join(folder, "weights.safetensors"), folder, name == "micro"}
	}
	return out
}

func (c oracleCase) tensor(t *testing.T, file, name string) *onnx.Tensor {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(c.folder, file))
	if err != nil {
		t.Fatal(err)
	}
	x, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestConvertedCheckpointsMatchPyTorchInFloat64(t *testing.T) {
	for name, c := range oracleCases(t) {
		if name == "vit-tiny" {
			continue // too slow in float64
		}
		m, err := Convert(c.weights, Options{})
		if err != nil {
			t.Fatal(err)
		}
		x := c.tensor(t, "inputs.safetensors", "image")
		image, err := x.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		var shape []int
		for _, d := range x.Dims {
			shape = append(shape, int(d))
		}
		want, err := c.tensor(t, "expected.safetensors", "logits").Float64s()
		if err != nil {
			t.Fatal(err)
		}
		limit := 1e-7
		if c.exact {
			limit = 1e-10
		}
		if d := deviation(evaluate(t, m, ref.Floats(image, shape...)), want); d > limit {
			t.Errorf("%s: logits are %.3g off, want at most %g", name, d, limit)
		}
	}
}

func TestConvertedCheckpointsMatchPyTorchOnTheRuntime(t *testing.T) {
	orttest.Need(t)
	for name, c := range oracleCases(t) {
		m, err := Convert(c.weights, Options{})
		if err != nil {
			t.Fatal(err)
		}
		x := c.tensor(t, "inputs.safetensors", "image")
		want, err := c.tensor(t, "expected.safetensors", "logits").Float64s()
		if err != nil {
			t.Fatal(err)
		}
		d := deviation(infer(t, m, x), want)
		t.Logf("%s: %.3g of the largest logit", name, d)
		if d > 1e-5 {
			t.Errorf("%s: logits are %.3g off, want at most 1e-5", name, d)
		}
	}
}

func TestEveryOpsetRunsOnTheRuntime(t *testing.T) {
	orttest.Need(t)
	for name, spec := range small {
		c, a := perturbed(t, spec)
		image := onnx.FloatTensor(make([]float32, 2*a.Channels*a.ImageSize[0]*a.ImageSize[1]), 2, int64(a.Channels), int64(a.ImageSize[0]), int64(a.ImageSize[1]))
		want := plainForward(c, a, make([]float64, image.Count()/2))
		for opset := int64(17); opset <= 21; opset++ {
			m, err := Build(c, a, BuildOptions{Opset: opset})
			if err != nil {
				t.Fatal(err)
			}
			if d := deviation(infer(t, m, image)[len(want):], want); d > 1e-5 {
				t.Errorf("%s, opset %d: logits are %.3g off", name, opset, d)
			}
		}
	}
}

// infer runs a model on ONNX Runtime.
func infer(t *testing.T, m *onnx.Model, image *onnx.Tensor) []float64 {
	t.Helper()
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ort.NewSession(data, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pixels, err := image.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ort.BufferOf(pixels, image.Dims...)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	out, err := s.Call(map[string]*ort.Buffer{"image": b})
	if err != nil {
		t.Fatal(err)
	}
	defer out["logits"].Close()
	var logits []float64
	for _, v := range out["logits"].Float32s() {
		logits = append(logits, float64(v))
	}
	return logits
}
