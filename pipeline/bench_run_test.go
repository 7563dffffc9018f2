//go:build bench

package pipeline

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

const (
	// runLimit is up to how many times the sum of its steps a run takes.
	runLimit = 1.08
	// startLimit is after how many seconds the first step begins.
	startLimit = 3.0
	// A bare step is timed after so many of the run's.
	bareEvery = 20
)

// run trains from JPEGs and masks on disk, and stops every now and then to time
// a bare step on a batch that is there.
func (b *bench) run(j job) {
	bare := b.openStep(gradients.FirstOrder, ort.Options{})
	steps := j.Rounds
	cfg, err := configs.Load([]string{"vit-tiny"}, append(runSettings(b.T, j.Model, steps), "seed=1"))
	if err != nil {
		b.Fatal(err)
	}
	r := newRounds(b)
	for range 2 {
		r.timed("bare step", bare.run)
		r.warm()
	}
	var began, ended time.Time
	var paused time.Duration
	made := 0
	_, err = Finetune(context.Background(), FinetuneOptions{Config: cfg, Dir: filepath.Join(b.TempDir(), "run"), Hooks: Hooks{
		OnStart: func(Plan) { began = time.Now() },
		OnStep: func(StepRecord) {
			made++
			ended = time.Now()
			if made%bareEvery == 0 {
				r.timed("bare step", bare.run)
				if made < steps {
					paused += time.Since(ended)
				}
			}
		},
	}})
	if err != nil {
		b.Fatal(err)
	}
	if made != steps {
		b.Fatalf("%d steps were made of %d", made, steps)
	}
	r.took("run", (ended.Sub(began) - paused).Seconds())
	r.took("sum of bare steps", float64(steps)*median(r.seconds["bare step"]))
	r.divide("run", "sum of bare steps")
	r.report()
}

// runSettings configures so many steps on a data set on disk.
func runSettings(t *testing.T, model string, steps int) []string {
	t.Helper()
	samples := benchPictures(t, steps*benchBatch)
	return []string{"model=" + model, "data.layout=csv", "data.csv=" + samplesTable(t, samples), "data.classes=0", "data.samples=0",
		"data.validation.split=none", "epochs=1", "batch=" + strconv.Itoa(benchBatch), "steps=" + strconv.Itoa(steps)}
}

// samplesTable writes samples as a table.
func samplesTable(t *testing.T, samples []dataset.Sample) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "samples.csv")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(f)
	w.Write([]string{"image", "mask", "label"})
	for i, s := range samples {
		image := filepath.Join(filepath.Dir(path), fmt.Sprintf("%04d.jpg", i)) // no picture may be listed twice
		if err := os.Symlink(s.ImagePath, image); err != nil {
			t.Fatal(err)
		}
		w.Write([]string{image, s.MaskPath, strconv.Itoa(i % 1000)})
	}
	w.Flush()
	if err := errors.Join(w.Error(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// benchRun prints what a run takes besides its steps.
func benchRun(t *testing.T, m benchedModel, short bool) {
	steps := 200
	if short {
		steps = 40
	}
	r := measure(t, job{Kind: "run", Model: m.path, Rounds: steps})
	out := &figures{T: t, title: fmt.Sprintf("A run of %d steps from JPEGs and masks on disk, %s", steps, m.title)}
	out.figure("bare step, median of those between the run's", "%.3f s", r.Seconds["bare step"])
	out.figure("run, from its beginning to its last step", "%.1f s", r.Seconds["run"])
	out.atMost(runLimit, "  in times of as many bare steps", "%.3f", r.Ratio["run/sum of bare steps"])
	out.print()
}

// benchStart prints how long it takes from the command to the first step, of a
// run that begins and of one that goes on.
func benchStart(t *testing.T, m benchedModel) {
	binary := filepath.Join(t.TempDir(), "relevit")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/relevit").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	folder := filepath.Join(t.TempDir(), "run")
	args := []string{"finetune", "-c", "vit-base", "-o", folder}
	for _, s := range runSettings(t, m.path, 100) {
		args = append(args, "--set", s)
	}
	out := &figures{T: t, title: "From the command to the first step, " + m.title}
	out.atMost(startLimit, "a new run", "%.2f s", firstStep(t, binary, folder, args...))
	forgetSteps(t, filepath.Join(folder, logName))
	out.atMost(startLimit, "a run that is resumed", "%.2f s", firstStep(t, binary, folder, "finetune", "--resume", "-o", folder))
	out.print()
}

// firstStep runs a command until a step is in the run's log, kills it, and returns
// after how many seconds that step began.
func firstStep(t *testing.T, binary, folder string, args ...string) float64 {
	t.Helper()
	var said strings.Builder
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		cmd.Process.Kill()
		<-ended
	}()
	for {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended before its first step: %v\n%s", strings.Join(args, " "), err, said.String())
		case <-time.After(5 * time.Millisecond):
		}
		if step, ok := loggedStep(t, filepath.Join(folder, logName)); ok {
			return time.Since(start).Seconds() - float64(step.Seconds)
		}
	}
}

// forgetSteps cuts a log before its first step, which resuming would do later.
func forgetSteps(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		before, _, _ := bytes.Cut(data, []byte(`{"kind":"step"`))
		err = os.Truncate(path, int64(len(before)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// loggedStep finds the first step in a log that is being written.
func loggedStep(t *testing.T, path string) (step StepRecord, ok bool) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if json.Unmarshal([]byte(line), &step) == nil && step.Kind == "step" {
			return step, true
		}
	}
	return step, false
}
