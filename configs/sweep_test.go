package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// files writes texts into a folder and returns it.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func names(runs []Named) string {
	var out []string
	for _, r := range runs {
		out = append(out, r.Name)
	}
	return strings.Join(out, " ")
}

func TestSweepIsTheProductOfItsValues(t *testing.T) {
	dir := files(t, map[string]string{"a.yaml": `
lr: 5
seed: 9
sweep:
  lr: [1e-6, 3e-6]
  data:
    masks: [masks/trimaps, masks/cut]
  betas: [[0.9, 0.99]]
`})
	runs, batch, err := LoadRuns([]string{"vit-tiny", filepath.Join(dir, "a.yaml")}, []string{"epochs=2"})
	if err != nil || !batch {
		t.Fatal(batch, err)
	}
	if got, want := names(runs), "lr-1e-6_masks-trimaps_betas-0.9-0.99 lr-1e-6_masks-cut_betas-0.9-0.99 lr-3e-6_masks-trimaps_betas-0.9-0.99 lr-3e-6_masks-cut_betas-0.9-0.99"; got != want {
		t.Errorf("found %s\nwant %s", got, want)
	}
	for i, r := range runs {
		want := fmt.Sprint([]float64{1e-6, 1e-6, 3e-6, 3e-6}[i], []string{"masks/trimaps", "masks/cut"}[i%2], [2]float64{0.9, 0.99}, 9, 2)
		if got := fmt.Sprint(r.Config.LR, r.Config.Data.Masks, r.Config.Betas, r.Config.Seed, r.Config.Epochs); got != want {
			t.Errorf("run %d: found %s, want %s", i, got, want)
		}
	}
}

func TestLaterLayersWinOverASweepsKeyAndSweepsOverEarlierOnes(t *testing.T) {
	dir := files(t, map[string]string{"a.yaml": "sweep: {lr: [1, 2], seed: [3, 4]}\n", "b.yaml": "seed: 7\n", "c.yaml": "extends: vit-base\nsweep: {seed: [5, 6]}\n"})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		sources, settings []string
		want              string
	}{
		{[]string{at("a.yaml"), at("b.yaml")}, nil, "lr-1 lr-2"},
		{[]string{at("b.yaml"), at("a.yaml")}, nil, "lr-1_seed-3 lr-1_seed-4 lr-2_seed-3 lr-2_seed-4"},
		{[]string{at("a.yaml")}, []string{"seed=1"}, "lr-1 lr-2"},
		{[]string{at("a.yaml")}, []string{"seed=1", "sweep.seed=[8, 9]", "lr=3"}, "seed-8 seed-9"},
		{[]string{at("a.yaml"), at("c.yaml")}, nil, "seed-5 seed-6"}, // its preset states a learning rate
	} {
		runs, batch, err := LoadRuns(c.sources, c.settings)
		if err != nil || !batch || names(runs) != c.want {
			t.Errorf("%v %v: found %s (%v, %v), want %s", c.sources, c.settings, names(runs), batch, err, c.want)
		}
	}
	runs, batch, err := LoadRuns([]string{at("a.yaml")}, []string{"seed=1", "lr=2"})
	if err != nil || batch || len(runs) != 1 || runs[0].Config.Seed != 1 || runs[0].Config.LR != 2 {
		t.Errorf("found %+v, %v, %v, want one run that is no batch", runs, batch, err)
	}
}

// TestCompleteSourcesAreRunsAndOthersAreLayers tells what several -c mean.
func TestCompleteSourcesAreRunsAndOthersAreLayers(t *testing.T) {
	whole := "model: m.onnx\ndata: {images: i, masks: k}\n"
	dir := files(t, map[string]string{"a.yaml": whole + "lr: 1\n", "b.yaml": whole + "epochs: 3\n", "part.yaml": "lr: 2\nseed: 4\n", "data.yaml": "data: {images: i, masks: k}\n"})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		sources []string
		batch   bool
		want    string // name, lr, seed, epochs of each
	}{
		{[]string{at("a.yaml"), at("part.yaml")}, false, "[run 2 4 50]"},
		{[]string{at("part.yaml"), at("a.yaml")}, false, "[run 1 4 50]"},
		{[]string{at("part.yaml"), at("data.yaml"), "vit-tiny"}, false, "[run 3e-06 4 10]"},
		{[]string{at("a.yaml"), at("b.yaml")}, true, "[a 1 0 50][b 3e-06 0 3]"},
		{[]string{at("part.yaml"), at("a.yaml"), at("b.yaml")}, true, "[a 1 4 50][b 2 4 3]"},
		{[]string{at("a.yaml"), at("part.yaml"), at("b.yaml")}, true, "[a 2 4 50][b 2 4 3]"},
		{[]string{at("a.yaml"), at("a.yaml")}, true, "[a 1 0 50][a-2 1 0 50]"},
	} {
		runs, batch, err := LoadRuns(c.sources, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, r := range runs {
			got += fmt.Sprint([]any{r.Name, r.Config.LR, r.Config.Seed, r.Config.Epochs})
		}
		if got != c.want || batch != c.batch {
			t.Errorf("%v: found %s, %v, want %s, %v", c.sources, got, batch, c.want, c.batch)
		}
	}
}

