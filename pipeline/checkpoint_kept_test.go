package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// runSaved makes a run of which checkpoints of steps 0 to n-1 were saved as Last.
func runSaved(t *testing.T, keep, n int) *Run {
	t.Helper()
	r := newRun(t)
	r.Config.Checkpoint.Keep = keep
	for step := range n {
		if err := r.SaveCheckpoint(Last, checkpointAt(step, 5)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// stepsIn reads which checkpoint lies in each folder.
func stepsIn(t *testing.T, r *Run) map[string]int {
	t.Helper()
	entries, err := os.ReadDir(r.Path(checkpoints))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, e := range entries {
		c, err := readCheckpoint(r.Path(checkpoints, e.Name()), true)
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = at(t, c)
	}
	return out
}

func TestCheckpointsAreKeptAsConfigured(t *testing.T) {
	for keep, want := range map[int]map[string]int{
		1: {"last": 6},
		2: {"last": 6, "last.1": 5},
		4: {"last": 6, "last.1": 5, "last.2": 4, "last.3": 3},
		9: {"last": 6, "last.1": 5, "last.2": 4, "last.3": 3, "last.4": 2, "last.5": 1, "last.6": 0},
	} {
		r := runSaved(t, keep, 7)
		if got := stepsIn(t, r); !maps.Equal(got, want) {
			t.Errorf("keep %d: %v, want %v", keep, got, want)
		}
		// Steps that a resumed run makes again push nothing out.
		for range 2 {
			if err := r.SaveCheckpoint(Last, checkpointAt(6, 5)); err != nil {
				t.Fatal(err)
			}
		}
		if got := stepsIn(t, r); !maps.Equal(got, want) {
			t.Errorf("keep %d, saved again: %v, want %v", keep, got, want)
		}
	}
}

// Every state of the folder in which a process can die while a checkpoint is
// installed must open with all that are kept, whichever way it was exchanged.
func TestInterruptedKeepingIsEnded(t *testing.T) {
	for name, there := range map[string]map[string]int{
		"before the exchange":       {".last.tmp": 3, "last": 2, "last.1": 1, "last.2": 0},
		"after the exchange":        {".last.tmp": 2, "last": 3, "last.1": 1, "last.2": 0},
		"after the renames":         {".last.old": 2, "last": 3, "last.1": 1, "last.2": 0},
		"the oldest is on its way":  {".last.old": 2, "last": 3, "last.1": 1, ".last.2.gone": 0},
		"the oldest is gone":        {".last.old": 2, "last": 3, "last.1": 1},
		"those before are moved on": {".last.old": 2, "last": 3, "last.2": 1},
		"all is done":               {"last": 3, "last.1": 2, "last.2": 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := runSaved(t, 3, 0)
			for folder, step := range there {
				if err := r.SaveCheckpoint("x", checkpointAt(step, 5)); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(r.Path(checkpoints, "x"), r.Path(checkpoints, folder)); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.recover(); err != nil {
				t.Fatal(err)
			}
			want := map[string]int{"last": 3, "last.1": 2, "last.2": 1}
			if name == "before the exchange" {
				want = map[string]int{"last": 2, "last.1": 1, "last.2": 0}
			}
			if got := stepsIn(t, r); !maps.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}

// damages are ways in which a checkpoint's folder goes bad, and what is said.
var damages = []struct {
	name   string
	damage func(folder string) error
	says   string
}{
	{"a bit of the parameters", flip(parametersName, -1), "parameters.safetensors is damaged: its SHA-256 is"},
	{"a bit of the optimizer's header", flip(optimizerName, 20), "optimizer.safetensors is damaged: its SHA-256 is"},
	{"a short file", func(f string) error { return os.Truncate(filepath.Join(f, parametersName), 100) }, "it has 100 bytes, state.json says"},
	{"a file is gone", func(f string) error { return os.Remove(filepath.Join(f, optimizerName)) }, "no such file"},
	{"the state is gone", func(f string) error { return os.Remove(filepath.Join(f, stateName)) }, "its state can't be read"},
	{"the state is torn", func(f string) error { return os.Truncate(filepath.Join(f, stateName), 20) }, "state.json is damaged"},
	{"the state is empty", func(f string) error { return os.Truncate(filepath.Join(f, stateName), 0) }, "state.json is damaged"},
}

// flip changes one bit of a file, counted from its end if at is negative.
func flip(name string, at int) func(folder string) error {
	return func(folder string) error {
		path := filepath.Join(folder, name)
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[(at+len(data))%len(data)] ^= 1
		return os.WriteFile(path, data, 0o666)
	}
}

func TestDamagedCheckpointGivesWayToTheOneBefore(t *testing.T) {
	for _, c := range damages {
		t.Run(c.name, func(t *testing.T) {
			r := runSaved(t, 3, 5)
			for n := range 3 {
				if err := c.damage(r.Path(checkpoints, kept(Last, n))); err != nil {
					t.Fatal(err)
				}
				got, err := r.LoadCheckpoint(Last)
				if n == 2 {
					var fault *CheckpointError
					if !errors.As(err, &fault) || fault.ExitCode() != 3 || strings.Contains(err.Error(), "\n") ||
						!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "last.2: ") || !strings.Contains(err.Error(), "no other is kept") {
						t.Errorf("with none whole: %v", err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				warnings := got.warnings()
				if at(t, got) != 3-n || got.Name != kept(Last, n+1) || len(warnings) != n+1 {
					t.Fatalf("%d damaged: step %d of %s, warnings %q", n+1, at(t, got), got.Name, warnings)
				}
				if w := warnings[n]; !strings.Contains(w, r.Path(checkpoints, kept(Last, n))) || !strings.Contains(w, c.says) ||
					!strings.HasSuffix(w, fmt.Sprintf("; last.%d, of step %d, is taken instead", n+1, 3-n)) {
					t.Errorf("the warning is %q", w)
				}
			}
		})
	}
}

func TestMissingCheckpointGivesWayToTheOneBefore(t *testing.T) {
	r := runSaved(t, 3, 5)
	for _, gone := range []string{Last, "last.1"} {
		if err := os.RemoveAll(r.Path(checkpoints, gone)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := r.LoadCheckpoint(Last)
	if err != nil || c.Name != "last.2" || len(c.warnings()) != 1 || !strings.Contains(c.warnings()[0], "no such file") {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestLastIsUsedWhereNoBestIsWhole(t *testing.T) {
	r := runSaved(t, 2, 3)
	if err := r.SaveCheckpoint(Best, checkpointAt(1, 5)); err != nil {
		t.Fatal(err)
	}
	if c, err := r.loadTrained(); err != nil || c.Name != Best || len(c.Faults) != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := flip(parametersName, -1)(r.Path(checkpoints, Best)); err != nil {
		t.Fatal(err)
	}
	if c, err := r.loadTrained(); err != nil || c.Name != Last || len(c.Faults) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

// Whatever byte of a checkpoint is wrong or missing, it is noticed.
func TestEveryByteOfACheckpointCounts(t *testing.T) {
	r := runSaved(t, 1, 2)
	folder := r.Path(checkpoints, Last)
	for _, name := range []string{stateName, parametersName, optimizerName} {
		whole, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			bad := slices.Clone(whole)
			bad[i] ^= 1 << (i % 8)
			if err := os.WriteFile(filepath.Join(folder, name), bad, 0o666); err != nil {
				t.Fatal(err)
			}
			if _, err := readCheckpoint(folder, true); err == nil {
				t.Fatalf("bit %d of byte %d of %s is wrong, which is not noticed", i%8, i, name)
			}
		}
		for n := range whole {
			if err := os.WriteFile(filepath.Join(folder, name), whole[:n], 0o666); err != nil {
				t.Fatal(err)
			}
			if _, err := readCheckpoint(folder, true); err == nil {
				t.Fatalf("%s with %d of %d bytes is not noticed", name, n, len(whole))
			}
		}
		if err := os.WriteFile(filepath.Join(folder, name), whole, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := readCheckpoint(folder, true); err != nil {
		t.Errorf("put back as it was: %v", err)
	}
}

// A run goes on from the newest checkpoint that is whole and whose log is there;
// those newer are removed, and older ones take their places.
func TestResumingRemovesWhatCantBeGoneOnFrom(t *testing.T) {
	for name, spoil := range map[string]func(*Run) error{
		"damage":    func(r *Run) error { return flip(parametersName, -1)(r.Path(checkpoints, Last)) },
		"log short": func(r *Run) error { return os.Truncate(r.Path(logName), 35) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t)
			r.Config.Checkpoint.Keep = 3
			if err := os.WriteFile(r.Path(logName), []byte(strings.Repeat("012345678\n", 4)), 0o666); err != nil {
				t.Fatal(err)
			}
			for step := range 5 {
				c := checkpointAt(step, 5)
				c.State.LogOffset = int64(10 * step)
				if err := r.SaveCheckpoint(Last, c); err != nil {
					t.Fatal(err)
				}
			}
			if err := spoil(r); err != nil {
				t.Fatal(err)
			}
			l, err := r.OpenLog()
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c, err := r.loadResumable(l)
			if err != nil {
				t.Fatal(err)
			}
			if at(t, c) != 3 || len(c.warnings()) != 1 {
				t.Errorf("step %d, warnings %q", at(t, c), c.warnings())
			}
			if got, want := stepsIn(t, r), map[string]int{"last": 3, "last.1": 2}; !maps.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}
