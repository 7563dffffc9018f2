package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/relevit/relevit/pipeline/report/reporttest"
)

// pages checks that a command's JSON repeats every figure of the page that it
// writes: pages FILE.html COMMAND ...
func pages(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: pages FILE.html COMMAND ...")
	}
	ts.Check(ts.Exec(args[1], args[2:]...))
	text := []byte(ts.ReadFile("stdout"))
	var of struct{ Page json.RawMessage }
	ts.Check(json.Unmarshal(text, &of))
	if of.Page != nil {
		text = of.Page
	}
	n, err := reporttest.Repeats([]byte(ts.ReadFile(args[0])), text)
	ts.Check(err)
	if n < 5 {
		ts.Fatalf("%s shows %d figures", args[0], n)
	}
}

// TestKilledBatchEndsAsAnUninterruptedOne kills a batch of three in its second
// run, and stops it by Ctrl-C in its third.
func TestKilledBatchEndsAsAnUninterruptedOne(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	tried(t, "SIGKILL and SIGINT while a batch works", 2)
	work := newWorkplace(t)
	for i, name := range []string{"a", "b", "c"} {
		config := bytes.ReplaceAll(read(t, work, "c.yaml"), []byte("steps: 44"), fmt.Appendf(nil, "steps: 16, seed: %d", i))
		if err := os.WriteFile(filepath.Join(work, name+".yaml"), config, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	whole, killed := filepath.Join(work, "whole"), filepath.Join(work, "killed")
	args := func(batch string) []string {
		return []string{"--threads", "1", "finetune", "-c", "a.yaml", "-c", "b.yaml", "-c", "c.yaml", "-o", batch}
	}
	mustRun(t, work, args(whole)...)

	struck(t, func() *exec.Cmd { return relevit(work, args(killed)...) }, killed, filepath.Join(killed, "b"), 7, func(cmd *exec.Cmd) { cmd.Process.Kill() })
	if (&watched{dir: killed}).has("c") || (&watched{dir: killed}).has("compare.json") {
		t.Fatal("it was not killed in its second run")
	}
	finished := modified(t, killed, "a", "results.json")

	resume := []string{"--threads", "1", "finetune", "--resume", "-o", killed}
	var heard bytes.Buffer
	cmd := struck(t, func() *exec.Cmd {
		heard.Reset()
		cmd := relevit(work, resume...)
		cmd.Stderr = &heard
		return cmd
	}, killed, filepath.Join(killed, "c"), 5, func(cmd *exec.Cmd) { cmd.Process.Signal(os.Interrupt) })
	code, said := cmd.ProcessState.ExitCode(), heard.Bytes()
	if code != interrupted || !bytes.Contains(said, []byte("Run 1 of 3, a, is finished")) || !bytes.Contains(said, []byte("--resume")) || (&watched{dir: killed}).has("compare.json") {
		t.Fatalf("interrupted in its third run: exit code %d, it said\n%s", code, said)
	}
	mustRun(t, work, resume...)
	if !modified(t, killed, "a", "results.json").Equal(finished) {
		t.Error("the finished run was made again")
	}
	for _, run := range []string{"a", "b", "c"} {
		sameRuns(t, filepath.Join(whole, run), filepath.Join(killed, run))
	}
	if diff := cmp.Diff(summary(t, whole), summary(t, killed)); diff != "" {
		t.Errorf("compare.json (-uninterrupted +killed)\n%s", diff)
	}
	if !bytes.Equal(read(t, whole, "batch.yaml"), read(t, killed, "batch.yaml")) {
		t.Error("batch.yaml differs")
	}
}

func modified(t *testing.T, parts ...string) time.Time {
	t.Helper()
	st, err := os.Stat(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return st.ModTime()
}

// summary is a batch's compare.json without how long things took.
func summary(t *testing.T, batch string) map[string]any {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal(read(t, batch, "compare.json"), &s); err != nil {
		t.Fatal(err)
	}
	runs := s["runs"].([]any)
	if len(runs) != 3 {
		t.Fatalf("%d runs", len(runs))
	}
	for _, r := range runs {
		if took := r.(map[string]any)["seconds"]; took.(float64) <= 0 {
			t.Errorf("a run took %v seconds", took)
		}
		delete(r.(map[string]any), "seconds")
	}
	table := s["page"].(map[string]any)["sections"].([]any)[0].(map[string]any)["tables"].([]any)[0].(map[string]any)
	columns := table["columns"].([]any)
	if columns[len(columns)-1] != "Seconds" {
		t.Fatalf("the last column is %v", columns[len(columns)-1])
	}
	for i, row := range table["rows"].([]any) {
		cells := row.([]any)
		table["rows"].([]any)[i] = cells[:len(cells)-1]
	}
	return s
}
