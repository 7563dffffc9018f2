package configs

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseNamesTheFault(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown key", "lr: 1e-6\nlamda_seg: 1\n", `f.yaml:2: unknown key "lamda_seg"; the nearest known one is "lambda_seg"`},
		{"unknown nested key", "data:\n  mask: x\n", `f.yaml:2: unknown key "data.mask"; the nearest known one is "data.masks"`},
		{"key of a group at the top", "images: x\n", `f.yaml:1: unknown key "images"; the nearest known one is "data.images"`},
		{"swapped letters", "bacth: 8\n", `the nearest known one is "batch"`},
		{"duplicate key", "lr: 1\nbatch: 8\nlr: 2\n", "f.yaml:3: lr: set twice; first on line 1"},
		{"fraction for a whole number", "\nbatch: 8.5\n", "f.yaml:2: batch: found 8.5, want a whole number"},
		{"whole number written as a float", "batch: 8.0\n", "batch: found 8.0, want a whole number"},
		{"exponent for a whole number", "batch: 1e1\n", "batch: found 1e1, want a whole number"},
		{"quoted number", "lr: '1'\n", `lr: found "1", want a number`},
		{"number with underscores", "lr: 1_000\n", "lr: found 1_000, want a number"},
		{"octal-looking number stays decimal", "batch: 0o17\n", "batch: found 0o17, want a whole number"},
		{"huge whole number", "batch: 99999999999999999999\n", "want a whole number of at most"},
		{"negative seed", "seed: -1\n", "seed: found -1, want a whole number from 0"},
		{"word for a number", "lr: fast\n", `lr: found "fast", want a number`},
		{"nan", "lr: .nan\n", "f.yaml:1: lr: found .nan, want a finite number"},
		{"infinity", "eps: -.inf\n", "eps: found -.inf, want a finite number"},
		{"overflow", "lr: 1e999\n", `lr: found "1e999", want a finite number`},
		{"yes for true", "strict: yes\n", `strict: found "yes", want true or false`},
		{"number for a text", "model: 12\n", "model: found 12, want a text (put it into quotes)"},
		{"list for a number", "lr: [1]\n", "lr: found a list of 1, want one value"},
		{"number for a list", "betas: 0.9\n", "betas: found 0.9, want a list"},
		{"short list", "betas: [0.9]\n", "betas: found 1 values, want 2"},
		{"value for a group", "data: x\n", `data: found "x", want a group of keys: root, layout`},
		{"nothing for a value", "lr:\n", "lr: has no value"},
		{"negative learning rate", "batch: 2\nlr: -1e-6\n", "f.yaml:2: lr: found -1e-06, want 0 or more"},
		{"temperature 0", "temperature: 0\n", "f.yaml:1: temperature: found 0, want more than 0"},
		{"batch 0", "batch: 0\n", "batch: found 0, want 1 or more"},
		{"negative lambda", "lambda_seg: -0.1\n", "lambda_seg: found -0.1, want 0 or more"},
		{"beta 1", "betas: [0.9, 1]\n", "betas: found 1, want less than 1"},
		{"factor above 1", "lr_schedule: {factor: 1.1}\n", "lr_schedule.factor: found 1.1, want at most 1"},
		{"misspelt choice", "mode: first-oder\n", `mode: found "first-oder", want one of first-order, second-order (did you mean "first-order"?)`},
		{"two channels", "preprocess:\n  mean: [0, 0]\n", "f.yaml:2: preprocess.mean: found 2 values, want 0 or 3"},
		{"mean without std", "preprocess:\n  mean: [0, 0, 0]\n", "preprocess.mean: mean and std are given together"},
		{"half a size", "preprocess: {image_size: [224, 0]}\n", "preprocess.image_size: found 224x0"},
		{"resize below the crop", "preprocess: {image_size: 224, resize: 200}\n", "preprocess.resize: found 200x200, smaller than"},
		{"nothing to train", "lambda_seg: 0\nlambda_acc: 0\n", "there is nothing to train"},
		{"half a grid", "find: {grid: [14, 0]}\n", "find.grid: found 14x0, want rows and columns above 0, or 0"},
		{"bad map", "find: {attention: ['[']}\n", `find.attention: found "["`},
		{"prefix below -1", "find: {prefix_tokens: -2}\n", "find.prefix_tokens: found -2, want -1 or more"},
		{"bad pattern", "freeze: ['[']\n", `freeze: found "["`},
		{"csv labels without a csv", "data: {labels: csv}\n", "data.labels: csv needs data.layout csv"},
		{"classes of a flat folder", "data: {layout: flat, labels: top1}\n", "data.validation.split: classes needs"},
		{"anchor", "lr: &a 1\n", "anchors and aliases"},
		{"merge key", "data: &d {root: x}\npreprocess:\n  <<: *d\n", "anchors and aliases"},
		{"tag", "lr: !!float 1\n", "tags (!!float) are not supported"},
		{"two documents", "lr: 1\n---\nlr: 2\n", "f.yaml:2: a second document starts here"},
		{"a list at the top", "- lr\n", "f.yaml:1: found a list of 1, want key: value lines"},
		{"broken yaml", "lr: [1\nbatch: 2", "f.yaml: not valid YAML: line 1"},
		{"unknown base", "extends: vit-bas\n", `f.yaml:1: extends: found "vit-bas", want the name of a preset`},
		{"a mapping as a key", "? {a: b}\n: c\n", "found a group of keys where a key belongs"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(test.text))
			var fault *Error
			if !errors.As(err, &fault) {
				t.Fatalf("found error %v, want an *Error", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("found %q\nwant %q in it", err, test.want)
			}
		})
	}
}

