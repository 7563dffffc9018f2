package ort

import (
	"errors"
	"fmt"

	"github.com/relevit/relevit/onnx"
)

// MissingError says that this machine lacks something to run graphs with: a
// runtime library, one that is new enough, or a device. Commands exit with
// code 4 on it.
type MissingError struct {
	What   string // what was wanted: "ONNX Runtime library", "device cuda:0"
	Found  string // what there is instead
	Advice string // what to do
	Err    error  // the system's own words, if any
}

func (e *MissingError) Error() string {
	msg := e.What + ": " + e.Found
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg + "; " + e.Advice
}

func (e *MissingError) Unwrap() error { return e.Err }

// IsMissing reports whether err comes from a missing or too old library or a
// missing device.
func IsMissing(err error) bool {
	var m *MissingError
	return errors.As(err, &m)
}

const (
	advice = "run `relevit runtime install` (in a clone: `make runtime`), or name a library of version " +
		oldest + " or newer by --runtime or " + envRuntime
	wanted = "ONNX Runtime library"
)

// LoadError says that ONNX Runtime refused a model.
type LoadError struct {
	Model string // file, or what the caller called it
	Err   error
}

func (e *LoadError) Error() string {
	return fmt.Sprintf("loading %s into ONNX Runtime: %v", e.Model, e.Err)
}

func (e *LoadError) Unwrap() error { return e.Err }

// BindError says that a buffer does not fit a graph's input or output, or that
// the graph has none of that name.
type BindError struct {
	Model string
	Name  string // of the input or output
	Found string
	Want  string
}

func (e *BindError) Error() string {
	return fmt.Sprintf("binding %q of %s: found %s, expected %s", e.Name, e.Model, e.Found, e.Want)
}

func describe(t onnx.DType, shape []int64) string {
	return fmt.Sprintf("%v%v", t, onnx.ShapeOf(shape...))
}
