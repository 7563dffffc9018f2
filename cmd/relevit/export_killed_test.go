package main

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExportKilledAnywhereLeavesAllOrNothing kills exports at random moments, of
// those that write a new file and of those that replace one: under the final
// name is nothing, the file before, or the whole new one, and the next export
// ends in the same bytes. RELEVIT_KILLS and RELEVIT_SEED change how often and
// when.
func TestExportKilledAnywhereLeavesAllOrNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	kills, seed := numberFrom(t, "RELEVIT_KILLS", 5), numberFrom(t, "RELEVIT_SEED", int(time.Now().UnixNano()))
	t.Logf("RELEVIT_SEED=%d", seed)
	tried(t, "SIGKILL while export works", kills)
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	work := newWorkplace(t)
	mustRun(t, work, "finetune", "-c", "c.yaml", "--set", "steps=2", "-o", "run")
	began := time.Now()
	mustRun(t, work, "export", "run", "-o", "whole.onnx")
	took, late := time.Since(began), 0
	whole, old := read(t, work, "whole.onnx"), []byte("an older model")
	for killed := 0; killed < kills; {
		replace := killed%2 == 1
		if err := os.Remove(filepath.Join(work, "x.onnx")); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		args := []string{"export", "run", "-o", "x.onnx"}
		if replace {
			args = append(args, "--force")
			if err := os.WriteFile(filepath.Join(work, "x.onnx"), old, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		m := moment{"exporting", func(*watched) bool { return true }, took}
		if killAt(t, work, args, nil, m, time.Duration(rng.Int64N(int64(took)))) {
			killed++
		} else {
			took, late = max(took*19/20, 1), late+1 // this one was quicker
		}
		got, err := os.ReadFile(filepath.Join(work, "x.onnx"))
		switch {
		case err != nil && (replace || !os.IsNotExist(err)):
			t.Errorf("kill %d: %v", killed, err)
		case err == nil && !bytes.Equal(got, whole) && !(replace && bytes.Equal(got, old)):
			t.Errorf("kill %d: x.onnx has %d bytes and is neither the file before nor the new one", killed, len(got))
		}
	}
	t.Logf("%d exports were killed before their end, %d of them with a file half-written; %d kills came too late", kills, unfinished(t, work), late)
	mustRun(t, work, "export", "run", "-o", "x.onnx", "--force")
	if !bytes.Equal(read(t, work, "x.onnx"), whole) {
		t.Error("after the kills an export ends in other bytes")
	}
}

// unfinished counts temporary files below a folder.
func unfinished(t *testing.T, dir string) (n int) {
	t.Helper()
	entries, err := fs.ReadDir(os.DirFS(dir), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") || strings.HasPrefix(e.Name(), ".") {
			n++
		}
	}
	return n
}
