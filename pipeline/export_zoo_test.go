package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// zooModels are the zoo's cases that are ONNX files.
func zooModels(t *testing.T) []zooCase {
	t.Helper()
	var out []zooCase
	for _, c := range zoo(t) {
		if strings.HasSuffix(c.source, ".onnx") {
			out = append(out, c)
		}
	}
	return out
}

// TestZooExportsInEveryForm writes every exporter's spelling of a ViT in other
// precisions, opsets and batch sizes. Export itself runs what it writes and
// compares it with the source; here the drift must be that of rounding.
func TestZooExportsInEveryForm(t *testing.T) {
	orttest.Need(t)
	forms := []struct {
		name  string
		opt   ExportOptions
		drift float64
	}{
		{"fp16", ExportOptions{Precision: Float16}, 0.02},
		{"fp16-io", ExportOptions{Precision: Float16, KeepIO: true}, 0.02},
		{"opset-11", ExportOptions{Opset: 11}, 1e-4},
		{"opset-13", ExportOptions{Opset: 13}, 1e-4},
		{"opset-17", ExportOptions{Opset: 17}, 1e-4},
		{"opset-20", ExportOptions{Opset: 20}, 1e-4},
		{"opset-24", ExportOptions{Opset: 24}, 1e-4},
		{"batch-1", ExportOptions{Batch: 1}, 1e-4},
		{"batch-4", ExportOptions{Batch: 4}, 1e-4},
		{"dynamic", ExportOptions{Batch: DynamicBatch}, 1e-4},
		{"outside", ExportOptions{Data: DataOutside}, 0},
		{"all", ExportOptions{Precision: Float16, KeepIO: true, Opset: 12, Batch: 2, Data: DataOutside}, 0.02},
	}
	const antialias = "attribute antialias came with opset 18"
	refusals := map[string]string{"jax-flax-einsum opset-11": "operator Einsum came with opset 12",
		"timm-anysize-dynamo-18 opset-11": antialias, "timm-anysize-dynamo-18 opset-13": antialias,
		"timm-anysize-dynamo-18 opset-17": antialias, "timm-anysize-dynamo-18 all": antialias}
	for _, c := range zooModels(t) {
		t.Run(c.name, func(t *testing.T) {
			for _, f := range forms {
				out := filepath.Join(t.TempDir(), "out.onnx")
				f.opt.Run = true
				r, err := Export(context.Background(), c.source, out, f.opt)
				if refusal := refusals[c.name+" "+f.name]; err != nil && refusal != "" && strings.Contains(err.Error(), refusal) {
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", f.name, err)
					continue
				}
				drift := f.drift
				if c.half() { // its own numbers are rounded in every step, in other places after another optimization
					drift = 0.02
				}
				if k := r.Files[0].Check; k == nil && f.opt.Opset == 0 || k != nil && (!k.Ran || float64(k.MaxRel) > drift) {
					t.Errorf("%s: %+v", f.name, k)
				}
				if err := c.form(out, f.opt); err != nil {
					t.Errorf("%s: %v", f.name, err)
				}
			}
		})
	}
}

// half reports whether the case's file computes in float16.
func (c zooCase) half() bool { return strings.HasPrefix(c.name, "fp16") }

// form checks that a file has the form that was asked for.
func (c zooCase) form(path string, o ExportOptions) error {
	m, d, err := onnx.ReadModel(path)
	if err != nil {
		return err
	}
	if got := m.OpsetVersion(""); o.Opset != 0 && got != o.Opset {
		return fmt.Errorf("it is of opset %d", got)
	}
	first := m.Graph.Inputs[0]
	switch batch := first.Shape[0]; {
	case o.Batch > 0 && !batch.Is(o.Batch), o.Batch == DynamicBatch && batch.Known():
		return fmt.Errorf("its input is %v", first)
	}
	if o.Precision == Float16 && !c.half() && (first.Type == onnx.Float) != o.KeepIO {
		return fmt.Errorf("its input is %v", first)
	}
	big := slices.ContainsFunc(m.Graph.Inits, func(v *onnx.Value) bool { return len(v.Data.Raw) >= 1024 })
	if o.Data == DataOutside && big && !d.HasExternalData() {
		return fmt.Errorf("its weights are inside")
	}
	return nil
}

// TestFloat16ModelsWithRelevanceStayFloat16 adds the map to files that compute
// in 16 bits: ends and weights keep their types and the file its opset, logits
// are the file's but for float16's rounding, and the map is as near to
// that of the float32 model as one that is rounded to float16 afterwards, times 10.
func TestFloat16ModelsWithRelevanceStayFloat16(t *testing.T) {
	orttest.Need(t)
	for _, c := range zooModels(t) {
		if !c.half() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			before, _, err := onnx.ReadModel(c.source)
			if err != nil {
				t.Fatal(err)
			}
			e := export(t, c.source, "out.onnx", ExportOptions{WithRelevance: true, Run: true})
			m, _, err := onnx.ReadModel(e.Path)
			if err != nil {
				t.Fatal(err)
			}
			if m.OpsetVersion("") != before.OpsetVersion("") {
				t.Errorf("it is of opset %d, expected %d", m.OpsetVersion(""), before.OpsetVersion(""))
			}
			for _, v := range slices.Concat(before.Graph.Inputs, before.Graph.Outputs) {
				if now := m.Graph.Find(v.Name); now == nil || now.Type != v.Type {
					t.Errorf("%v has become %v", v, now)
				}
			}
			if had, has := weightBytes(before.Graph), weightBytes(m.Graph); has > had*11/10 {
				t.Errorf("its constants have %d bytes, expected about %d", has, had)
			}
			// 2^-11 is float16's rounding
			if k := e.Files[0].Check; k == nil || !k.Ran || float64(k.MaxRel) > 10*0x1p-11 {
				t.Errorf("%+v", k)
			}
			image, err := c.expected.Tensor("image")
			if err != nil {
				t.Fatal(err)
			}
			labels, err := c.expected.Tensor("label")
			if err != nil {
				t.Fatal(err)
			}
			label, err := labels.Int64s()
			if err != nil {
				t.Fatal(err)
			}
			mapOf := func(path string) []float64 {
				s, err := OpenSelfExplaining(path, ModelOptions{}, RelevanceOptions{RequireTarget: true})
				if err != nil {
					t.Fatal(err)
				}
				_, maps := openExtended(t, s.Relevant).run(image, label...)
				return maps
			}
			wide := export(t, c.source, "wide.onnx", ExportOptions{WithRelevance: true, Precision: Float32})
			rounded := export(t, wide.Path, "rounded.onnx", ExportOptions{Precision: Float16, KeepIO: true})
			want := mapOf(wide.Path)
			rounding, derived := off(mapOf(rounded.Path), want, nil), off(mapOf(e.Path), want, nil)
			if t.Logf("rounding %.2g, derived %.2g", rounding, derived); derived > 10*rounding {
				t.Errorf("the map is %.2g off, expected rounding's %.2g times 10 at most", derived, rounding)
			}
		})
	}
}

// weightBytes is the size of a graph's floating-point constants.
func weightBytes(g *onnx.Graph) int {
	n := 0
	for _, t := range constantsOf(g) {
		if t.Type.IsFloat() {
			n += len(t.Raw)
		}
	}
	return n
}
