package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/relevit/relevit/onnx/ort"
)

// finetuneIn prepares a finetuning of seconds in a folder and returns its
// arguments up to the run folder.
func finetuneIn(t *testing.T, dir string) []string {
	t.Helper()
	if _, err := ort.Locate(""); err != nil {
		t.Skipf("needs ONNX Runtime: %v", err)
	}
	if err := writePictures(filepath.Join(dir, "data"), 48); err != nil {
		t.Fatal(err)
	}
	if err := writeTinyCheckpoint(filepath.Join(dir, "weights.safetensors")); err != nil {
		t.Fatal(err)
	}
	config := `{model: weights.safetensors, lr: 1e-3, epochs: 12, batch: 4, checkpoint: {every_steps: 2},
data: {images: data/images, masks: data/masks, classes: 0, samples: 0, validation: {split: fraction}}}`
	if err := os.WriteFile(filepath.Join(dir, "c.yaml"), []byte(config), 0o666); err != nil {
		t.Fatal(err)
	}
	return []string{"--threads", "1", "finetune", "-c", "c.yaml", "--resume", "-o"}
}

func relevit(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("relevit", args...)
	cmd.Dir = dir
	return cmd
}

func TestKilledRunResumesToTheSameBits(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	const kills = 10
	dir := t.TempDir()
	args := finetuneIn(t, dir)
	if out, err := relevit(dir, append(args, "whole")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := bytes.Count(read(t, dir, "whole", "log.jsonl"), []byte("\n"))
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	resumed := 0
	for k := range kills {
		cmd := relevit(dir, append(args, "killed")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The first two come while the run begins, each other in another part of it.
		if k < 2 {
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		} else {
			waitForLines(filepath.Join(dir, "killed", "log.jsonl"), k*lines/kills+rng.IntN(lines/kills))
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if cmd.Wait() == nil {
			t.Logf("kill %d came too late", k)
		}
		if _, err := os.Stat(filepath.Join(dir, "killed", "checkpoints", "last")); err == nil {
			resumed++
		}
	}
	if out, err := relevit(dir, append(args, "killed")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, file := range []string{"parameters.safetensors", "optimizer.safetensors"} {
		for _, which := range []string{"last", "best"} {
			name := filepath.Join("checkpoints", which, file)
			if !bytes.Equal(read(t, dir, "whole", name), read(t, dir, "killed", name)) {
				t.Errorf("%s differs from the uninterrupted run's", name)
			}
		}
	}
	if a, b := untimed(t, read(t, dir, "whole", "log.jsonl")), untimed(t, read(t, dir, "killed", "log.jsonl")); a != b {
		t.Errorf("the log is\n%s\nwant\n%s", b, a)
	}
	t.Logf("%d kills, %d of them after the first checkpoint", kills, resumed)
}

// waitForLines waits, but not forever, until a log has so many lines.
func waitForLines(log string, want int) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if text, _ := os.ReadFile(log); bytes.Count(text, []byte("\n")) >= want {
			return
		}
	}
}

func TestInterruptedRunIsSavedAndExits130(t *testing.T) {
	dir := t.TempDir()
	args := finetuneIn(t, dir)
	cmd := relevit(dir, append(args, "run")...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitForLines(filepath.Join(dir, "run", "log.jsonl"), 2) // the second is of a step
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != interrupted {
		t.Errorf("exit code %d, want %d; it said\n%s", code, interrupted, &said)
	}
	if !bytes.Contains(said.Bytes(), []byte("--resume")) {
		t.Errorf("it said\n%s\nand nothing of --resume", &said)
	}
	var state struct {
		Steps int `json:"global_step"`
	}
	if err := json.Unmarshal(read(t, dir, "run", "checkpoints/last/state.json"), &state); err != nil || state.Steps == 0 {
		t.Errorf("the checkpoint is of step %d (%v)", state.Steps, err)
	}
}

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// untimed is a log without how long things took.
func untimed(t *testing.T, log []byte) string {
	t.Helper()
	var out bytes.Buffer
	for dec := json.NewDecoder(bytes.NewReader(log)); dec.More(); {
		var record map[string]any
		if err := dec.Decode(&record); err != nil {
			t.Fatal(err)
		}
		delete(record, "seconds")
		if err := json.NewEncoder(&out).Encode(record); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}
