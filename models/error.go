package models

// Error is a fault in a model's file, or in what was said about it.
type Error struct {
	Path    string // the file; empty where there is none
	Problem string // what is wrong, with what was found and expected
	Advice  string // what to do; may be empty
	Usage   bool   // the fault is in an option, not in a file
	Err     error  // the cause, or nil
}

func (e *Error) Error() string {
	s := e.Problem
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Advice != "" {
		s += "; " + e.Advice
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ExitCode is 2 for a wrong option and 3 for a bad file.
func (e *Error) ExitCode() int {
	if e.Usage {
		return 2
	}
	return 3
}
