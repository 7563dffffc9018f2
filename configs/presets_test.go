package configs

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var (
	half     = []float64{0.5, 0.5, 0.5}
	imagenet = []float64{0.485, 0.456, 0.406}
	imageStd = []float64{0.229, 0.224, 0.225}
)

// The table of hyperparameters of arXiv 2206.01161, and the two small models
// that the paper does not have.
func TestPresetsHoldThePublishedHyperparameters(t *testing.T) {
	type row struct {
		lr, temperature         float64
		epochs, batch           int
		seg, acc, background    float64
		mean, std               []float64
		paperMean0, normalMean0 float64
	}
	table := map[string]row{
		"vit-base":     {3e-6, 1, 50, 8, 0.8, 0.2, 2, half, half, 0.5, 0.5},
		"vit-large":    {9e-7, 1, 50, 8, 0.8, 0.2, 2, half, half, 0.5, 0.5},
		"augreg-small": {2e-6, 1, 50, 8, 0.8, 0.2, 2, half, half, 0.5, 0.5},
		"augreg-base":  {6e-7, 1, 50, 8, 0.8, 0.2, 2, half, half, 0.5, 0.5},
		"augreg-large": {9e-7, 1, 50, 8, 0.8, 0.2, 2, half, half, 0.5, 0.5},
		"deit-small":   {1e-6, 0.55, 50, 8, 0.8, 0.2, 2, imagenet, imageStd, 0.5, 0.485},
		"deit-base":    {8e-7, 0.65, 50, 8, 0.8, 0.2, 2, imagenet, imageStd, 0.5, 0.485},
		"tokencut":     {3e-6, 1, 150, 10, 0.1, 1, 1, half, half, 0.5, 0.5},
		"vit-tiny":     {3e-6, 1, 10, 8, 0.8, 0.2, 2, half, half, 0.5, 0.5},
		"deit-tiny":    {3e-6, 1, 10, 8, 0.8, 0.2, 2, imagenet, imageStd, 0.5, 0.485},
	}
	if got := len(Presets()); got != len(table) {
		t.Errorf("found %d presets, want %d: %v", got, len(table), Presets())
	}
	for name, want := range table {
		c, err := Load([]string{name}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		paper := *c
		paper.Protocol = "paper"
		paperMean, _, _ := paper.Normalization()
		mean, _, _ := c.Normalization()
		got := row{c.LR, c.Temperature, c.Epochs, c.Batch, c.LambdaSeg, c.LambdaAcc, c.LambdaBackground,
			c.Preprocess.Mean, c.Preprocess.Std, paperMean[0], mean[0]}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: found %+v, want %+v", name, got, want)
		}
		common := *c
		common.LR, common.Temperature, common.Epochs, common.Batch = 0, 0, 0, 0
		common.LambdaSeg, common.LambdaAcc, common.LambdaBackground = 0, 0, 0
		common.Preprocess.Mean, common.Preprocess.Std = nil, nil
		wantCommon := Config{
			Mode: "first-order", Method: "relevance", LambdaForeground: 0.3, Confidence: "own-argmax",
			LRSchedule: LRSchedule{Factor: 0.85, Every: 2}, WeightDecay: 1e-4, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8, Precision: "fp32", CUDAGraphs: true,
			Find: Find{Attention: []string{}, PrefixTokens: -1}, Freeze: []string{}, Protocol: "standard", Preprocess: Preprocess{Interpolation: "bilinear", CropPct: 0.875},
			Data: Data{Layout: "folders", Labels: "auto", MaskEncoding: "auto", Classes: 500, Samples: 3,
				Validation: Validation{Split: "classes", Fraction: 0.5, Samples: 1}},
			Checkpoint: Checkpoint{EveryEpochs: 1, Keep: 2}, SheetImages: 8, Strict: false, OnNaN: "stop", NaNLimit: 5, Memory: "fast", Optimizations: Optimizations{Off: []string{}},
		}
		if diff := cmp.Diff(wantCommon, common); diff != "" {
			t.Errorf("%s: besides the model's own keys (-want +found):\n%s", name, diff)
		}
	}
}

func TestPresetsOpenWithTheirCommand(t *testing.T) {
	for _, name := range Presets() {
		text, err := PresetText(name)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(text), "\n\n")
		for _, want := range []string{"# ", "relevit finetune -c " + name + " ", "-o runs/" + name} {
			if !strings.Contains(head, want) {
				t.Errorf("%s: the opening comment lacks %q:\n%s", name, want, head)
			}
		}
	}
}

// The defaults are the one place for them, so no key may be missing there.
func TestDefaultsNameEveryKey(t *testing.T) {
	text, err := PresetText(defaultsName)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var keys []string
	var walk func(n *yaml.Node, prefix string)
	walk = func(n *yaml.Node, prefix string) {
		for i := 0; i < len(n.Content); i += 2 {
			if n.Content[i+1].Kind == yaml.MappingNode {
				walk(n.Content[i+1], prefix+n.Content[i].Value+".")
				continue
			}
			keys = append(keys, prefix+n.Content[i].Value)
		}
	}
	walk(doc.Content[0], "")
	if diff := cmp.Diff(Keys(), keys); diff != "" {
		t.Errorf("keys of the schema and of defaults.yaml (-schema +defaults):\n%s", diff)
	}
}

func TestLearningRateFallsEverySecondEpoch(t *testing.T) {
	c, err := Load([]string{"vit-base"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for epoch, want := range []float64{3e-6, 3e-6, 3e-6 * 0.85, 3e-6 * 0.85, 3e-6 * 0.85 * 0.85} {
		if got := c.LRAt(epoch); got < want*(1-1e-12) || got > want*(1+1e-12) {
			t.Errorf("epoch %d: found %g, want %g", epoch, got, want)
		}
	}
}

func TestResizeForKeepsThePublishedProportion(t *testing.T) {
	var c Config
	if got := c.ResizeFor(Size{224, 224}); got != (Size{256, 256}) {
		t.Errorf("found %v, want 256x256 for 224", got)
	}
	c.Preprocess.Resize = Size{64, 48}
	if got := c.ResizeFor(Size{32, 32}); got != (Size{64, 48}) {
		t.Errorf("found %v, want what the configuration says", got)
	}
}

func TestFreezesMatchesNamesWithSlashes(t *testing.T) {
	c := Config{Freeze: []string{"patch_embed.*", "/blocks/*bias"}}
	for name, want := range map[string]bool{
		"patch_embed.proj.weight": true, "/blocks/0/attn/bias": true, "blocks.0.attn.qkv.bias": false, "patch_embed": false,
	} {
		if got := c.Freezes(name); got != want {
			t.Errorf("%s: found %v, want %v", name, got, want)
		}
	}
}

func TestLoadReadsTheOraclesCases(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	cases, _ := filepath.Glob(filepath.Join(root, "..", "shared", "oracle", "*", "case.json"))
	if len(cases) == 0 {
		t.Skip("no reference cases in ../shared/oracle")
	}
	for _, name := range cases {
		c, err := Load([]string{name}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Steps != 3 || c.Betas != [2]float64{0.9, 0.999} {
			t.Errorf("%s: found steps %d, betas %v", name, c.Steps, c.Betas)
		}
	}
}
