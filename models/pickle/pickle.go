// Package pickle reads Python pickles without running anything.
//
// A pickle is a program for a stack machine, and Python's own machine calls
// whatever function the program names. This one knows the opcodes of the
// protocols 0 to 5, builds plain data, and keeps a call as a Call: the name of
// the function and its arguments, for the reader to interpret. A name that is
// not in the list of those which files of weights need is an error, and so are
// opcodes that reach outside the pickle.
//
// Time and memory are bounded: the machine charges every opcode, copy and
// string to one account (see most). It never recurses. The values may be
// shared, and lists may contain themselves, as in Python: walk them with a
// limit of depth.
package pickle

import "fmt"

// Values are nil, bool, int64, *big.Int (integers beyond int64), float64,
// string, and these.
type (
	// Bytes is a bytes or a bytearray.
	Bytes []byte
	// Tuple is a tuple.
	Tuple []any
	// List is a list.
	List struct{ Items []any }
	// Set is a set or a frozenset, its elements in the pickle's order and as
	// often as they are there.
	Set struct{ Items []any }
	// Dict is a dict or one of its kin: keys and values in the pickle's order,
	// as often as they are there.
	Dict struct {
		Keys, Values []any
		State        any // attributes beside the items, nil for none
	}
	// Global is a name in a module: a class, a function or a constant.
	Global struct{ Module, Name string }
	// Call is what Python would make by calling Func with Args.
	Call struct {
		Func  Global
		Args  Tuple
		State any // what Python would then set, nil for nothing
	}
	// Persistent stands for something that is kept outside the pickle.
	Persistent struct{ ID any }
)

// String returns module.name.
func (g Global) String() string { return g.Module + "." + g.Name }

// Pickle is a pickle's content.
type Pickle struct {
	Value      any
	Persistent []*Persistent // all that occur, in order
}

// Error is a fault in a pickle.
type Error struct {
	Offset  int64  // of the opcode, in bytes from the beginning of the source
	Opcode  string // Python's name of it; empty where there is none
	Global  string // module.name, where that is refused
	Problem string // what is wrong
	Err     error  // the cause, or nil
}

func (e *Error) Error() string {
	s := fmt.Sprintf("pickle, byte %d", e.Offset)
	if e.Opcode != "" {
		s += " (" + e.Opcode + ")"
	}
	s += ": " + e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ExitCode is that of a bad input file.
func (e *Error) ExitCode() int { return 3 }
