package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/pipeline"
)

// checked runs relevit check --json.
func checked(t *testing.T, work, path string) (code int, c pipeline.Checked) {
	t.Helper()
	cmd := relevit(work, "--json", "check", path)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, _ := cmd.Output()
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatalf("%v\n%s%s", err, out, &said)
	}
	return cmd.ProcessState.ExitCode(), c
}

// TestCheckNamesEachDamageOfARun spoils one file of a finished run after the
// other.
func TestCheckNamesEachDamageOfARun(t *testing.T) {
	work := newWorkplace(t)
	mustRun(t, work, "finetune", "-c", "c.yaml", "--set", "steps=8", "-o", "whole")
	if code, c := checked(t, work, "whole"); code != done || !c.Healthy || c.Kind != "run" || len(c.Parts) < 10 || len(c.Remarks) != 0 {
		t.Fatalf("exit code %d, %+v", code, c)
	}
	line := func(edit func(lines []string) []string) func(string) error {
		return func(work string) error {
			path := filepath.Join(work, "run/log.jsonl")
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, []byte(strings.Join(edit(strings.SplitAfter(string(text), "\n")), "")), 0o666)
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(work string) error
		path  string // of the fault
		says  string
	}{
		{"no configuration", remove("run/config.yaml"), "run/config.yaml", "put it back"},
		{"no YAML", write("run/config.yaml", "a: ["), "run/config.yaml", "not valid YAML"},
		{"short parameters", half("run/checkpoints/last/parameters.safetensors"), "run/checkpoints/last", "finetune --resume -o run goes on from last.1, to the same bits"},
		{"torn state", half("run/checkpoints/last.1/state.json"), "run/checkpoints/last.1", "state.json is damaged"},
		{"no optimizer", remove("run/checkpoints/best/optimizer.safetensors"), "run/checkpoints/best", "no such file"},
		{"no last", remove("run/checkpoints/last"), "run/checkpoints/last", "no such file"},
		{"no model", remove("run/artifacts/model.onnx"), "run/artifacts/model.onnx", "the model from which the run began"},
		{"short model", half("run/artifacts/model.onnx"), "run/artifacts/model.onnx", "truncated"},
		{"short graph", half("run/artifacts/eval_model.onnx"), "run/artifacts/eval_model.onnx", "nothing needs it"},
		{"another model", rename("run/artifacts/training_model.onnx", "run/artifacts/model.onnx"), "run/artifacts/model.onnx", "it isn't the model that was trained"},
		{"no log", remove("run/log.jsonl"), "run/log.jsonl", "found nothing"},
		{"log cut", half("run/log.jsonl"), "run/log.jsonl", "as the checkpoint says"},
		{"a line twice", line(func(l []string) []string { return append(l[:3:3], l[2:]...) }), "run/log.jsonl", ""},
		{"a line missing", line(func(l []string) []string { return append(l[:3:3], l[4:]...) }), "run/log.jsonl", ""},
		{"lines exchanged", line(func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }), "run/log.jsonl", "step 3 is where step 2 belongs"},
		{"no JSON", line(func(l []string) []string { l[3] = "}" + l[3][1:]; return l }), "run/log.jsonl, line 4", "invalid character"},
		{"no list", remove("run/splits/validation.csv"), "run/splits/validation.csv", "held out"},
		{"short list", half("run/splits/train.csv"), "run/splits/train.csv", ""},
		{"short results", half("run/results.json"), "run/results.json", "--resume writes it anew"},
		{"no sheet", remove("run/samples/000_00000.png"), "run/samples/000_00000.png", "results.json lists"},
	} {
		if err := errors.Join(remove("run")(work), os.CopyFS(filepath.Join(work, "run"), os.DirFS(filepath.Join(work, "whole"))), c.spoil(work)); err != nil {
			t.Fatal(err)
		}
		code, found := checked(t, work, "run")
		if code != badInput || found.Healthy || len(found.Faults) != 1 {
			t.Errorf("%s: exit code %d, %+v; want one fault", c.name, code, found.Faults)
			continue
		}
		f := found.Faults[0]
		if text := f.String(); !strings.HasPrefix(text, c.path) || !strings.Contains(text, c.says) || strings.Contains(text, "\n") || f.Found == "" || f.Expected == "" || f.Advice == "" {
			t.Errorf("%s: %s\nwant one of %s that says %q", c.name, text, c.path, c.says)
		}
		out, _ := relevit(work, "check", "run").Output() // without progress, which a busy machine shows
		if first, _, _ := strings.Cut(string(out), "\n"); first != f.String() {
			t.Errorf("%s: it prints\n%s\nwant at first\n%s", c.name, out, f)
		}
	}
}

// TestCheckReadsBatchesAndModels checks whole ones, and ones cut off.
func TestCheckReadsBatchesAndModels(t *testing.T) {
	work := newWorkplace(t)
	mustRun(t, work, "finetune", "-c", "c.yaml", "--set", "sweep.seed=[0, 1]", "--set", "steps=2", "-o", "batch")
	mustRun(t, work, "convert", "weights.safetensors", "-o", "m.onnx")
	mustRun(t, work, "export", "weights.safetensors", "-o", "w.pth")
	for path, kind := range map[string]string{"batch": "batch", "m.onnx": "onnx", "weights.safetensors": "checkpoint", "w.pth": "checkpoint"} {
		if code, c := checked(t, work, path); code != done || !c.Healthy || c.Kind != kind || len(c.Parts) == 0 {
			t.Errorf("%s: exit code %d, %+v", path, code, c)
		}
	}
	for _, spoilt := range []string{"batch/seed-1/checkpoints/best/state.json", "batch/batch.yaml", "m.onnx", "weights.safetensors", "w.pth"} {
		at, _, _ := strings.Cut(spoilt, "/")
		if err := half(spoilt)(work); err != nil {
			t.Fatal(err)
		}
		code, c := checked(t, work, at)
		if code != badInput || len(c.Faults) != 1 || !strings.HasPrefix(spoilt, c.Faults[0].Path) || c.Faults[0].Found == "" || c.Faults[0].Expected == "" || c.Faults[0].Advice == "" {
			t.Errorf("%s: exit code %d, %+v", spoilt, code, c.Faults)
		}
	}
	damaged := relevit(work, "check", "m.onnx")
	out, _ := damaged.CombinedOutput()
	isOnPage(t, string(out), damaged.ProcessState.ExitCode())
	if err := os.Mkdir(filepath.Join(work, "empty"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"data", "empty"} {
		cmd := relevit(work, "check", folder)
		out, _ := cmd.CombinedOutput()
		want := "relevit: " + folder + ": the folder holds nothing that can be checked; expected a run (config.yaml), a batch of runs (batch.yaml) or a file of weights; give "
		if cmd.ProcessState.ExitCode() != badInput || !strings.HasPrefix(string(out), want) || bytes.Count(out, []byte("\n")) != 1 {
			t.Errorf("a folder of none: %v\n%s", cmd.ProcessState, out)
		}
	}
}