func TestSweepNamesItsFault(t *testing.T) {
	for text, want := range map[string]string{
		"sweep: 3\n":                                     "f.yaml:1: sweep: found 3, want keys with the values",
		"lr: 1\nsweep:\n  lrr: [1]\n":                    `f.yaml:3: unknown key "lrr"; the nearest known one is "lr"`,
		"sweep: {lr: 1}\n":                               "sweep.lr: found 1, want the list of values",
		"sweep: {lr: []}\n":                              "sweep.lr: found a list of 0, want the list of values",
		"sweep: {lr: [fast]}\n":                          `sweep.lr: found "fast", want a number`,
		"sweep: {lr: [1, 1.0]}\n":                        "sweep.lr: found 1 twice",
		"sweep: {betas: [0.9, 0.99]}\n":                  "sweep.betas: found 0.9, want a list",
		"sweep: {data: [a]}\n":                           "sweep.data: found a list of 1, want a group of keys",
		"sweep: {seed: [1], data.seed: [1]}\n":           `unknown key "data.seed"`,
		"sweep: {batch: [4, 0]}\n":                       "batch: found 0, want 1 or more",
		"sweep: {data.masks: [a], data: {masks: [b]}}\n": "sweep.data.masks: set twice",
		"sweep: {seed: [" + numbers1001() + "]}\n":       "it makes more than 1000 runs",
	} {
		path := filepath.Join(t.TempDir(), "f.yaml")
		write(t, path, text)
		_, _, err := LoadRuns([]string{path}, nil)
		var fault *Error
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: found %v\nwant %q", text, err, want)
		}
	}
	if _, err := Parse("f.yaml", []byte("sweep: {lr: [1]}\n")); err == nil || !strings.Contains(err.Error(), "only finetune takes") {
		t.Errorf("one configuration with a sweep: %v", err)
	}
}

func numbers1001() string {
	var out []string
	for i := range maxRuns + 1 {
		out = append(out, fmt.Sprint(i))
	}
	return strings.Join(out, ",")
}

func TestRunsOfABatchAreReadBackAsTheyWere(t *testing.T) {
	runs, _, err := LoadRuns([]string{"deit-small"}, []string{"model=m", "sweep.lr=[1e-6,0.25]", "sweep.preprocess.image_size=[32, [64, 48]]", "freeze=a*,b"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := MarshalRuns(runs)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRuns("batch.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(runs, got); diff != "" || len(runs) != 4 {
		t.Errorf("%d runs (-written +read):\n%s", len(runs), diff)
	}
	for _, bad := range []string{"", "runs: []", "runs: [a]", "runs: [{name: ../x, config: {}}]", "runs: [{name: a, config: {}}, {name: a, config: {}}]", "runs: [{name: a, config: {lrr: 1}}]", "runs: 3", "["} {
		var fault *Error
		if _, err := ParseRuns("batch.yaml", []byte(bad)); !errors.As(err, &fault) {
			t.Errorf("%q: found %v, want an *Error", bad, err)
		}
	}
}

// TestSourcesAreReadOnce gives a pipe, as a shell's <(...) is, among others.
func TestSourcesAreReadOnce(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Skip(err)
	}
	go os.WriteFile(pipe, []byte("seed: 5\n"), 0)
	runs, _, err := LoadRuns([]string{"vit-tiny", pipe}, nil)
	if err != nil || runs[0].Config.Seed != 5 {
		t.Errorf("found %v, %v", runs, err)
	}
}

func TestSettingsAreWhatSetTakes(t *testing.T) {
	c, err := Load([]string{"deit-small"}, []string{"betas=[0.5,0.75]", "freeze=a*,b", "preprocess.image_size=[64,48]", "seed=18446744073709551615"})
	if err != nil {
		t.Fatal(err)
	}
	var settings []string
	for _, s := range c.Settings() {
		settings = append(settings, s.Key+"="+s.Value)
	}
	again, err := Load(nil, settings)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, again); diff != "" {
		t.Errorf("(-given +read back)\n%s", diff)
	}
}
