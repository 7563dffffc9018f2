package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline"
)

// moment is when to kill a run: some time after something is seen in its folder.
type moment struct {
	name  string
	seen  func(w *watched) bool
	after time.Duration // at most
}

// watched is a run at work, seen from outside.
type watched struct {
	dir   string
	lines int // of the log when the process began
	more  int // lines to wait for
}

func (w *watched) has(parts ...string) bool {
	_, err := os.Lstat(filepath.Join(append([]string{w.dir}, parts...)...))
	return err == nil
}

func (w *watched) logged() int {
	text, _ := os.ReadFile(filepath.Join(w.dir, "log.jsonl"))
	return bytes.Count(text, []byte("\n"))
}

// The moments of a run's life, from its first one to its last.
var (
	atOnce     = moment{"before anything", func(*watched) bool { return true }, 100 * time.Millisecond}
	configured = moment{"with config.yaml", func(w *watched) bool { return w.has("config.yaml") }, 60 * time.Millisecond}
	exported   = moment{"with its graphs, predicting labels", func(w *watched) bool { return w.has("artifacts", "model.onnx") }, 60 * time.Millisecond}
	chosen     = moment{"with pictures chosen, in the first evaluation", func(w *watched) bool { return w.has("splits", "train.csv") }, 60 * time.Millisecond}
	stepping   = moment{"some steps later", func(w *watched) bool { return w.logged() >= w.lines+w.more }, 20 * time.Millisecond}
	savingLast = moment{"writing last", func(w *watched) bool { return w.has("checkpoints", ".last.tmp") }, 10 * time.Millisecond}
	savingBest = moment{"writing best", func(w *watched) bool { return w.has("checkpoints", ".best.tmp") }, 10 * time.Millisecond}
	finishing  = moment{"writing the samples", func(w *watched) bool { return w.has("samples", "000_00000.png") }, 20 * time.Millisecond}
)

// momentsFor spreads kills over a run's life.
func momentsFor(kills int, rng *rand.Rand) []moment {
	if kills < 8 {
		return []moment{exported, savingLast, stepping, savingBest, finishing}[:kills]
	}
	middle := []moment{savingBest, stepping, savingLast, savingLast, stepping}
	out := []moment{atOnce, configured, exported, chosen, chosen}
	for i := range kills - 7 {
		out = append(out, middle[i%len(middle)])
	}
	rng.Shuffle(kills-7, func(i, j int) { out[5+i], out[5+j] = out[5+j], out[5+i] })
	return append(out, finishing, finishing)
}

// TestRunKilledAnywhereResumesToTheSameBits kills a run at random moments of
// every part of its life, checkpoints being written included, and compares
// everything that it leaves with an uninterrupted run. RELEVIT_KILLS and
// RELEVIT_SEED change how often and when.
func TestRunKilledAnywhereResumesToTheSameBits(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	kills, seed := numberFrom(t, "RELEVIT_KILLS", 20), numberFrom(t, "RELEVIT_SEED", int(time.Now().UnixNano()))
	t.Logf("RELEVIT_SEED=%d", seed)
	tried(t, "SIGKILL while finetune works", kills)
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	work := newWorkplace(t)
	whole, killed := filepath.Join(work, "whole"), filepath.Join(work, "killed")
	command := func(run string) []string {
		return []string{"--threads", "1", "finetune", "-c", "c.yaml", "--resume", "-o", run}
	}
	began := time.Now()
	mustRun(t, work, command(whole)...)
	t.Logf("uninterrupted: %d lines of log in %v", (&watched{dir: whole}).logged(), time.Since(began).Round(time.Millisecond))
	before := map[string]bool{} // checkpoints that were there once
	for k, m := range momentsFor(kills, rng) {
		args := command(killed)
		if before[pipeline.Last] && rng.IntN(2) == 0 {
			args = []string{"--threads", "1", "finetune", "--resume", "-o", killed}
		}
		w := &watched{dir: killed, more: 1 + rng.IntN(4)}
		w.lines = w.logged()
		after := time.Duration(rng.Int64N(int64(m.after)))
		for !killAt(t, work, args, w, m, after) {
			m, after = atOnce, after/2 // the run is complete
		}
		t.Logf("kill %d %s: at line %d of the log", k+1, m.name, w.logged())
		checkCheckpoints(t, killed, before)
	}
	mustRun(t, work, command(killed)...)
	sameRuns(t, whole, killed)
}

