package ort

import (
	"fmt"
	"regexp"
	"strings"
)

// MemoryError says that no memory is left for ONNX Runtime.
type MemoryError struct {
	Doing string // with which graph
	Bytes string // asked for, empty where it doesn't say
	Err   error  // what ONNX Runtime said
}

func (e *MemoryError) Error() string {
	amount := ""
	if e.Bytes != "" {
		amount = " of " + e.Bytes + " bytes"
	}
	return fmt.Sprintf("%s: no memory%s is left for ONNX Runtime: take a smaller batch, or end other programs", e.Doing, amount)
}

func (e *MemoryError) Unwrap() error { return e.Err }

var requested = regexp.MustCompile(`requested buffer of size (\d+)`)

// noMemory recognises a failure to allocate, of the CPU's arena, of C++ and of
// CUDA, by the message: its code is that of any other failure. nil for others.
func noMemory(doing string, err error) error {
	text := err.Error()
	for _, sign := range []string{"Failed to allocate memory", "bad_alloc", "out of memory", "BFCArena"} {
		if strings.Contains(text, sign) {
			e := &MemoryError{Doing: doing, Err: err}
			if m := requested.FindStringSubmatch(text); m != nil {
				e.Bytes = m[1]
			}
			return e
		}
	}
	return nil
}
