// Package memtest lets tests of any package bound what reading takes.
package memtest

import (
	"runtime"
	"testing"
	"time"
)

// longest is what no input of a fuzz target takes on any machine.
const longest = 20 * time.Second

// Within fails the test where f allocates more than times the size of its
// input, in bytes, and plus. Everything that f allocates counts, garbage too, so
// that what it holds at once is no more. Memory of C doesn't. It fails also
// where f takes as long as a hang.
func Within(t testing.TB, size, times, plus int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > uint64(times)*uint64(size)+uint64(plus) {
		t.Errorf("%d bytes of input took %d bytes of memory, more than %d times as much and %d", size, n, times, plus)
	}
	if took > longest {
		t.Errorf("%d bytes of input took %v", size, took)
	}
}