func TestParseOfNothingIsTheDefaults(t *testing.T) {
	want, err := Load(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "# only a comment\n", "---\n", "~\n", "{}", "data:\n  # nothing here\npreprocess:\n"} {
		c, err := Parse("f.yaml", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if diff := cmp.Diff(want, c); diff != "" {
			t.Errorf("%q: (-want +found)\n%s", text, diff)
		}
	}
}

func TestParseTakesJSONBareOrAsMemberConfig(t *testing.T) {
	bare := `{"lambda_seg": 0.7, "betas": [0.8, 0.99], "confidence": "label",` + "\n\t" + `"lr": 1e-05, "steps": 3}`
	for _, text := range []string{bare, `{"arch": {"depth": 2}, "grid": [2, 3], "config": ` + bare + `, "timm": "1.0"}`} {
		c, err := Parse("case.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if c.LambdaSeg != 0.7 || c.Betas != [2]float64{0.8, 0.99} || c.Confidence != "label" || c.LR != 1e-5 || c.Steps != 3 || c.Temperature != 1 {
			t.Errorf("%s: found %+v", text, c)
		}
	}
	if _, err := Parse("case.json", []byte(`{"config": {"lambda": 1}}`)); err == nil || !strings.Contains(err.Error(), `unknown key "lambda"`) {
		t.Errorf("found %v, want the unknown key inside config", err)
	}
	if _, err := Parse("f.yaml", []byte("config:\n  lr: 1\n")); err == nil {
		t.Error("a YAML file with the group config must be an error")
	}
}

func TestLoadLayersKeyByKey(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.yaml"), filepath.Join(dir, "second.yaml")
	write(t, first, "extends: deit-small\nlr: 5e-6\ndata:\n  images: here\n")
	write(t, second, "data:\n  masks: there\nfreeze: [head.*]\n")
	c, err := Load([]string{first, second}, []string{"data.root=a=b", "batch=4", "betas=[0.5, 0.6]", "freeze=*.bias,pos_embed", "preprocess.image_size=[64, 48]"})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.LR, c.Temperature, c.Data.Images, c.Data.Masks, c.Data.Root, c.Batch, c.Betas, c.Freeze, c.Preprocess.ImageSize, c.Data.Samples}
	want := []any{5e-6, 0.55, "here", "there", "a=b", 4, [2]float64{0.5, 0.6}, []string{"*.bias", "pos_embed"}, Size{64, 48}, 3}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +found)\n%s", diff)
	}
}

func TestSettingsAreAsStrictAsFiles(t *testing.T) {
	for setting, want := range map[string]string{
		"lr":                    "--set lr: want key=value",
		"=1":                    "want key=value",
		"batch=8.5":             "--set batch=8.5: batch: found 8.5, want a whole number",
		"data.mask=x":           `unknown key "data.mask"; the nearest known one is "data.masks"`,
		"lr.x=1":                `unknown key "lr.x"`,
		"lr=-1":                 "--set lr=-1: lr: found -1, want 0 or more",
		"lr=":                   "lr: has no value",
		"lr=[":                  "lr: not a valid value",
		"extends=vit-base":      `unknown key "extends"`,
		"data={images: x, y: }": `unknown key "data.y"`,
		"freeze=[a":             "freeze: not a valid value",
		"model=\xff":            "want UTF-8 text",
	} {
		_, err := Load(nil, []string{setting})
		var fault *Error
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: found %v, want %q in it", setting, err, want)
		}
	}
}

