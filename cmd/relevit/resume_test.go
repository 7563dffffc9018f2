package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestRunGoesOnWithoutItsSource removes the model from which a run started, and
// leaves out the options that say how to read it.
func TestRunGoesOnWithoutItsSource(t *testing.T) {
	work := newWorkplace(t)
	args := []string{"finetune", "-c", "c.yaml", "--set", "model=weights.safetensors", "--heads", "4", "--set", "steps=8", "-o"}
	whole, run := filepath.Join(work, "whole"), filepath.Join(work, "run")
	mustRun(t, work, append(args, whole)...)
	if code, said := signalAt(t, work, append(args, run), run, 4, os.Interrupt); code != interrupted {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	if err := errors.Join(os.Remove(filepath.Join(work, "weights.safetensors")), os.Remove(filepath.Join(work, "c.yaml"))); err != nil {
		t.Fatal(err)
	}
	mustRun(t, work, "finetune", "--resume", "-o", run)
	sameRuns(t, whole, run)
}

// TestCorruptPictureIsSkippedAndReportedOnce has two pictures that can't be
// decoded, which prediction of labels, evaluation and training each come upon.
func TestCorruptPictureIsSkippedAndReportedOnce(t *testing.T) {
	work := newWorkplace(t)
	circles := filepath.Join(work, "data", "images", "circle")
	whole := read(t, circles, "00000.png")
	err := errors.Join(
		os.Remove(filepath.Join(circles, "00000.png")),
		os.WriteFile(filepath.Join(circles, "00000.jpg"), []byte("\xff\xd8\xff\xe0 and then nothing"), 0o666),
		os.WriteFile(filepath.Join(circles, "00006.png"), whole[:len(whole)/2], 0o666),
		// evaluated, and trained on
		os.WriteFile(filepath.Join(work, "c.yaml"), bytes.ReplaceAll(read(t, work, "c.yaml"), []byte("steps: 44"), []byte("steps: 12")), 0o666))
	if err != nil {
		t.Fatal(err)
	}
	cmd := relevit(work, "--json", "finetune", "-c", "c.yaml", "-o", "run")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	var result struct{ Skipped []string }
	if err := errors.Join(err, json.Unmarshal(out, &result)); err != nil {
		t.Fatalf("%v\n%s%s", err, out, &said)
	}
	for i, name := range []string{"00000.jpg", "00006.png"} {
		path := filepath.Join("data", "images", "circle", name)
		if n := bytes.Count(said.Bytes(), []byte(path)); n != 1 {
			t.Errorf("%s is reported %d times:\n%s", path, n, &said)
		}
		if len(result.Skipped) != 2 || filepath.Base(result.Skipped[i]) != name || !slices.IsSorted(result.Skipped) {
			t.Errorf("skipped: %v", result.Skipped)
		}
	}
}

// TestDamagedRunIsNotResumed spoils one file of a run after the other. It keeps
// no checkpoint but the last.
func TestDamagedRunIsNotResumed(t *testing.T) {
	tried(t, "a damaged run without another checkpoint", 8)
	work := newWorkplace(t)
	mustRun(t, work, "finetune", "-c", "c.yaml", "--set", "steps=3", "--set", "checkpoints.keep=1", "-o", "whole")
	for _, c := range []struct {
		spoil func(string) error
		code  int
		says  string
	}{
		{write("run/config.yaml", ""), usage, "it was changed after the run began"},
		{write("run/config.yaml", "a: ["), usage, "not valid YAML"},
		{half("run/checkpoints/last/parameters.safetensors"), badInput, "damaged"},
		{half("run/checkpoints/last/state.json"), badInput, "damaged"},
		{remove("run/checkpoints/last/optimizer.safetensors"), badInput, "no such file"},
		{half("run/artifacts/model.onnx"), badInput, "truncated"},
		{half("run/splits/train.csv"), badInput, "train.csv"},
		{write("run/log.jsonl", ""), badInput, "lines are missing"},
	} {
		if err := errors.Join(remove("run")(work), os.CopyFS(filepath.Join(work, "run"), os.DirFS(filepath.Join(work, "whole"))), c.spoil(work)); err != nil {
			t.Fatal(err)
		}
		out, err := relevit(work, "finetune", "--resume", "-o", "run").CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != c.code || !bytes.Contains(out, []byte(c.says)) {
			t.Errorf("%v, want code %d and %q; it said\n%s", err, c.code, c.says, out)
		}
	}
}

// TestDamagedCheckpointIsPassedOver spoils a run's newest checkpoints: resuming
// ends at the same bits, and export, explain and evaluate take the one before;
// all say so.
func TestDamagedCheckpointIsPassedOver(t *testing.T) {
	tried(t, "a damaged checkpoint", 3)
	work := newWorkplace(t)
	mustRun(t, work, "--threads", "1", "finetune", "-c", "c.yaml", "--set", "steps=14", "-o", "whole")
	if code, said := signalAt(t, work, []string{"--threads", "1", "finetune", "-c", "c.yaml", "--set", "steps=14", "-o", "begun"}, filepath.Join(work, "begun"), 5, os.Interrupt); code != interrupted {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	for _, c := range []struct{ file, says string }{
		{"checkpoints/last/parameters.safetensors", "parameters.safetensors is damaged"},
		{"checkpoints/last/state.json", "state.json is damaged"},
		{"log.jsonl", "lines are missing"},
	} {
		run := filepath.Join(work, "run")
		text := read(t, work, "begun", c.file)
		if err := errors.Join(remove("run")(work), os.CopyFS(run, os.DirFS(filepath.Join(work, "begun"))), os.WriteFile(filepath.Join(run, c.file), text[:len(text)-2], 0o666)); err != nil {
			t.Fatal(err)
		}
		out, err := relevit(work, "--threads", "1", "finetune", "--resume", "-o", "run").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("warning: checkpoint run/checkpoints/last: ")) || !bytes.Contains(out, []byte(c.says)) || !bytes.Contains(out, []byte("; last.1, of step ")) {
			t.Errorf("%s: %v, want a warning that says %q:\n%s", c.file, err, c.says, out)
		}
		sameRuns(t, filepath.Join(work, "whole"), run)
	}
	mustRun(t, work, "export", "whole", "--checkpoint", "last.1", "-o", "before.safetensors")
	if before, last := read(t, work, "before.safetensors"), read(t, work, "whole/checkpoints/last.1/parameters.safetensors"); !bytes.HasSuffix(before, last[len(last)-1000:]) {
		t.Error("export --checkpoint last.1 has other parameters")
	}
	if out, err := relevit(work, "export", "whole", "--checkpoint", "last.7", "-o", "none.onnx").CombinedOutput(); err == nil || !bytes.Contains(out, []byte("checkpoints/last.7: the run has no such checkpoint")) {
		t.Errorf("of a checkpoint that isn't there: %v\n%s", err, out)
	}
	if err := half("whole/checkpoints/best/parameters.safetensors")(work); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"export", "whole", "-o", "x.onnx"},
		{"explain", "-m", "whole", "data/images/circle/00000.png", "-o", "maps"},
		{"evaluate", "-m", "whole", "--data", "data/images", "--layout", "folders"},
		{"verify", "whole"},
	} {
		out, err := relevit(work, args...).CombinedOutput()
		if err != nil || bytes.Count(out, []byte("whole/checkpoints/best: parameters.safetensors is damaged: it has ")) != 1 || !bytes.Contains(out, []byte("; best.1, of step ")) {
			t.Errorf("%v: %v, want a warning that best.1 is taken:\n%s", args, err, out)
		}
	}
	for _, name := range []string{"best.1", "last", "last.1"} {
		if err := half("whole/checkpoints/" + name + "/state.json")(work); err != nil {
			t.Fatal(err)
		}
	}
	out, err := relevit(work, "export", "whole", "-o", "y.onnx").CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != badInput || !bytes.Contains(out, []byte("; last.1: state.json is damaged")) {
		t.Errorf("with none whole: %v\n%s", err, out)
	}
}
