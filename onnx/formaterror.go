package onnx

import (
	"fmt"
	"strings"
)

// FormatError says what is wrong with an ONNX file, and where.
type FormatError struct {
	File    string // the path it was read from, "" if it came from memory
	Offset  int64  // byte in File where the problem lies, -1 if it has no one place
	Where   string // field path, node or tensor
	Problem string // what was found and what was expected
	Hint    string // what to do, if anything helps
}

func (e *FormatError) Error() string {
	var s strings.Builder
	if e.File != "" {
		s.WriteString(e.File + ": ")
	}
	s.WriteString(e.Problem)
	switch {
	case e.Offset >= 0 && e.Where != "":
		fmt.Fprintf(&s, " (at byte %d, %s)", e.Offset, e.Where)
	case e.Offset >= 0:
		fmt.Fprintf(&s, " (at byte %d)", e.Offset)
	case e.Where != "":
		fmt.Fprintf(&s, " (%s)", e.Where)
	}
	if e.Hint != "" {
		s.WriteString(": " + e.Hint)
	}
	return s.String()
}

// strangers are files often found where an ONNX model was meant to be.
var strangers = []struct{ prefix, hint string }{
	{"version https://git-lfs", "this is a Git LFS pointer, not the file: run git lfs pull"},
	{"<!DOCTYPE", "this is a web page: download the file itself"},
	{"<html", "this is a web page: download the file itself"},
	{"PK\x03\x04", "this is a zip archive, perhaps a PyTorch checkpoint"},
	{"\x89HDF", "this is an HDF5 file"},
}

// hintFor adds to an error what the first bytes of the file give away.
func hintFor(e *FormatError, data []byte) {
	for _, s := range strangers {
		if len(data) >= len(s.prefix) && string(data[:len(s.prefix)]) == s.prefix {
			e.Hint = s.hint
		}
	}
}
