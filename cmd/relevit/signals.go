package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interrupts cancels a context on SIGINT and SIGTERM, so that the command saves
// and returns. After the first, signals have their usual effect again: a second
// one ends the process at once.
type interrupts struct{ c chan os.Signal }

var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

func interruptible(parent context.Context) (context.Context, *interrupts) {
	ctx, cancel := context.WithCancel(parent)
	i := &interrupts{make(chan os.Signal, 1)}
	signal.Notify(i.c, stopSignals...)
	go func() {
		if _, ok := <-i.c; ok {
			signal.Reset(stopSignals...)
		}
		cancel()
	}()
	return ctx, i
}

// rearm makes the signals reach Go again after a library has put its own
// handlers in the place of Go's, as the CUDA provider does with its first
// session. Ignoring a signal for a moment is what makes Go install its handler
// anew.
func (i *interrupts) rearm() {
	signal.Ignore(stopSignals...)
	signal.Notify(i.c, stopSignals...)
}

// stop gives the signals back.
func (i *interrupts) stop() {
	signal.Stop(i.c)
	close(i.c)
}
