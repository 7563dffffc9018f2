package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func step(n int) StepRecord {
	return StepRecord{Kind: "step", GlobalStep: n, LR: 3e-6, Loss: Number(float64(n) / 3)}
}

func TestResumedLogEqualsAnUninterruptedOne(t *testing.T) {
	whole, broken := newRun(t), newRun(t)
	write := func(l *Log, from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			if err := l.Append(step(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	open := func(r *Run) *Log {
		t.Helper()
		l, err := r.OpenLog()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	write(open(whole), 0, 9)

	l := open(broken)
	write(l, 0, 4)
	mark, err := l.Mark()
	if err != nil {
		t.Fatal(err)
	}
	write(l, 4, 7)
	if _, err := l.f.WriteAt([]byte(`{"kind":"st`), l.offset); err != nil { // torn by a kill
		t.Fatal(err)
	}
	if h, err := broken.ReadLog(); err != nil || len(h.Steps) != 7 {
		t.Errorf("the torn log reads as %d steps (%v), want 7", len(h.Steps), err)
	}
	l = open(broken)
	if err := l.TruncateTo(mark); err != nil {
		t.Fatal(err)
	}
	write(l, 4, 9)

	a, err := os.ReadFile(whole.Path(logName))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(broken.Path(logName))
	if err != nil || string(a) != string(b) {
		t.Errorf("(%v) the resumed log is\n%s\nwant\n%s", err, b, a)
	}
	for offset, want := range map[int64]string{mark + 1: "was changed", int64(len(a)) + 1: "lines are missing"} {
		if err := l.TruncateTo(offset); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("truncating to %d: %v, want %q", offset, err, want)
		}
	}
}

// A run's log is cut at every byte of its last two lines: after resuming, no line
// is there twice and none is missing. A process that dies loses nothing before
// its checkpoint; where something else cut the file there, an earlier checkpoint
// serves.
func TestLogCutAnywhereIsMadeWhole(t *testing.T) {
	const steps = 6
	// train makes steps from the run's checkpoint on, and saves after each up to
	// a last one.
	train := func(r *Run, saves int) {
		t.Helper()
		l, err := r.OpenLog()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		from := 0
		c, err := r.loadResumable(l)
		if err == nil {
			from = c.State.GlobalStep
			err = l.TruncateTo(c.State.LogOffset)
		} else if errors.Is(err, ErrNoCheckpoint) {
			err = nil
		}
		if err != nil {
			t.Fatal(err)
		}
		for n := from; n < steps; n++ {
			if err := l.Append(map[string]any{"kind": "step", "global_step": n}); err != nil {
				t.Fatal(err)
			}
			if n >= saves {
				continue
			}
			c := checkpointAt(n+1, 5)
			c.State.Epoch = 0
			if c.State.LogOffset, err = l.Mark(); err != nil {
				t.Fatal(err)
			}
			if err := r.SaveCheckpoint(Last, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name        string
		keep, saves int
	}{
		{"after the checkpoint", 2, steps - 2},
		{"before the checkpoint", 3, steps},
	} {
		t.Run(c.name, func(t *testing.T) {
			begun := newRun(t)
			begun.Config.Checkpoint.Keep = c.keep
			train(begun, c.saves)
			whole, err := os.ReadFile(begun.Path(logName))
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.SplitAfter(whole, []byte("\n"))
			for cut := len(whole) - len(lines[steps-1]) - len(lines[steps-2]); cut <= len(whole); cut++ {
				r := &Run{Dir: filepath.Join(t.TempDir(), "run"), Config: begun.Config}
				if err := errors.Join(os.CopyFS(r.Dir, os.DirFS(begun.Dir)), os.Truncate(r.Path(logName), int64(cut))); err != nil {
					t.Fatal(err)
				}
				train(r, steps)
				if got, err := os.ReadFile(r.Path(logName)); err != nil || !bytes.Equal(got, whole) {
					t.Fatalf("cut at byte %d of %d: (%v)\n%s\nwant\n%s", cut, len(whole), err, got, whole)
				}
				h, err := r.ReadLog()
				if err != nil {
					t.Fatal(err)
				}
				if err := h.fits(&State{GlobalStep: steps}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestLogWithAStepTwiceOrMissingIsNoticed(t *testing.T) {
	steps := func(numbers ...int) *History {
		h := &History{}
		for _, n := range numbers {
			h.Steps = append(h.Steps, step(n))
		}
		return h
	}
	if err := steps(0, 1, 2).fits(&State{GlobalStep: 3}); err != nil {
		t.Error(err)
	}
	for _, h := range []*History{steps(0, 1), steps(0, 1, 1), steps(0, 2, 1), steps(1, 2, 3), steps(0, 1, 2, 3), {Steps: steps(0, 1, 2).Steps, Epochs: []EpochRecord{{Epoch: 1}}}} {
		if h.fits(&State{GlobalStep: 3}) == nil {
			t.Errorf("%+v is taken for steps 0, 1, 2", h.Steps)
		}
	}
}

func TestNumbersOfEveryKindSurviveJSON(t *testing.T) {
	for _, v := range []float64{0, math.Copysign(0, -1), 1.0 / 3, math.MaxFloat64, 5e-324, math.Inf(1), math.Inf(-1), math.NaN()} {
		text, err := json.Marshal(map[string]Number{"v": Number(v)})
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]Number
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		got := float64(back["v"])
		if math.Float64bits(got) != math.Float64bits(v) && !(math.IsNaN(got) && math.IsNaN(v)) {
			t.Errorf("%v became %s and then %v", v, text, got)
		}
	}
	for _, bad := range []string{`"abc"`, `true`, `[]`} {
		var n Number
		if err := json.Unmarshal([]byte(bad), &n); err == nil {
			t.Errorf("%s was read as %v", bad, n)
		}
	}
}

func TestLogReadsBackAndNamesABadLine(t *testing.T) {
	r := newRun(t)
	if h, err := r.ReadLog(); h.Steps != nil || h.Epochs != nil || err != nil {
		t.Errorf("no log reads as %v %v", h, err)
	}
	l, err := r.OpenLog()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, record := range []any{StartRecord{Kind: "start"}, step(0), EpochRecord{Kind: "epoch", Loss: Number(math.NaN()), Validation: &Metrics{Pictures: 3}}, step(1)} {
		if err := l.Append(record); err != nil {
			t.Fatal(err)
		}
	}
	h, err := r.ReadLog()
	if err != nil || len(h.Steps) != 2 || len(h.Epochs) != 1 || h.Steps[1].GlobalStep != 1 || h.Epochs[0].Validation.Pictures != 3 {
		t.Errorf("%v, %v", h, err)
	}
	if err := l.Append("no record"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadLog(); err == nil || !strings.Contains(err.Error(), "line 5") {
		t.Errorf("error %v, want one that names line 5", err)
	}
}
