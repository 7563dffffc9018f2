package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/passes"
	"github.com/relevit/relevit/pipeline"
)

// What the process's exit code says.
const (
	done        = 0
	failed      = 1
	usage       = 2
	badInput    = 3
	noRuntime   = 4
	interrupted = 130
)

var exitCodes = []struct {
	code    int
	meaning string
}{
	{done, "done"},
	{failed, "failed"},
	{usage, "wrong usage or configuration"},
	{badInput, "bad input file"},
	{noRuntime, "runtime library or device missing"},
	{interrupted, "interrupted, after saving"},
}

func exitCodeTable() string {
	var s strings.Builder
	s.WriteString("Exit codes:")
	for _, c := range exitCodes {
		fmt.Fprintf(&s, "\n%4d  %s", c.code, c.meaning)
	}
	return s.String()
}

// usageError is a command line that can't be executed.
type usageError struct{ problem string }

func (e *usageError) Error() string { return e.problem }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// inputError is an input that isn't there.
type inputError struct{ err error }

func (e *inputError) Error() string { return e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// inputs checks that the files that a command is to read can be read.
func inputs(paths ...string) error {
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = fmt.Errorf("%s: there is no such file or folder", p)
		case err != nil:
		case info.IsDir():
			err = fmt.Errorf("%s: it is a folder, expected a file", p)
		case !info.Mode().IsRegular(): // opening a pipe waits
			err = fmt.Errorf("%s: it is no file", p)
		default:
			var f *os.File
			if f, err = os.Open(p); err == nil {
				f.Close()
			}
		}
		if err != nil {
			return &inputError{err}
		}
	}
	return nil
}

// outputs checks that the folders exist in which a command is to write files.
func outputs(paths ...string) error {
	for _, p := range paths {
		folder := filepath.Dir(p)
		if info, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			return usagef("%s: there is no folder %s to write it in", p, folder)
		}
	}
	return nil
}

// printedError is a failure that the command's printed result tells already.
type printedError struct{ err error }

func (e *printedError) Error() string { return e.err.Error() }
func (e *printedError) Unwrap() error { return e.err }

// exitCode tells what an error means for whoever called the command. Errors
// that know their own code implement ExitCode.
func exitCode(err error) int {
	var (
		own     interface{ ExitCode() int }
		wrong   *usageError
		config  *configs.Error
		input   *inputError
		format  *onnx.FormatError
		refused *ort.LoadError
		raise   *passes.RaiseError
		rule    *gradients.MissingRuleError
	)
	switch {
	case err == nil:
		return done
	case errors.Is(err, context.Canceled), errors.Is(err, pipeline.ErrInterrupted):
		return interrupted
	case ort.IsMissing(err):
		return noRuntime
	case unreadable(err): // whatever it was to say
		return badInput
	case errors.As(err, &wrong), errors.As(err, &config), errors.Is(err, pipeline.ErrNoRun):
		return usage
	case errors.As(err, &own):
		return own.ExitCode()
	case errors.As(err, &input), errors.As(err, &format), errors.As(err, &refused), errors.As(err, &raise), errors.As(err, &rule):
		return badInput
	}
	return failed
}

// diskAdvice says what to do where it is the disk that fails. Some errors keep
// only the text of the system's.
func diskAdvice(err error) string {
	is := func(errno syscall.Errno) bool {
		return errors.Is(err, errno) || strings.Contains(err.Error(), errno.Error())
	}
	advice := ""
	switch {
	case is(syscall.ENOSPC), is(syscall.EDQUOT):
		advice = "free some space there"
	case is(syscall.EROFS):
		advice = "write into another folder, or mount it for writing"
	case is(syscall.EIO):
		advice = "the disk, or the way to it, fails: see the system's log, and use another"
	default:
		return ""
	}
	return ": " + advice + "; what was written before is intact"
}

// unreadable reports whether a disk failed while a file was read that is there.
func unreadable(err error) bool {
	var at *fs.PathError
	if !errors.As(err, &at) || !errors.Is(at, syscall.EIO) {
		return false
	}
	if at.Op == "open" {
		_, err := os.Lstat(at.Path)
		return err == nil
	}
	return at.Op == "read" || at.Op == "readdirent"
}
