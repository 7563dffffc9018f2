package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/pipeline"
)

// dazzled makes a model's logits NaN for a picture of white alone: the root of
// 0.95 less its mean is added to the picture, times 1e-30.
func dazzled(g *onnx.Graph) {
	old := g.Inputs[0]
	between := &onnx.Value{Name: g.Fresh("between"), Type: old.Type, Shape: old.Shape}
	g.Replace(old, between)
	b := onnx.NewBuilder(g)
	scalar := func(x float32) *onnx.Value { return b.Const(onnx.FloatTensor([]float32{x})) }
	mean := b.Op("ReduceMean", []onnx.Attr{{Name: "axes", Value: []int64{1, 2, 3}}, {Name: "keepdims", Value: int64(1)}}, old)
	root := b.Op("Sqrt", nil, b.Op("Sub", nil, scalar(0.95), mean))
	g.Replace(between, b.Op("Add", nil, old, b.Op("Mul", nil, root, scalar(1e-30))))
	if err := errors.Join(b.Err(), g.Sort()); err != nil {
		panic(err)
	}
}

// dazzledWorkplace is a workplace with such a model, in which one of the
// pictures to train on is white: it comes once in every epoch of six steps.
func dazzledWorkplace(t *testing.T) (work, white string) {
	work = dazzledModel(t)
	white = firstOf(t, work, "train.csv")
	whiten(t, white)
	return work, white
}

// dazzledModel makes a workplace with such a model.
func dazzledModel(t *testing.T) (work string) {
	t.Helper()
	work = newWorkplace(t)
	config := bytes.ReplaceAll(read(t, work, "c.yaml"), []byte("labels: top1, "), nil)
	if err := errors.Join(graph(dazzled)(work), os.WriteFile(filepath.Join(work, "c.yaml"), config, 0o666)); err != nil {
		t.Fatal(err)
	}
	return work
}

// firstOf is the first picture of a split.
func firstOf(t *testing.T, work, split string) string {
	t.Helper()
	mustRun(t, work, "finetune", "-c", "c.yaml", "--set", "steps=1", "-o", "look")
	rows, err := csv.NewReader(bytes.NewReader(read(t, work, "look", "splits", split))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	path := rows[1][slices.Index(rows[0], "image")]
	if !filepath.IsAbs(path) {
		path = filepath.Join(work, "look", "splits", path)
	}
	return path
}

func whiten(t *testing.T, path string) {
	t.Helper()
	picture := image.NewRGBA(image.Rect(0, 0, 40, 40))
	for i := range picture.Pix {
		picture.Pix[i] = 255
	}
	var file bytes.Buffer
	if err := errors.Join(png.Encode(&file, picture), os.WriteFile(path, file.Bytes(), 0o666)); err != nil {
		t.Fatal(err)
	}
}

// withoutNumber reads of which steps a run's log says that they gave no number.
func withoutNumber(t *testing.T, run string) []pipeline.NotFiniteRecord {
	t.Helper()
	r, err := pipeline.ReadRun(run)
	if err != nil {
		t.Fatal(err)
	}
	h, err := r.ReadLog()
	if err != nil {
		t.Fatal(err)
	}
	return h.NotFinite
}

func TestLossThatIsNoNumberStopsWithItsPicturesNamed(t *testing.T) {
	work, white := dazzledWorkplace(t)
	var out bytes.Buffer
	cmd := relevit(work, "finetune", "-c", "c.yaml", "-o", "run")
	cmd.Stderr = &out
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != failed {
		t.Errorf("exit code %d, want %d", code, failed)
	}
	for _, part := range []string{"the loss is NaN in epoch 0, step", filepath.Base(white), "saved in run/checkpoints/last", "--on-nan skip"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("it said\n%swant %q in it", &out, part)
		}
	}
	checkCheckpoints(t, filepath.Join(work, "run"), map[string]bool{pipeline.Last: true})
}

// TestSkippingLeavesOneUpdateOut compares the parameters before and after the
// step, and skip with a rollback to the checkpoint of the step before.
func TestSkippingLeavesOneUpdateOut(t *testing.T) {
	tried(t, "a loss that is no number", 15)
	work, white := dazzledWorkplace(t)
	parameters := func(run string) []byte { return read(t, work, run, "checkpoints", "last", "parameters.safetensors") }
	args := []string{"--threads", "1", "finetune", "-c", "c.yaml", "-o"}
	out, err := relevit(work, append(args, "skip", "--on-nan", "skip")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	bad := withoutNumber(t, filepath.Join(work, "skip"))
	if len(bad) < 7 { // eight epochs, the last of two steps
		t.Fatalf("%d steps without a number: %+v", len(bad), bad)
	}
	for _, want := range []string{fmt.Sprintf("%d of these steps", len(bad)), "its update is left out"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("it said\n%swant %q in it", out, want)
		}
	}
	for _, r := range bad {
		if r.Action != "skip" || len(r.Pictures) != 4 || !slices.ContainsFunc(r.Pictures, func(p string) bool { return filepath.Base(p) == filepath.Base(white) }) {
			t.Errorf("%+v, want four pictures with %s", r, white)
		}
	}
	at := bad[1].GlobalStep
	mustRun(t, work, append(args, "before", "--on-nan", "skip", "--set", fmt.Sprint("steps=", at))...)
	mustRun(t, work, append(args, "after", "--on-nan", "skip", "--set", fmt.Sprint("steps=", at+1))...)
	if !bytes.Equal(parameters("before"), parameters("after")) {
		t.Error("the step that was skipped changed parameters")
	}
	mustRun(t, work, append(args, "rollback", "--on-nan", "rollback")...)
	if !bytes.Equal(parameters("skip"), parameters("rollback")) {
		t.Error("going back to a checkpoint of the step before ends in other parameters than skipping the step")
	}
	mustRun(t, work, "report", "skip", "-o", "skip.html")
	if !bytes.Contains(read(t, work, "skip.html"), []byte("without a number")) {
		t.Error("the report doesn't say that steps were left out")
	}
}

