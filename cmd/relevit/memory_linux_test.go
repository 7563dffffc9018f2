package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort"
)

// TestMemoryIsEstimatedBeforeTraining compares the estimate with the largest
// resident memory of runs of two models, and of one with memory: lean. An estimate too low
// by half would let runs be killed, one too high by half refuse runs that fit.
func TestMemoryIsEstimatedBeforeTraining(t *testing.T) {
	tried(t, "too little memory, estimated before the run", 2)
	if _, err := ort.Locate(""); err != nil {
		t.Skipf("needs ONNX Runtime: %v", err)
	}
	work := t.TempDir()
	if err := makeFixtures(work); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		width, depth, batch int
		memory              string
	}{{96, 6, 12, "fast"}, {192, 12, 4, "fast"}, {192, 12, 4, "lean"}} {
		weights := fmt.Sprintf("w%d.safetensors", c.width)
		a, err := models.NewArchitecture(fmt.Sprintf(`{"img_size":224,"patch_size":16,"embed_dim":%d,"depth":%d,"num_heads":3,"num_classes":6}`, c.width, c.depth))
		if err != nil {
			t.Fatal(err)
		}
		checkpoint, err := models.RandomCheckpoint(a, 1)
		if err == nil {
			err = checkpoint.Save(filepath.Join(work, weights))
		}
		if err != nil {
			t.Fatal(err)
		}
		run := fmt.Sprint("run", c.width, "x", c.batch, c.memory)
		cmd := relevit(work, "finetune", "-c", "c.yaml", "--set", "model="+weights, "--set", fmt.Sprint("batch=", c.batch), "--set", "memory="+c.memory, "--set", "steps=1", "-o", run)
		cmd.Env = append(os.Environ(), peakVariable+"="+filepath.Join(work, run+".peak"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		measured, err := peakOf(filepath.Join(work, run+".peak"))
		if err != nil {
			t.Fatal(err)
		}
		said := regexp.MustCompile(`in about ([0-9.]+) GB of memory`).FindSubmatch(out)
		if said == nil {
			t.Fatalf("no estimate in\n%s", out)
		}
		estimate, _ := strconv.ParseFloat(string(said[1]), 64)
		ratio := estimate * 1e9 / float64(measured)
		t.Logf("%d wide, %d blocks, batches of %d, %s: estimated %.1f GB, measured %.2f GB, ratio %.2f", c.width, c.depth, c.batch, c.memory, estimate, float64(measured)/1e9, ratio)
		if !raced && (ratio < 1/1.5 || ratio > 1.5) {
			t.Errorf("the estimate is %.2f times what was measured", ratio)
		}
	}
}
