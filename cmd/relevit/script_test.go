package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/relevit/relevit/onnx/ort"
)

var update = flag.Bool("update", false, "rewrite the golden texts in testdata/script")

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "relevit" {
		heed(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	}
	testscript.Main(wholePage{m}, map[string]func(){"relevit": mainUnderTest})
}

// heed has the commands that tests start get signals that the tests themselves
// are told to ignore, by nohup say: one that is caught is neither caught nor
// ignored by another program.
func heed(signals ...os.Signal) {
	for _, s := range signals {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// TestScripts runs the command lines in testdata/script. The condition
// [runtime] holds where ONNX Runtime is installed.
func TestScripts(t *testing.T) {
	library, err := ort.Locate("")
	if err != nil {
		t.Logf("scripts that need ONNX Runtime are skipped: %v", err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("RELEVIT_RUNTIME", library)
			env.Setenv("RELEVIT_CACHE", env.WorkDir+"/cache")
			return nil
		},
		Condition: func(cond string) (bool, error) { return cond == "runtime" && library != "", nil },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "fixtures": fixtures, "cut": cut, "hidden": hidden, "alike": alike, "pages": pages,
		},
	})
}

// exits runs a command that must exit with the given code:
//
//	exits 2 relevit convert
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ...")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v: %v", args[1:], err)
		}
		got = strconv.Itoa(exit.ExitCode())
	}
	if got != args[0] {
		ts.Fatalf("%v: exit code %s, want %s", args[1:], got, args[0])
	}
}