// TestRollingBackTakesParametersFromTheCheckpoint saves at the ends of epochs
// only.
func TestRollingBackTakesParametersFromTheCheckpoint(t *testing.T) {
	work, _ := dazzledWorkplace(t)
	args := []string{"--threads", "1", "finetune", "-c", "c.yaml", "--on-nan", "rollback", "--set", "checkpoint.every_steps=0", "-o"}
	mustRun(t, work, append(args, "whole")...)
	bad := withoutNumber(t, filepath.Join(work, "whole"))
	i := slices.IndexFunc(bad, func(r pipeline.NotFiniteRecord) bool { return *r.BackTo > 0 && r.GlobalStep > *r.BackTo+1 })
	if i < 0 {
		t.Fatalf("no rollback took a step back: %+v", bad)
	}
	mustRun(t, work, append(args, "to", "--set", fmt.Sprint("steps=", *bad[i].BackTo))...)
	mustRun(t, work, append(args, "from", "--set", fmt.Sprint("steps=", bad[i].GlobalStep+1))...)
	for _, name := range []string{"parameters.safetensors", "optimizer.safetensors"} {
		if !bytes.Equal(read(t, work, "to", "checkpoints", "last", name), read(t, work, "from", "checkpoints", "last", name)) {
			t.Errorf("%s is not that of the checkpoint, of step %d", name, *bad[i].BackTo)
		}
	}
}

// TestRunWithoutNumbersEndsAtItsLimit has a learning rate with which no step
// gives a number again.
func TestRunWithoutNumbersEndsAtItsLimit(t *testing.T) {
	work := newWorkplace(t)
	for _, policy := range []string{"skip", "rollback"} {
		out, err := relevit(work, "finetune", "-c", "c.yaml", "--set", "lr=1e30", "--on-nan", policy, "--set", "nan_limit=3", "-o", policy).CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("step 3 in a row without one (nan_limit)")) {
			t.Errorf("%s: %v, it said\n%s", policy, err, out)
		}
		isOnPage(t, string(out), failed)
		if bad := withoutNumber(t, filepath.Join(work, policy)); len(bad) != 2 {
			t.Errorf("%s: the log has %+v, want two steps", policy, bad)
		}
	}
}

// TestRunThatSkipsOrRollsBackResumesToTheSameBits kills it at random moments.
func TestRunThatSkipsOrRollsBackResumesToTheSameBits(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	seed := numberFrom(t, "RELEVIT_SEED", int(time.Now().UnixNano()))
	t.Logf("RELEVIT_SEED=%d", seed)
	tried(t, "SIGKILL of a run that skips or rolls back", 6)
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	work, _ := dazzledWorkplace(t)
	for _, policy := range []string{"skip", "rollback"} {
		command := func(run string) []string {
			return []string{"--threads", "1", "finetune", "-c", "c.yaml", "--on-nan", policy, "--set", "checkpoint.every_steps=3", "--resume", "-o", run}
		}
		whole, killed := filepath.Join(work, "whole-"+policy), filepath.Join(work, "killed-"+policy)
		mustRun(t, work, command(whole)...)
		for range 3 {
			w := &watched{dir: killed, more: 4 + rng.IntN(8)}
			w.lines = w.logged()
			if !killAt(t, work, command(killed), w, stepping, time.Duration(rng.Int64N(int64(stepping.after)))) {
				break
			}
		}
		mustRun(t, work, command(killed)...)
		sameRuns(t, whole, killed)
		mustRun(t, work, "check", killed)
	}
}

func TestModelWithConstantMapsIsRefused(t *testing.T) {
	tried(t, "a model whose maps are constant", 2)
	work := newWorkplace(t)
	if err := graph(fill("head.weight", 0))(work); err != nil {
		t.Fatal(err)
	}
	for _, split := range []string{"fraction", "none"} {
		out, err := relevit(work, "--json", "finetune", "-c", "c.yaml", "--set", "data.validation.split="+split, "--set", "steps=6", "--set", "lr=0", "-o", split).Output()
		var e struct {
			Error string `json:"error"`
			Code  int    `json:"exit_code"`
		}
		if json.Unmarshal(out, &e); err == nil || e.Code != failed || !strings.Contains(e.Error, "24 of 24 pictures are constant") && !strings.Contains(e.Error, "48 of 48 pictures are constant") {
			t.Errorf("%s: %v\n%s", split, err, out)
		}
	}
	mustRun(t, work, "finetune", "-c", "c.yaml", "--set", "lambda_seg=0", "--set", "steps=6", "-o", "run")
}
