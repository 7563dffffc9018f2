package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSecondInterruptWhileTrainingLeavesARunToResume sends two signals at once,
// at several moments: whichever of saving and dying comes first, what is there
// is whole.
func TestSecondInterruptWhileTrainingLeavesARunToResume(t *testing.T) {
	tried(t, "SIGINT twice", 3)
	work := newWorkplace(t)
	whole, run := filepath.Join(work, "whole"), filepath.Join(work, "run")
	args := func(dir string) []string {
		return []string{"--threads", "1", "finetune", "-c", "c.yaml", "--resume", "-o", dir}
	}
	mustRun(t, work, args(whole)...)
	before := map[string]bool{}
	for _, lines := range []int{3, 12, 25} {
		cmd := struck(t, func() *exec.Cmd { return relevit(work, args(run)...) }, run, run, lines, func(cmd *exec.Cmd) {
			cmd.Process.Signal(os.Interrupt)
			time.Sleep(2 * time.Millisecond)
			cmd.Process.Signal(os.Interrupt)
		})
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if status.Signal() != syscall.SIGINT && status.ExitStatus() != interrupted {
			t.Errorf("it ended with %v", cmd.ProcessState)
		}
		checkCheckpoints(t, run, before)
	}
	mustRun(t, work, args(run)...)
	sameRuns(t, whole, run)
}

// TestIgnoredSignalsStayIgnored starts a run by nohup, and by a shell that
// ignores SIGINT.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	work := newWorkplace(t)
	for name, s := range map[string]syscall.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT} {
		run := filepath.Join(work, name)
		cmd := relevit(work)
		cmd.Args = []string{"sh", "-c", fmt.Sprintf("trap '' %s; exec %s --threads 1 finetune -c c.yaml --set steps=12 -o %s", name, cmd.Path, run)}
		cmd.Path = "/bin/sh"
		cmd.Stderr = io.Discard
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, &watched{dir: run}, 3)
		cmd.Process.Signal(s)
		if err := cmd.Wait(); err != nil || (&watched{dir: run}).logged() != 15 { // start, 12 steps, 2 epochs
			t.Errorf("%v: it ended with %v after %d lines", s, err, (&watched{dir: run}).logged())
		}
	}
}

// TestClosedTerminalSavesTheRun closes the other end of the terminal that a run
// was started in.
func TestClosedTerminalSavesTheRun(t *testing.T) {
	tried(t, "the terminal is closed", 1)
	work := newWorkplace(t)
	run := filepath.Join(work, "run")
	var screen *os.File
	begin := func() *exec.Cmd {
		var terminal *os.File
		screen, terminal = newTerminal(t)
		cmd := relevit(work, "--threads", "1", "finetune", "-c", "c.yaml", "--set", "checkpoint.every_steps=0", "-o", run)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		return cmd
	}
	cmd := struck(t, begin, run, run, 5, func(cmd *exec.Cmd) {
		cmd.Stdin.(*os.File).Close()
		screen.Close()
	})
	if code := cmd.ProcessState.ExitCode(); code != interrupted {
		t.Errorf("it ended with %v, want exit code %d", cmd.ProcessState, interrupted)
	}
	mark := read(t, run, "checkpoints", "last", "state.json")
	if offset := fmt.Sprintf(`"log_offset": %d,`, len(read(t, run, "log.jsonl"))); !bytes.Contains(mark, []byte(offset)) {
		t.Errorf("the checkpoint is not of the log's end, %s\n%s", offset, mark)
	}
}

// newTerminal makes a terminal, and what it is seen on.
func newTerminal(t *testing.T) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("needs a terminal: %v", err)
	}
	var number int
	if err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err == nil {
		number, err = unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		screen.Close()
		t.Skipf("needs a terminal: %v", err)
	}
	return screen, terminal
}

// TestClosedPipes has nobody read what a command says: messages are dropped and
// the work is done; a result that nobody reads ends it like any Unix tool, by
// SIGPIPE.
func TestClosedPipes(t *testing.T) {
	tried(t, "standard output or error is closed", 2)
	work := newWorkplace(t)
	closed := func() *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		return w
	}
	cmd := relevit(work, "--json", "finetune", "-c", "c.yaml", "--set", "steps=3", "-o", "run")
	w := closed()
	defer w.Close()
	cmd.Stderr = w
	if out, err := cmd.Output(); err != nil || !bytes.Contains(out, []byte(`"steps": 3`)) {
		t.Errorf("without messages: %v\n%s", err, out)
	}
	cmd = relevit(work, "inspect", "model.onnx")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &said
	cmd.Run()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGPIPE || said.Len() > 0 {
		t.Errorf("without a reader it ended with %v and said %q", cmd.ProcessState, &said)
	}
}

// TestResultThatCannotBePrintedIsAnError prints to a full device.
func TestResultThatCannotBePrintedIsAnError(t *testing.T) {
	tried(t, "standard output is a full device", 4)
	dir := t.TempDir()
	if err := makeFixtures(dir); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		untried.Store("/dev/full")
		t.Skip(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"inspect", "model.onnx"}, {"inspect", "--json", "model.onnx"}, {"--json", "inspect", "nowhere.onnx"}, {"--help"}} {
		cmd := relevit(dir, args...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &said
		cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code == done || strings.Count(said.String(), "relevit: ") != 1 || !strings.HasPrefix(said.String(), "relevit: ") {
			t.Errorf("%v: exit code %d; it said\n%s", args, code, &said)
		}
		if args[0] != "--json" {
			isOnPage(t, said.String(), cmd.ProcessState.ExitCode())
		}
	}
}