func TestSettingTakesTextsAsTheyStand(t *testing.T) {
	c, err := Load(nil, []string{"model=007: [x].onnx", "data={images: in, masks: out}"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Model != "007: [x].onnx" || c.Data.Images != "in" || c.Data.Masks != "out" {
		t.Errorf("found %q, %q, %q", c.Model, c.Data.Images, c.Data.Masks)
	}
}

func TestLoadOfAMissingSourceNamesTheNearestPreset(t *testing.T) {
	for source, want := range map[string]string{
		"vit-bse":      `neither a file nor a preset; the nearest preset is "vit-base"`,
		"missing.yaml": "cannot read it",
		".":            "cannot read it",
	} {
		_, err := Load([]string{source}, nil)
		var fault *Error
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: found %v, want %q in it", source, err, want)
		}
	}
}

func TestValidateTrainingNamesWhatIsMissing(t *testing.T) {
	settings := []string{}
	for _, step := range []struct{ add, want string }{
		{"", "model: is not set"}, {"model=m.onnx", "data.images: is not set"}, {"data.images=i", "data.masks: is not set"}, {"data.masks=m", ""},
	} {
		if step.add != "" {
			settings = append(settings, step.add)
		}
		c, err := Load(nil, settings)
		if err != nil {
			t.Fatal(err)
		}
		err = c.ValidateTraining()
		if (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
			t.Errorf("after %v: found %v, want %q", settings, err, step.want)
		}
	}
}

func TestMarshalRoundTrips(t *testing.T) {
	for _, name := range append(Presets(), defaultsName) {
		c, err := Load([]string{name}, []string{"model=a: b # c", "data.root= x\ty", "freeze=*.bias,pos_embed", "preprocess.resize=[300, 280]", "find.attention=*/Softmax*,x", "find.grid=[3, 5]", "find.prefix_tokens=2", "seed=18446744073709551615", "lr=1.2345678901234567e-300"})
		if err != nil {
			t.Fatal(err)
		}
		text, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse("config.yaml", text)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if diff := cmp.Diff(c, back); diff != "" {
			t.Errorf("%s: (-written +read)\n%s", name, diff)
		}
		if !strings.Contains(string(text), "# Weights of the mask loss") || !strings.Contains(string(text), "resize: [300, 280]") {
			t.Errorf("%s: explanations or sizes are missing:\n%s", name, text)
		}
	}
}

func TestMarshalRefusesAnInvalidConfig(t *testing.T) {
	if _, err := (&Config{}).Marshal(); err == nil {
		t.Error("want an error")
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range append(Presets(), defaultsName) {
		text, err := PresetText(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, s := range []string{
		"", "{}", "extends: vit-base\nlr: 1", "lr: &a 1\neps: *a", "data: {root: \"\\u0000\", images: |\n  x\n}", "freeze: [\"#\", ': ', null]",
		`{"config": {"betas": [0.1, 0.2]}}`, "lr: 1\n---\n", "? [a]\n: b", "preprocess: {image_size: [1, 2], resize: 3}", "model: \"\x85\u2028 \"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := Parse("f.yaml", text)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 512*uint64(len(text))+4<<20 { // the defaults are read too
			t.Errorf("%d bytes of YAML took %d bytes of memory", len(text), took)
		}
		if err != nil {
			var fault *Error
			if !errors.As(err, &fault) {
				t.Fatalf("found %T, want *Error", err)
			}
			return
		}
		out, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse("out.yaml", out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if diff := cmp.Diff(c, back); diff != "" {
			t.Fatalf("(-written +read)\n%s", diff)
		}
	})
}

func FuzzSetting(f *testing.F) {
	for _, s := range []string{"lr=1e-6", "data.images=x", "freeze=a,b", "freeze=[a, b]", "preprocess.image_size=[1, 2]", "=", "lr", "lr=&a 1", "data={a: 1}",
		"model=\x00", "batch=99999999999999999999", "lr=[[[[", "seed=-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, setting string) {
		_, err := Load(nil, []string{setting})
		if fault := (*Error)(nil); err != nil && !errors.As(err, &fault) {
			t.Fatalf("found %T, want *Error", err)
		}
	})
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCheckpointsIsTakenForCheckpoint(t *testing.T) {
	c, err := Load(nil, []string{"checkpoints.keep=5"})
	if err != nil || c.Checkpoint.Keep != 5 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := Load(nil, []string{"checkpoint.keep=0"}); err == nil || !strings.Contains(err.Error(), "checkpoint.keep") {
		t.Errorf("error %v, want one that names the key", err)
	}
}
