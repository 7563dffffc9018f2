package pipeline

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestEveryMethodExplainsTheZoo runs all methods on every exporter's spelling,
// whatever their layout: all maps of the same weights are the same.
func TestEveryMethodExplainsTheZoo(t *testing.T) {
	orttest.Need(t)
	known := map[string]map[string][]float64{} // by picture and logits: maps
	from := map[string]string{}
	for _, c := range zoo(t) {
		if !strings.HasSuffix(c.source, ".onnx") {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			f, err := safetensors.Open(filepath.Join(filepath.Dir(c.source), "case.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			image, err := f.Tensor("image")
			if err != nil {
				t.Fatal(err)
			}
			c.find.ImageSize = [2]int64{image.Dims[2], image.Dims[3]}
			m, err := OpenModel(c.source, ModelOptions{Find: c.find})
			if err != nil {
				t.Fatal(err)
			}
			pixels, err := image.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			x := openMapper(t, m, 2, MapOptions{Methods: Methods(), Steps: 8, Samples: 2})
			got := mapped(t, x, pixels, slices.Repeat([]int64{-1}, int(image.Dims[0])))
			for _, method := range x.Methods {
				if len(got[method]) != len(pixels)/3 || slices.Max(got[method]) != 1 || slices.Min(got[method]) != 0 {
					t.Errorf("%s: %d values from %v to %v", method, len(got[method]), slices.Min(got[method]), slices.Max(got[method]))
				}
			}
			key := fmt.Sprintf("%.4g %.4g", pixels[:9], values(t, c.expected, "logits"))
			if known[key] == nil {
				known[key], from[key] = got, c.name
				return
			}
			t.Logf("the same weights as %s", from[key])
			for _, method := range x.Methods {
				if e := off(got[method], known[key][method], nil); e > float32Error {
					t.Errorf("%s is off that of %s by %.2g", method, from[key], e)
				}
			}
		})
	}
	if len(known) < 10 {
		t.Errorf("only %d different models", len(known))
	}
}
