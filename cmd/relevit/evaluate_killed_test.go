package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// evaluating is a command that evaluates pictures in many, two at once, and writes
// files of that name, in a workplace of its own.
func evaluating(t *testing.T, pictures int) (work string, command func(name string) []string) {
	t.Helper()
	work = newWorkplace(t)
	var classes strings.Builder
	for i, name := range []string{"circle", "cross", "ring", "square", "star", "triangle"} {
		fmt.Fprintf(&classes, "%d\t%s\t%s\n", i, name, name)
	}
	if err := errors.Join(writePictures(filepath.Join(work, "many"), pictures), os.WriteFile(filepath.Join(work, "classes.tsv"), []byte(classes.String()), 0o666)); err != nil {
		t.Fatal(err)
	}
	return work, func(name string) []string {
		return []string{"--threads", "1", "evaluate", "-m", "model.onnx", "--data", "many/images", "--masks", "many/masks", "--classes", "classes.tsv", "--batch", "2", "-o", name + ".json", "--csv", name + ".csv"}
	}
}

// batchesIn counts the lines of an evaluation's file of progress.
func batchesIn(t *testing.T, work, name string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(work, name+".json.progress"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}

func TestInterruptedEvaluationSaysHowFarItCame(t *testing.T) {
	work, command := evaluating(t, 200)
	if err := os.WriteFile(filepath.Join(work, "x.json.progress"), []byte("my notes\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	refused := relevit(work, command("x")...)
	said, _ := refused.CombinedOutput()
	isOnPage(t, string(said), refused.ProcessState.ExitCode())
	for range 5 { // it may be done before the signal comes
		cmd := relevit(work, append(command("x"), "--force")...)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); batchesIn(t, work, "x") < 2 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code == interrupted {
			isOnPage(t, said.String(), interrupted)
			mustRun(t, work, command("x")...)
			return
		} else if code != done {
			t.Fatalf("exit code %d\n%s", code, &said)
		}
	}
	t.Error("it was done each time before the signal came")
}

// TestEvaluateKilledAnywhereGoesOnToTheSameNumbers kills an evaluation of a
// hundred batches again and again (RELEVIT_KILLS times): at its end it has
// measured what an uninterrupted one does, to the last digit, and has begun anew
// at no time.
func TestEvaluateKilledAnywhereGoesOnToTheSameNumbers(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	const pictures, batches = 200, 100
	kills, seed := numberFrom(t, "RELEVIT_KILLS", 4), numberFrom(t, "RELEVIT_SEED", int(time.Now().UnixNano()))
	t.Logf("RELEVIT_SEED=%d", seed)
	tried(t, "SIGKILL while evaluate works", kills)
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	work, command := evaluating(t, pictures)
	mustRun(t, work, command("whole")...)
	kept := func() int { return batchesIn(t, work, "killed") }
	for k := 0; k < kills; {
		lines := kept() + rng.IntN(2*batches/kills)
		m := moment{"evaluating", func(*watched) bool { return kept() > lines }, 5 * time.Millisecond}
		if k == 0 {
			m = atOnce
		}
		if !killAt(t, work, command("killed"), nil, m, time.Duration(rng.Int64N(int64(m.after)))) {
			for _, name := range []string{"killed.json", "killed.csv"} { // all is done, so it begins anew
				if err := os.Remove(filepath.Join(work, name)); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		k++
		if now := kept(); now < lines && m.name != atOnce.name {
			t.Fatalf("kill %d: %d batches are kept, and there were %d", k, now, lines)
		}
		for _, name := range []string{"killed.json", "killed.csv"} {
			if data, err := os.ReadFile(filepath.Join(work, name)); err == nil && !bytes.HasSuffix(data, []byte("\n")) {
				t.Errorf("kill %d: %s is there in part", k, name)
			}
		}
		t.Logf("kill %d: %d batches are kept", k, kept())
	}
	other := relevit(work, append(command("killed"), "--seed", "9")...)
	if said, _ := other.CombinedOutput(); kept() > 1 && other.ProcessState.ExitCode() != usage {
		t.Errorf("another evaluation into the same file: exit code %d\n%s", other.ProcessState.ExitCode(), said)
	} else if kept() > 1 {
		isOnPage(t, string(said), usage)
	}
	mustRun(t, work, append(command("killed"), "--force")...)
	for _, name := range []string{"json", "csv"} {
		if a, b := measuredIn(t, work, "whole."+name), measuredIn(t, work, "killed."+name); a != b {
			t.Errorf("%s differs from the uninterrupted evaluation's:\n%s\nwant\n%s", name, b, a)
		}
	}
	left, err := filepath.Glob(filepath.Join(work, "*killed*"))
	if hidden, err2 := filepath.Glob(filepath.Join(work, ".*killed*")); err != nil || err2 != nil || len(left)+len(hidden) != 2 {
		t.Errorf("%v %v are there at the end", left, hidden)
	}
}

// measuredIn is what an evaluation wrote into a file, without what it took.
func measuredIn(t *testing.T, work, name string) string {
	t.Helper()
	data := read(t, work, name)
	if !strings.HasSuffix(name, ".json") {
		return string(data)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "seconds")
	delete(fields, "images_per_second")
	text, err := json.MarshalIndent(fields, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
