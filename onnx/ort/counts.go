package ort

import (
	"fmt"
	"sync/atomic"
)

// Counts say what a process holds open of ONNX Runtime.
type Counts struct {
	Sessions, Buffers int
	Bytes             int64 // of the buffers
}

// String prints counts as 2 sessions, 14 buffers of 1200 bytes.
func (c Counts) String() string {
	return fmt.Sprintf("%d sessions, %d buffers of %d bytes", c.Sessions, c.Buffers, c.Bytes)
}

var held struct{ sessions, buffers, bytes atomic.Int64 }

// Held counts the sessions and buffers that have been made and not closed, for
// tests that look for leaks.
func Held() Counts {
	return Counts{int(held.sessions.Load()), int(held.buffers.Load()), held.bytes.Load()}
}

// count notes a buffer that is made, or, with -1, closed.
func (b *Buffer) count(n int64) {
	held.buffers.Add(n)
	held.bytes.Add(n * int64(len(b.mem)))
}
