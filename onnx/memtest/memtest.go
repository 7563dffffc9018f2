// Package memtest lets tests of any package bound what reading takes.
package memtest

import (
	"runtime"
	"testing"
)

// Within fails the test where f allocates more than times the size of its
// input, in bytes, and plus. Everything that f allocates counts, garbage too, so
// that what it holds at once is no more. Memory of C doesn't.
func Within(t testing.TB, size, times, plus int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(times)*uint64(size)+uint64(plus) {
		t.Errorf("%d bytes of input took %d bytes of memory, more than %d times as much and %d", size, took, times, plus)
	}
}
