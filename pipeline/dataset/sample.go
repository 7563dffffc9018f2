// Package dataset finds training pictures with their masks and labels, selects
// and splits them reproducibly, and streams them as batches.
//
// Everything random is a pure function of a seed and of what it is for, and
// everything listed is sorted, so that the same data gives the same samples,
// batches and pixels on every machine, with any number of workers, and in a
// run that was interrupted and resumed.
package dataset

import (
	"errors"
	"fmt"
	"strings"
)

// NoLabel is the label of a sample whose class index is not known (yet).
const NoLabel = -1

// Sample is one picture of a data set.
type Sample struct {
	ID        string // unique in its data set, with slashes: class/file, or the CSV's path
	ImagePath string
	MaskPath  string // empty: none
	Label     int    // class index of the model, or NoLabel
	Class     string // folder or CSV label, as written; empty: none
}

// Kinds of Error, for errors.Is.
var (
	ErrMissing = errors.New("missing file or folder")
	ErrCount   = errors.New("images and masks do not correspond")
	ErrEmpty   = errors.New("no images")
	ErrLabel   = errors.New("unknown label")
	ErrTable   = errors.New("malformed table")
	ErrTooFew  = errors.New("too few classes or images")
	ErrLayout  = errors.New("another layout than the one expected")
)

// Error says what is wrong with a data set, where, and what to do about it.
type Error struct {
	Kind   error  // one of the kinds above
	Path   string // the file or folder at fault; may be empty
	Line   int    // in a table, from 1; 0 otherwise
	Found  string // what was found, against what was expected
	Advice string // what to do; may be empty
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("data set: ")
	if e.Path != "" {
		b.WriteString(e.Path)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Found)
	if e.Advice != "" {
		b.WriteString(": " + e.Advice)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Kind }

// ExitCode is 3, a bad input; 2, a wrong configuration, where the data is sound
// and only smaller than what was asked for.
func (e *Error) ExitCode() int {
	if e.Kind == ErrTooFew {
		return 2
	}
	return 3
}