// killAt starts a command and kills it some time after the moment. It returns
// false if the command ended before.
func killAt(t *testing.T, dir string, args []string, w *watched, m moment, after time.Duration) bool {
	t.Helper()
	cmd := relevit(dir, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	deadline := time.After(patience)
	for !m.seen(w) {
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("waiting to kill %s: %v\n%s", m.name, err, &said)
			}
			return false
		case <-deadline:
			cmd.Process.Kill()
			t.Fatalf("%s never came\n%s", m.name, &said)
		case <-time.After(100 * time.Microsecond):
		}
	}
	time.Sleep(after)
	cmd.Process.Kill()
	err := <-done
	if status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("before being killed %s: %v\n%s", m.name, err, &said)
	}
	return false
}

// checkCheckpoints reads what a dead process left, as check and export would:
// nothing is damaged, and from the first checkpoint on there is always one.
func checkCheckpoints(t *testing.T, dir string, before map[string]bool) {
	t.Helper()
	if !pipeline.IsRun(dir) {
		return
	}
	found, err := pipeline.Check(t.Context(), dir)
	if err != nil || !found.Healthy {
		t.Fatalf("%v, faults %v", err, found.Faults)
	}
	run, err := pipeline.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, which := range []string{pipeline.Last, pipeline.Best} {
		_, err := run.LoadCheckpoint(which)
		switch {
		case err == nil:
			before[which] = true
		case before[which] || !errors.Is(err, pipeline.ErrNoCheckpoint):
			t.Fatal(err)
		}
	}
}

// sameRuns compares two runs bit by bit, but for how long things took, for the
// checkpoints that were saved when a signal came, and for the file of the lock,
// which does no harm.
func sameRuns(t *testing.T, want, got string) {
	t.Helper()
	besides := func(name string) bool { return strings.Contains(name, "/last.") || name == ".lock" }
	a, b := slices.DeleteFunc(filesIn(t, want), besides), slices.DeleteFunc(filesIn(t, got), besides)
	if !slices.Equal(a, b) {
		t.Errorf("files: the run has\n%v, want\n%v", b, a)
		return
	}
	for _, name := range a {
		x, y := read(t, want, name), read(t, got, name)
		switch {
		case name == "log.jsonl":
			x, y = []byte(untimed(t, x)), []byte(untimed(t, y))
		case name == "report.html" || name == "commands.jsonl":
			continue // they hold times and command lines
		case filepath.Base(name) == "state.json":
			for _, part := range []string{`"log_offset"`, `"state_sha256"`} { // logged seconds have more digits or fewer
				x, y = withoutLine(x, part), withoutLine(y, part)
			}
		}
		if !bytes.Equal(x, y) {
			t.Errorf("%s differs from the uninterrupted run's", name)
		}
	}
}

func withoutLine(text []byte, part string) []byte {
	var out []byte
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if !strings.Contains(s.Text(), part) {
			out = append(append(out, s.Bytes()...), '\n')
		}
	}
	return out
}

// filesIn lists the files below a folder, sorted.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			path, err = filepath.Rel(dir, path)
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// newWorkplace makes a folder with the fixtures, a model and a configuration
// that saves after every step.
func newWorkplace(t *testing.T) string {
	t.Helper()
	if _, err := ort.Locate(""); err != nil {
		untried.Store("ONNX Runtime")
		t.Skipf("needs ONNX Runtime: %v", err)
	}
	dir := t.TempDir()
	config := `{model: model.onnx, lr: 1e-3, epochs: 8, steps: 44, batch: 4, checkpoint: {every_steps: 1}, sheet_images: 2,
data: {images: data/images, masks: data/masks, classes: 0, samples: 0, labels: top1, validation: {split: fraction}}}`
	err := errors.Join(writeTinyCheckpoint(filepath.Join(dir, "weights.safetensors")), writePictures(filepath.Join(dir, "data"), 48),
		os.WriteFile(filepath.Join(dir, "c.yaml"), []byte(config), 0o666))
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, "convert", "weights.safetensors", "-o", "model.onnx")
	return dir
}

func relevit(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("relevit", args...)
	cmd.Dir = dir
	return cmd
}

func mustRun(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := relevit(dir, args...).CombinedOutput(); err != nil {
		t.Fatalf("relevit %v: %v\n%s", args, err, out)
	}
}

func numberFrom(t *testing.T, variable string, or int) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv(variable), strconv.Itoa(or)))
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
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
