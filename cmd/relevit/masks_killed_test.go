package main

import (
	"bytes"
	"errors"
	"image/png"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMasksKilledAnywhereGoOnToTheSameBits makes masks of a thousand pictures, of
// which one is unreadable, and kills the process at random moments: what is
// finished is never made again, no PNG is there in part, and in the end all
// files are those of an uninterrupted run. RELEVIT_KILLS and RELEVIT_SEED change
// how often and when.
func TestMasksKilledAnywhereGoOnToTheSameBits(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	const pictures = 1000
	kills, seed := numberFrom(t, "RELEVIT_KILLS", 5), numberFrom(t, "RELEVIT_SEED", int(time.Now().UnixNano()))
	t.Logf("RELEVIT_SEED=%d", seed)
	tried(t, "SIGKILL while masks works", kills)
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	work := newWorkplace(t)
	images := filepath.Join(work, "many", "images")
	broken := filepath.Join(images, "circle", "broken.jpg")
	if err := errors.Join(writePictures(filepath.Join(work, "many"), pictures-1), os.WriteFile(broken, []byte("\xff\xd8\xff no picture"), 0o666)); err != nil {
		t.Fatal(err)
	}
	command := func(out string) []string {
		return []string{"--threads", "1", "masks", "--images", images, "-o", out, "--model", "model.onnx", "--min-confidence", "0"}
	}
	whole, killed := filepath.Join(work, "whole"), filepath.Join(work, "killed")
	out, err := relevit(work, command(whole)...).CombinedOutput()
	said := strings.Split(strings.TrimSpace(string(out)), "\n")
	if last := said[max(0, len(said)-2):]; err != nil || !strings.HasPrefix(last[0], "unreadable: "+broken) || !strings.Contains(last[1], " of 1000 pictures have masks in ") {
		t.Fatalf("%v, and the last lines are %q", err, last)
	}
	finished := map[string]fs.FileInfo{}
	for k := 0; k < kills; {
		lines := bytes.Count(recordsOf(t, killed), []byte("\n")) + rng.IntN(pictures/kills)
		m := moment{"making masks", func(*watched) bool { return bytes.Count(recordsOf(t, killed), []byte("\n")) > lines }, 20 * time.Millisecond}
		if k == 0 {
			m = atOnce
		}
		if !killAt(t, work, command(killed), nil, m, time.Duration(rng.Int64N(int64(m.after)))) {
			clear(finished) // all is done, so it begins anew
			if err := os.RemoveAll(killed); err != nil {
				t.Fatal(err)
			}
			continue
		}
		k++
		wholePNGs(t, killed)
		for name, before := range finished {
			sameFile(t, filepath.Join(killed, name), before)
		}
		records := recordsOf(t, killed)
		for _, line := range bytes.SplitAfter(records, []byte("\n")) {
			if _, rest, ok := bytes.Cut(line, []byte(`"mask":"`)); ok && bytes.HasSuffix(line, []byte("\n")) {
				name, _, _ := bytes.Cut(rest, []byte(`"`))
				if finished[string(name)], err = os.Stat(filepath.Join(killed, string(name))); err != nil {
					t.Fatalf("recorded, and not there: %v", err)
				}
			}
		}
		t.Logf("kill %d: %d lines, %d masks finished", k, bytes.Count(records, []byte("\n")), len(finished))
	}
	mustRun(t, work, command(killed)...)
	for name, before := range finished {
		sameFile(t, filepath.Join(killed, name), before)
	}
	if a, b := filesIn(t, whole), filesIn(t, killed); !slices.Equal(a, b) {
		t.Fatalf("%d files, want %d", len(b), len(a))
	}
	for _, name := range filesIn(t, whole) {
		want, got := read(t, whole, name), read(t, killed, name)
		if name == "masks.jsonl" { // in the order in which masks were finished
			want, got = sortedLines(want), sortedLines(got)
		}
		if !bytes.Equal(want, got) {
			t.Errorf("%s differs from the uninterrupted run's", name)
		}
	}
}

// recordsOf reads masks.jsonl as far as it is written, empty where there is none.
func recordsOf(t *testing.T, dir string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "masks.jsonl"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return text
}

// wholePNGs decodes what lies under its final name.
func wholePNGs(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		return
	}
	for _, name := range filesIn(t, dir) {
		if filepath.Ext(name) != ".png" {
			continue
		}
		if _, err := png.Decode(bytes.NewReader(read(t, dir, name))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sameFile(t *testing.T, path string, before fs.FileInfo) {
	t.Helper()
	now, err := os.Stat(path)
	if err != nil || !os.SameFile(before, now) || !now.ModTime().Equal(before.ModTime()) {
		t.Errorf("%s was made again (%v)", path, err)
	}
}

func sortedLines(text []byte) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	slices.SortFunc(lines, bytes.Compare)
	return bytes.Join(lines, nil)
}
