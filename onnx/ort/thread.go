package ort

import "runtime"

// thread is one of the system's threads, on which a session runs whichever
// goroutine asks: CUDA keeps a captured graph for the thread that ran it, and on
// another thread a replayed run would be made several times once more.
type thread struct {
	work chan func()
}

func newThread() *thread {
	t := &thread{work: make(chan func())}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for f := range t.work {
			f()
		}
	}()
	return t
}

// do calls f on the thread and waits for it.
func (t *thread) do(f func() error) error {
	done := make(chan error, 1)
	t.work <- func() { done <- f() }
	return <-done
}

func (t *thread) close() { close(t.work) }
