package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// written is a command that writes into a folder, which stands as OUT in its
// arguments.
type written struct {
	name  string
	args  string
	again string // how it is run after a fault; empty: the same
	old   string // a file that it replaces
	timed string // files that hold times, separated by spaces
	runs  string // run folders, separated by spaces
}

var writing = []written{
	{name: "finetune", args: "--threads 1 finetune -c c.yaml --set steps=2 --resume -o OUT/run", runs: "run"},
	{name: "batch of runs", args: "--threads 1 finetune -c c.yaml --set steps=1 --set sweep.seed=[0,1] --resume -o OUT/runs", runs: "runs/seed-0 runs/seed-1", timed: "compare.json compare.html commands.jsonl"},
	{name: "masks", args: "--threads 1 masks --images few -o OUT/masks --model model.onnx --min-confidence 0"},
	{name: "convert", args: "convert weights.safetensors -o OUT/x.onnx", again: "convert weights.safetensors -o OUT/x.onnx --force"},
	{name: "convert with data outside", args: "convert weights.safetensors --external-data -o OUT/x.onnx --force", old: "x.onnx"},
	{name: "export", args: "export run -o OUT/x.onnx", again: "export run -o OUT/x.onnx --force"},
	{name: "export over a file", args: "export run -o OUT/x.onnx --force", old: "x.onnx"},
	{name: "export as another graph", args: "export run -o OUT/x.onnx --with-relevance --precision fp16 --force", old: "x.onnx"},
	{name: "export as safetensors", args: "export run -o OUT/x.safetensors --force", old: "x.safetensors"},
	{name: "export as pth", args: "export run -o OUT/x.pth --force", old: "x.pth"},
	{name: "export as a folder", args: "export run -o OUT/x --format hf", again: "export run -o OUT/x --format hf --force"},
	{name: "explain", args: "explain -m model.onnx few -o OUT/maps", again: "explain -m model.onnx few -o OUT/maps --force", timed: "explain.json"},
	{name: "evaluate", args: "evaluate -m model.onnx --data few --classes classes.tsv --csv OUT/x.csv -o OUT/x.json", again: "evaluate -m model.onnx --data few --classes classes.tsv --csv OUT/x.csv -o OUT/x.json --force", timed: "x.json"},
	{name: "report", args: "report run -o OUT/x.html --force", old: "x.html"},
	{name: "trace", args: "trace -m model.onnx --inputs plain/batch.safetensors -o OUT/x.safetensors"},
}

// TestEveryWriteMayFail has one operation after the other fail that a command
// makes in the folder where it writes: by an error of the disk, by a full or a
// read-only one from then on. The command ends with one error that tells; under
// no final name is half a file, what was there is whole, and the command, given
// again, ends at the same bits. RELEVIT_SWEEP is how many operations of each
// command are tried; RELEVIT_SEED chooses them.
func TestEveryWriteMayFail(t *testing.T) {
	if testing.Short() {
		t.Skip("runs commands for seconds")
	}
	seed := sweepSeed(t)
	work := sweepWorkplace(t)
	for i, w := range writing {
		t.Run(w.name, func(t *testing.T) {
			sweepWrites(t, work, w, rand.New(rand.NewPCG(uint64(seed), uint64(i))))
		})
	}
}

// sweepSeed chooses operations at random where many are tried; where few are, they
// are always the same.
func sweepSeed(t *testing.T) int {
	t.Helper()
	seed := 1
	if os.Getenv("RELEVIT_SWEEP") != "" {
		seed = int(time.Now().UnixNano())
	}
	seed = numberFrom(t, "RELEVIT_SEED", seed)
	t.Logf("RELEVIT_SEED=%d", seed)
	return seed
}

// sweepWorkplace has everything that the commands read.
func sweepWorkplace(t *testing.T) string {
	t.Helper()
	work := newWorkplace(t)
	for _, name := range []string{"circle/00000.png", "star/00005.png"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(work, "few", filepath.Dir(name)), 0o777), os.Link(filepath.Join(work, "data/images", name), filepath.Join(work, "few", name))); err != nil {
			t.Fatal(err)
		}
	}
	plain := filepath.Join(work, "plain")
	if err := errors.Join(os.Mkdir(plain, 0o777), makeFixtures(plain)); err != nil {
		t.Fatal(err)
	}
	classes := "0\tcircle\tcircle\n4\tstar\tstar\n"
	if err := os.WriteFile(filepath.Join(work, "classes.tsv"), []byte(classes), 0o666); err != nil {
		t.Fatal(err)
	}
	mustRun(t, work, "finetune", "-c", "c.yaml", "--set", "steps=1", "-o", "run")
	return work
}

// disks are how a disk fails.
var disks = []struct {
	name  string
	errno syscall.Errno
	stays bool
}{
	{"input/output error", syscall.EIO, false},
	{"no space left on device", syscall.ENOSPC, true},
	{"read-only file system", syscall.EROFS, true},
}

