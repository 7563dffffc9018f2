package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// reading are commands that read in the folder where they work; OUT is where
// they write.
var reading = []struct {
	name, args string
	run        bool // OUT is a run, begun before, that is to end at the same bits
}{
	{name: "finetune", args: "--threads 1 finetune -c c.yaml --set steps=1 -o OUT"},
	{name: "finetune --resume", args: "--threads 1 finetune --resume -o OUT", run: true},
	{name: "masks", args: "--threads 1 masks --images few -o OUT --model model.onnx --min-confidence 0"},
	{name: "convert", args: "convert weights.safetensors -o OUT"},
	{name: "export", args: "export run -o OUT.onnx --force"},
	{name: "explain", args: "explain -m model.onnx few -o OUT"},
	{name: "evaluate", args: "evaluate -m model.onnx --data few --classes classes.tsv -o OUT"},
	{name: "verify", args: "verify run"},
	{name: "report", args: "report run -o OUT"},
	{name: "trace", args: "trace -m model.onnx --inputs plain/batch.safetensors -o OUT"},
	{name: "inspect", args: "inspect model.onnx"},
	{name: "check", args: "check run"},
}

// rates are what a command says of how long it took.
var rates = regexp.MustCompile(`[0-9.]+ (s|a second)\b`)

// tidied matches folders of old checkpoints that are read only to be removed.
var tidied = regexp.MustCompile(`/\.[^/]+\.(old|gone)(/|$)`)

// TestEveryReadMayFail has one file or folder after the other fail to be opened
// or read, as on a disk that is broken there: the command names the file in one error, or does without it and
// says so. RELEVIT_SWEEP and RELEVIT_SEED as above.
func TestEveryReadMayFail(t *testing.T) {
	if testing.Short() {
		t.Skip("runs commands for seconds")
	}
	seed := sweepSeed(t)
	work := sweepWorkplace(t)
	begun, uninterrupted := filepath.Join(work, "begun"), filepath.Join(work, "whole")
	resume := []string{"--threads", "1", "finetune", "-c", "c.yaml", "--set", "steps=14", "-o"}
	mustRun(t, work, append(resume, uninterrupted)...)
	if code, said := signalAt(t, work, append(resume, begun), begun, 5, os.Interrupt); code != interrupted {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	for i, c := range reading {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
			out := filepath.Join(t.TempDir(), "out")
			start := func() {
				err := os.RemoveAll(out)
				if err == nil && c.run {
					err = os.CopyFS(out, os.DirFS(begun))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			run := func(decide func(operation) answer) (code int, said string) {
				start()
				cmd := relevit(work, strings.Fields(strings.ReplaceAll(c.args, "OUT", out))...)
				var text bytes.Buffer
				cmd.Stdout, cmd.Stderr = &text, &text
				supervised(t, cmd, func(op operation) answer {
					if op.changes() || op.call == "stat" || !op.within(work) && !(c.run && op.within(out)) {
						return answer{}
					}
					return decide(op)
				})
				return cmd.ProcessState.ExitCode(), text.String()
			}
			var points []operation
			seen := map[operation]bool{}
			code, whole := run(func(op operation) answer {
				op.bytes = 0
				if !seen[op] && !tidied.MatchString(op.path) {
					seen[op] = true
					points = append(points, op)
				}
				return answer{}
			})
			if code != done {
				t.Fatalf("without a fault: exit code %d\n%s", code, whole)
			}
			rng.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
			all := len(points)
			points = points[:min(all, numberFrom(t, "RELEVIT_SWEEP", 1))]
			tried(t, "EIO while reading: "+c.name, len(points))
			for _, point := range points {
				hit := false
				code, said := run(func(op operation) answer {
					op.bytes = 0
					if op != point {
						return answer{}
					}
					hit = true
					return answer{errno: syscall.EIO}
				})
				name := filepath.Base(point.path)
				switch {
				case !hit, code == done && rates.ReplaceAllString(said, "") == rates.ReplaceAllString(whole, ""):
					t.Logf("%v: it does no harm", point)
				case code == done && !(strings.Contains(said, name+": input/output error") || strings.Contains(said, "warning: ") && strings.Contains(said, name)):
					t.Errorf("%v: nothing was said of it:\n%s", point, said)
				case code == done:
				case code != badInput || strings.Count(said, "relevit: ") != 1 || !strings.Contains(said, name) || !strings.Contains(said, "input/output error"):
					t.Errorf("%v: exit code %d; it said\n%s", point, code, said)
				default:
					isOnPage(t, said, code)
				}
				if !c.run {
					continue
				}
				again := code != done
				if !again && strings.Contains(point.path, "/checkpoints/best/") { // then what it measured is of the one before
					again = true
					if err := os.Remove(filepath.Join(out, "results.json")); err != nil {
						t.Fatal(err)
					}
				}
				if again {
					mustRun(t, work, strings.Fields(strings.ReplaceAll(c.args, "OUT", out))...)
				}
				sameRuns(t, uninterrupted, out)
				if t.Failed() {
					t.Fatal(point)
				}
			}
			t.Logf("%d of %d readings tried", len(points), all)
		})
	}
}
