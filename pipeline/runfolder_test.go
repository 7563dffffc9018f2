package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/atomic"
)

func config(t testing.TB) *configs.Config {
	t.Helper()
	c, err := configs.Load([]string{"vit-tiny"}, []string{"model=m.onnx"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newRun(t testing.TB) *Run {
	t.Helper()
	r, err := CreateRun(filepath.Join(t.TempDir(), "runs", "a"), config(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRunKeepsItsResolvedConfiguration(t *testing.T) {
	r := newRun(t)
	again, err := ReadRun(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Digest(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Digest(again.Config)
	if err != nil || got != want {
		t.Errorf("digest %s (%v), want %s", got, err, want)
	}
	for _, name := range runFolders {
		if st, err := os.Stat(r.Path(name)); err != nil || !st.IsDir() {
			t.Errorf("folder %s: %v", name, err)
		}
	}
}

func TestRunIsNotMadeWhereSomethingLies(t *testing.T) {
	run := newRun(t)
	if err := run.SaveCheckpoint(Last, checkpointAt(1, 5)); err != nil {
		t.Fatal(err)
	}
	run.Close()
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "thesis.tex"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(other, "thesis.tex")
	for dir, want := range map[string]string{run.Dir: "--resume", other: "thesis.tex", file: ""} {
		r, err := CreateRun(dir, config(t))
		if err == nil {
			r.Close()
			t.Fatalf("a run was made in %s", dir)
		}
		var exists *ExistsError
		if dir != file && (!errors.As(err, &exists) || exists.ExitCode() != 2) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %q, want an *ExistsError that says %q", dir, err, want)
		}
	}
}

func TestRunIsMadeWhereAnotherEndedBeforeItsFirstCheckpoint(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(*Run) error
	}{
		{"before config.yaml", func(r *Run) error { return os.Remove(r.Path(configName)) }},
		{"while config.yaml was written", func(r *Run) error { return os.Rename(r.Path(configName), atomic.Temporary(r.Path(configName))) }},
		{"while preparing", func(r *Run) error {
			return errors.Join(os.WriteFile(r.Split("train.csv"), []byte("old"), 0o666), os.WriteFile(r.Path(logName), []byte("old"), 0o666))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := newRun(t)
			if err := c.before(run); err != nil {
				t.Fatal(err)
			}
			if _, err := CreateRun(run.Dir, config(t)); err == nil || !strings.Contains(err.Error(), "in use") {
				t.Fatalf("while the other holds it: %v", err)
			}
			run.Close()
			again, err := CreateRun(run.Dir, config(t))
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			for _, name := range []string{again.Split("train.csv"), again.Path(logName)} {
				if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is still there (%v)", name, err)
				}
			}
		})
	}
}

func TestFolderWithoutARunIsNoRun(t *testing.T) {
	if _, err := OpenRun(t.TempDir()); !errors.Is(err, ErrNoRun) {
		t.Errorf("error %v, want ErrNoRun", err)
	}
}

func TestSecondProcessIsToldWhoHoldsTheRun(t *testing.T) {
	r := newRun(t)
	_, err := OpenRun(r.Dir)
	if err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Fatalf("error %v, want one naming the process", err)
	}
	if _, err := ReadRun(r.Dir); err != nil {
		t.Errorf("reading a run in use: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenRun(r.Dir)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	again.Close()
}