func sweepWrites(t *testing.T, work string, w written, rng *rand.Rand) {
	start := func(out string) {
		t.Helper()
		err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o777))
		if err == nil && w.old != "" {
			err = os.WriteFile(filepath.Join(out, w.old), []byte("what was there"), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	args := func(text, out string) []string { return strings.Fields(strings.ReplaceAll(text, "OUT", out)) }
	whole, out := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "out")
	start(whole)
	total := 0
	cmd := relevit(work, args(w.args, whole)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	supervised(t, cmd, func(op operation) answer {
		if op.changes() && op.within(whole) {
			total++
		}
		return answer{}
	})
	if !cmd.ProcessState.Success() {
		t.Fatalf("without a fault: %v\n%s", cmd.ProcessState, &said)
	}
	var points []int
	for n := range len(disks) * total {
		points = append(points, n)
	}
	rng.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	points = points[:min(len(points), numberFrom(t, "RELEVIT_SWEEP", 1))]
	tried(t, "EIO, ENOSPC, short write, EROFS in any call: "+w.name, len(points))
	harmless := 0
	for _, point := range points {
		n, disk := point/len(disks), disks[point%len(disks)]
		start(out)
		at, ill, short := 0, operation{}, false
		cmd := relevit(work, args(w.args, out)...)
		said.Reset()
		cmd.Stderr = &said
		supervised(t, cmd, func(op operation) answer {
			if !op.changes() || !op.within(out) {
				return answer{}
			}
			at++
			switch {
			case at == n+1:
				ill = op
				if op.call == "write" && disk.errno == syscall.ENOSPC && op.bytes > 1 {
					short = true
					return answer{short: true}
				}
			case at <= n || !disk.stays && !short:
				return answer{}
			}
			short = false
			if disk.errno == syscall.ENOSPC && !slices.Contains([]string{"open", "write", "mkdir"}, op.call) {
				return answer{} // needs no space
			}
			return answer{errno: disk.errno}
		})
		where := fmt.Sprintf("%s at operation %d of %d, %v", disk.name, n+1, total, ill)
		if cmd.ProcessState.Success() {
			harmless++
			t.Logf("%s: it does no harm", where)
		} else {
			w.checkError(t, where, cmd.ProcessState.ExitCode(), said.String(), disk.name, out)
			w.checkRest(t, where, whole, out)
			again := w.args
			if w.again != "" {
				again = w.again
			}
			if text, err := relevit(work, args(again, out)...).CombinedOutput(); err != nil {
				t.Fatalf("%s: again: %v\n%s", where, err, text)
			}
		}
		w.checkWhole(t, where, whole, out, ill.call == "remove" || disk.errno == syscall.EROFS)
		if t.Failed() {
			t.Fatalf("%s: it had said\n%s", where, &said)
		}
	}
	t.Logf("%d of %d faults tried, %d did no harm", len(points), len(disks)*total, harmless)
}

// checkError checks that a command said what failed, and where.
func (w written) checkError(t *testing.T, where string, code int, said, name, out string) {
	t.Helper()
	if code != failed || strings.Count(said, "relevit: ") != 1 || !strings.Contains(said, name) || !strings.Contains(said, out) {
		t.Errorf("%s: exit code %d; it said\n%s", where, code, said)
	}
	isOnPage(t, said, failed)
}

// checkRest checks what is left after a fault: of what has its final name
// everything is whole, new or as it was.
func (w written) checkRest(t *testing.T, where, whole, out string) {
	t.Helper()
	for run := range strings.FieldsSeq(w.runs) {
		checkCheckpoints(t, filepath.Join(out, run), map[string]bool{})
	}
	for _, name := range filesIn(t, out) {
		base := filepath.Base(name)
		if strings.HasPrefix(name, ".") || strings.Contains(name, "/.") || w.isTimed(base) || w.inRun(name) || strings.HasSuffix(base, ".jsonl") || strings.HasSuffix(base, ".progress") {
			continue
		}
		got := read(t, out, name)
		want, err := os.ReadFile(filepath.Join(whole, name))
		if name == w.old && string(got) == "what was there" || err == nil && bytes.Equal(got, want) {
			continue
		}
		t.Errorf("%s: %s has %d bytes, and is neither what it was nor what it is to be", where, name, len(got))
	}
}

// checkWhole checks that everything is there as without a fault.
func (w written) checkWhole(t *testing.T, where, whole, out string, leftovers bool) {
	t.Helper()
	for run := range strings.FieldsSeq(w.runs) {
		sameRuns(t, filepath.Join(whole, run), filepath.Join(out, run))
	}
	hidden := func(name string) bool { // what couldn't be removed
		return leftovers && (strings.HasPrefix(name, ".") || strings.Contains(name, "/.") || strings.HasSuffix(name, ".progress"))
	}
	if second := "x.onnx.2.data"; (&watched{dir: out}).has(second) { // where the first name was taken by then
		if !bytes.Equal(read(t, out, second), read(t, whole, "x.onnx.data")) {
			t.Errorf("%s: in the end %s differs", where, second)
		}
		return
	}
	want, got := slices.DeleteFunc(filesIn(t, whole), w.inRun), slices.DeleteFunc(slices.DeleteFunc(filesIn(t, out), hidden), w.inRun)
	if !slices.Equal(want, got) {
		t.Errorf("%s: in the end there are\n%v, want\n%v", where, got, want)
		return
	}
	for _, name := range want {
		a, b := read(t, whole, name), read(t, out, name)
		if name == "masks/masks.jsonl" { // in the order in which masks were finished
			a, b = sortedLines(a), sortedLines(b)
		}
		if !w.isTimed(filepath.Base(name)) && !bytes.Equal(a, b) {
			t.Errorf("%s: in the end %s differs", where, name)
		}
	}
}

// inRun reports whether a file belongs to a run, which are compared as a whole.
func (w written) inRun(name string) bool {
	return slices.ContainsFunc(strings.Fields(w.runs), func(run string) bool { return strings.HasPrefix(name, run+"/") })
}

func (w written) isTimed(name string) bool { return slices.Contains(strings.Fields(w.timed), name) }
