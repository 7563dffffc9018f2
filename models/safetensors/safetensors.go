// Package safetensors reads and writes the safetensors format: eight bytes of
// header length, a JSON header, and the tensors' bytes side by side.
//
// The reader trusts nothing: every tensor lies inside the file, none overlaps
// another, no byte belongs to none, and lengths fit types and shapes.
package safetensors

import (
	"fmt"

	"github.com/relevit/relevit/onnx"
)

// MaxHeader is the largest header, in bytes, that is read or written. The
// format allows 100 MB, but the header of ten thousand tensors has one.
const MaxHeader = 8 << 20

// Error is a fault in a file, or in what is to be written to one.
type Error struct {
	File     string // path
	Tensor   string // empty where the fault is no tensor's
	Problem  string // what is wrong
	Expected string // with Found: what would be right; both may be empty
	Found    string
	Err      error // the cause, or nil
}

func (e *Error) Error() string {
	s := e.File
	if e.Tensor != "" {
		s += fmt.Sprintf(": tensor %s", e.Tensor)
	}
	s += ": " + e.Problem
	if e.Expected != "" {
		s += fmt.Sprintf(": expected %s, found %s", e.Expected, e.Found)
	}
	if e.Err != nil {
		s += fmt.Sprintf(": %v", e.Err)
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ExitCode is that of a bad input file.
func (e *Error) ExitCode() int { return 3 }

// dtypes pairs the format's names of element types with ONNX's types.
var dtypes = []struct {
	name string
	t    onnx.DType
}{
	{"F32", onnx.Float}, {"F64", onnx.Double}, {"F16", onnx.Float16}, {"BF16", onnx.BFloat16},
	{"I8", onnx.Int8}, {"I16", onnx.Int16}, {"I32", onnx.Int32}, {"I64", onnx.Int64},
	{"U8", onnx.Uint8}, {"U16", onnx.Uint16}, {"U32", onnx.Uint32}, {"U64", onnx.Uint64},
	{"BOOL", onnx.Bool}, {"C64", onnx.Complex64}, {"F8_E4M3", 17}, {"F8_E5M2", 19}, {"F8_E8M0", 24},
}

// TypeOf is the element type that the format names so.
func TypeOf(name string) (onnx.DType, bool) {
	for _, d := range dtypes {
		if d.name == name {
			return d.t, true
		}
	}
	return onnx.Undefined, false
}

// NameOf is the format's name of an element type.
func NameOf(t onnx.DType) (string, bool) {
	for _, d := range dtypes {
		if d.t == t {
			return d.name, true
		}
	}
	return "", false
}
