package models

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

// timmArchitectures makes every model that timm publishes, with as many
// classes as there. It also gives timm's numbers of classes and parameters.
func timmArchitectures(t *testing.T) (map[string]*Architecture, map[string][2]int64) {
	t.Helper()
	text, err := os.ReadFile("testdata/published_parameters.json")
	if err != nil {
		t.Fatal(err)
	}
	var counts map[string][2]int64
	if err := json.Unmarshal(text, &counts); err != nil {
		t.Fatal(err)
	}
	entries, cfgs := published()
	if len(entries) == 0 || len(cfgs) == 0 {
		t.Fatal("published.json can't be read")
	}
	out := map[string]*Architecture{}
	for name, m := range entries {
		for tag, cfg := range m.Cfg {
			if cfg < 0 || cfg >= len(cfgs) {
				t.Fatalf("%s.%s has preprocessing %d of %d", name, tag, cfg, len(cfgs))
			}
		}
		a, err := NewArchitecture(fmt.Sprintf(`{"architecture":%q,"num_classes":%d}`, name, counts[name][0]))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out[name] = a
	}
	if len(out) != len(counts) {
		t.Errorf("%d models, %d counts", len(out), len(counts))
	}
	return out, counts
}

// hollow is a checkpoint of an architecture whose tensors have no data.
func hollow(a *Architecture) *Checkpoint {
	c := &Checkpoint{Metadata: map[string]string{}, tensors: map[string]*onnx.Tensor{}}
	for _, s := range a.asTimm() {
		c.names = append(c.names, s.name)
		c.tensors[s.name] = &onnx.Tensor{Type: onnx.Float, Dims: s.dims}
	}
	return c
}

func TestPublishedModelsHaveTimmsParametersAndClasses(t *testing.T) {
	all, want := timmArchitectures(t)
	for name, a := range all {
		if got := [2]int64{int64(a.Classes), hollow(a).Parameters()}; got != want[name] {
			t.Errorf("%s has %d classes and %d parameters, in timm %d and %d", name, got[0], got[1], want[name][0], want[name][1])
		}
	}
}

// unlike lists the fields in which two architectures differ, by their JSON keys.
func unlike(got, want *Architecture) map[string]string {
	out := map[string]string{}
	x, y := reflect.ValueOf(*got), reflect.ValueOf(*want)
	for i := range x.NumField() {
		field := x.Type().Field(i)
		if !field.IsExported() || reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			continue
		}
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Name == "Rotary":
			key = "use_rot_pos_emb"
		case key == "-":
			key = field.Name
		}
		out[key] = fmt.Sprintf("%s is %v, want %v", key, x.Field(i), y.Field(i))
	}
	return out
}

func TestPublishedModelsAreReadByName(t *testing.T) {
	all, _ := timmArchitectures(t)
	for name, want := range all {
		got, err := ReadArchitecture(hollow(want), Options{Arch: name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got.Warnings) > 0 && (want.Classes > 0 || len(got.Warnings) > 1 || !strings.Contains(got.Warnings[0], "no classifier")) {
			t.Errorf("%s: warnings %q", name, got.Warnings)
		}
		got.Warnings = nil
		for _, text := range unlike(got, want) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// TestPublishedModelsAreReadWithoutTheirName allows a difference only where a
// warning names it, and an error only where it says what to state.
func TestPublishedModelsAreReadWithoutTheirName(t *testing.T) {
	all, _ := timmArchitectures(t)
	for name, want := range all {
		got, err := ReadArchitecture(hollow(want), Options{})
		if err != nil {
			if !strings.Contains(err.Error(), "--arch") && !strings.Contains(err.Error(), "--image-size") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		warnings := strings.Join(got.Warnings, "\n")
		for key, text := range unlike(got, want) {
			switch {
			case key == "architecture" || key == "family" || key == "Preprocess" || key == "Warnings":
			case key == "img_size" && got.Grid() == want.Grid():
			case !strings.Contains(warnings, key):
				t.Errorf("%s: %s, warnings: %s", name, text, warnings)
			}
		}
	}
}

// TestDINOsCheckpointsAreKnownByTheirOwnNames gives them DINO's mean and
// deviation, and masks the published setting.
func TestDINOsCheckpointsAreKnownByTheirOwnNames(t *testing.T) {
	for file, want := range map[string]string{
		"dino_deitsmall16_pretrain.pth":               "vit_small_patch16_224.dino",
		"dino_deitsmall8_300ep_pretrain.pth":          "vit_small_patch8_224.dino",
		"dino_vitbase16_pretrain_full_checkpoint.pth": "vit_base_patch16_224.dino",
		"dino_vitbase8_pretrain.pth":                  "vit_base_patch8_224.dino",
		"dino-vits16.safetensors":                     "vit_small_patch16_224.dino",
		"dino_vitb8.pth":                              "vit_base_patch8_224.dino",
	} {
		named, err := NewArchitecture(fmt.Sprintf(`{"architecture":%q,"num_classes":0}`, want))
		if err != nil {
			t.Fatal(err)
		}
		c := hollow(named)
		c.Path = "weights/" + file
		a, err := ReadArchitecture(c, Options{})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if a.Name != want || a.Family != "dino" || a.Classes != 0 || !reflect.DeepEqual(a.Preprocess.Mean, imagenetMean) || !reflect.DeepEqual(a.Preprocess.Std, imagenetStd) {
			t.Errorf("%s: %+v", file, a)
		}
	}
	for _, other := range []string{"dino_small", "dinov2_vits14", "dino_resnet50_pretrain", "dino_vitl16"} {
		if a, ok := named(other); ok {
			t.Errorf("%s is taken for %s", other, a.Architecture)
		}
	}
}
