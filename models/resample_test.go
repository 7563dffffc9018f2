package models

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// TestPositionsAreResampledAsByTimm allows float32's rounding of the 16 products
// that make up a number.
func TestPositionsAreResampledAsByTimm(t *testing.T) {
	f, err := safetensors.Open("testdata/resampling.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	tensor := func(name string) *onnx.Tensor {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	cases := 0
	for name, text := range f.Metadata {
		var c struct {
			Kind     string
			Prefix   int
			From, To [2]int
		}
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cases++
		in, want := tensor(name+".in"), tensor(name+".out")
		got, err := resample(in, c.Prefix, c.From, c.To)
		if c.Kind == "distances" {
			got, err = resampleDistances(in, c.From, c.To)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		x, _ := got.Float64s()
		y, _ := want.Float64s()
		if d := deviation(x, y); d > 16*6e-8 || got.Shape().String() != want.Shape().String() {
			t.Errorf("%s: %v is off by %.2g from timm's %v", name, got.Shape(), d, want.Shape())
		}
	}
	if cases != 12 {
		t.Errorf("%d cases", cases)
	}
}

func TestImageSizeOfTheCheckpointItselfChangesNothing(t *testing.T) {
	for name, spec := range small {
		c, want := random(t, spec)
		a, err := ReadArchitecture(c, Options{Arch: spec, ImageSize: want.ImageSize})
		if err != nil || len(a.Warnings) > 0 || a.stored != [2]int{} {
			t.Errorf("%s: warnings %q, %v", name, a.Warnings, err)
		}
	}
}

func TestAnotherImageSizeIsWarnedAbout(t *testing.T) {
	for name, spec := range small {
		c, want := random(t, spec)
		size := [2]int{2 * want.ImageSize[0], want.ImageSize[1]}
		a, err := ReadArchitecture(c, Options{Arch: spec, ImageSize: size})
		if err != nil || a.ImageSize != size || len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "are resampled to") {
			t.Errorf("%s: %+v, %v", name, a, err)
			continue
		}
		m, err := Build(c, a, BuildOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, v := range m.Graph.Inits {
			if v.Name == "pos_embed" && v.Shape[1].N != int64(a.Patches()+a.placed()) {
				t.Errorf("%s: positions are %v for %d patches", name, v.Shape, a.Patches())
			}
		}
	}
}
