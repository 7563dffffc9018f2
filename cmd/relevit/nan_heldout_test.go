package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/pipeline"
)

// dazzledLater begins a run, interrupts it at a line of its log, and makes one of
// its held-out pictures white: from then on the loss on the held-out pictures is NaN.
func dazzledLater(t *testing.T, work, white, run, policy string, lines int, settings ...string) []string {
	t.Helper()
	args := []string{"--threads", "1", "finetune", "-c", "c.yaml", "--resume", "-o", run, "--on-nan", policy}
	for _, s := range settings {
		args = append(args, "--set", s)
	}
	dark := read(t, white)
	if code, said := signalAt(t, work, args, filepath.Join(work, run), lines, os.Interrupt); code != interrupted {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	whiten(t, white)
	t.Cleanup(func() { os.WriteFile(white, dark, 0o666) })
	return args
}

// TestHeldOutLossThatIsNoNumber has each choice of on_nan decide about it.
func TestHeldOutLossThatIsNoNumber(t *testing.T) {
	tried(t, "a held-out loss that is no number", 6)
	work := dazzledModel(t)
	white := firstOf(t, work, "validation.csv")
	mustRun(t, work, "--threads", "1", "finetune", "-c", "c.yaml", "-o", "whole")
	dark := read(t, white)
	const inSecondEpoch = 10 // lines: the start, six steps and the first epoch, and two steps
	for _, c := range []struct {
		name, policy string
		lines        int
		settings     []string
		says         string // with an error
	}{
		{"stop", "stop", inSecondEpoch, nil, "--on-nan skip"},
		{"skip", "skip", inSecondEpoch, []string{"nan_limit=9"}, ""},
		{"skip, too often", "skip", inSecondEpoch, []string{"nan_limit=3"}, "it is epoch 3 in a row without one (nan_limit)"},
		{"rollback", "rollback", inSecondEpoch, []string{"nan_limit=9"}, ""},
		{"rollback, too often", "rollback", inSecondEpoch, []string{"nan_limit=2"}, "it is epoch 2 in a row without one (nan_limit)"},
		{"rollback to nothing", "rollback", 4, nil, "no epoch has given one, to go back to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := strings.NewReplacer(",", "", " ", "-").Replace(c.name)
			args := dazzledLater(t, work, white, run, c.policy, c.lines, c.settings...)
			out, err := relevit(work, args...).CombinedOutput()
			if c.says != "" {
				for _, part := range []string{"the loss on the held-out pictures is NaN after", "steps with ", ".png: the parameters are saved in " + run + "/checkpoints/last; ", c.says} {
					if err == nil || !bytes.Contains(out, []byte(part)) {
						t.Errorf("%v; it said\n%swant %q in it", err, out, part)
					}
				}
				isOnPage(t, string(out), failed)
				checkCheckpoints(t, filepath.Join(work, run), map[string]bool{pipeline.Last: true})
				if c.policy == "stop" { // with the picture back, nothing has been lost
					if err := os.WriteFile(white, dark, 0o666); err != nil {
						t.Fatal(err)
					}
					mustRun(t, work, args...)
					sameRuns(t, filepath.Join(work, "whole"), filepath.Join(work, run))
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			r, err := pipeline.ReadRun(filepath.Join(work, run))
			if err != nil {
				t.Fatal(err)
			}
			h, err := r.ReadLog()
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range h.Epochs {
				good := i == 0
				if good != (e.Action == "") || good != e.Best || good != (len(e.Pictures) == 0) || !good && e.Action != c.policy {
					t.Errorf("epoch %d: %+v", i, e)
				}
				if c.policy == "rollback" && !good && (e.BackTo == nil || *e.BackTo != 6) {
					t.Errorf("epoch %d went back to %v, want step 6, the end of the first epoch", i, e.BackTo)
				}
			}
			last, best := read(t, work, run, "checkpoints/last/parameters.safetensors"), read(t, work, run, "checkpoints/best/parameters.safetensors")
			switch {
			case c.policy == "skip" && !bytes.Equal(last, read(t, work, "whole/checkpoints/last/parameters.safetensors")):
				t.Error("what the held-out pictures gave has changed the training")
			case c.policy == "rollback" && !bytes.Equal(last, best):
				t.Error("after the last epoch the parameters are not those of the best one")
			}
			mustRun(t, work, "check", run)
			mustRun(t, work, "report", run, "-o", run+".html")
		})
	}
}

// TestRollingBackAnEpochResumesToTheSameBits kills a run between epochs that go
// back.
func TestRollingBackAnEpochResumesToTheSameBits(t *testing.T) {
	work := dazzledModel(t)
	args := dazzledLater(t, work, firstOf(t, work, "validation.csv"), "run", "rollback", 10, "nan_limit=9")
	killed := filepath.Join(work, "killed")
	if err := os.CopyFS(killed, os.DirFS(filepath.Join(work, "run"))); err != nil {
		t.Fatal(err)
	}
	mustRun(t, work, args...)
	again := strings.Fields(strings.Replace(strings.Join(args, " "), "-o run", "-o killed", 1))
	for _, lines := range []int{16, 24, 31} {
		struck(t, func() *exec.Cmd { return relevit(work, again...) }, killed, killed, lines, func(cmd *exec.Cmd) { cmd.Process.Kill() })
	}
	mustRun(t, work, again...)
	sameRuns(t, filepath.Join(work, "run"), killed)
}

// TestHeldOutLossBeforeTrainingAlwaysStops has a model without a number for a
// held-out picture from the beginning.
func TestHeldOutLossBeforeTrainingAlwaysStops(t *testing.T) {
	work := dazzledModel(t)
	white := firstOf(t, work, "validation.csv")
	whiten(t, white)
	for _, policy := range []string{"stop", "skip", "rollback"} {
		out, err := relevit(work, "finetune", "-c", "c.yaml", "--on-nan", policy, "-o", policy).CombinedOutput()
		if want := filepath.Base(white) + ": the model itself gives no numbers"; err == nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s: %v; it said\n%swant %q in it", policy, err, out, want)
		}
		isOnPage(t, string(out), failed)
	}
}
