package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// interrupts cancels a context on SIGINT, SIGTERM and SIGHUP, so that the
// command saves and returns. After the first, signals have their usual effect
// again: a second one ends the process at once. A signal that is ignored when
// the process starts stays ignored, as nohup and a shell's & mean it.
type interrupts struct {
	c       chan os.Signal
	signals []os.Signal
}

func interruptible(parent context.Context) (context.Context, *interrupts) {
	ctx, cancel := context.WithCancel(parent)
	i := &interrupts{c: make(chan os.Signal, 1), signals: slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}, signal.Ignored)}
	if len(i.signals) > 0 { // none would mean all
		signal.Notify(i.c, i.signals...)
	}
	go func() {
		if _, ok := <-i.c; ok {
			signal.Reset(i.signals...)
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
	if len(i.signals) > 0 {
		signal.Ignore(i.signals...)
		signal.Notify(i.c, i.signals...)
	}
}

// stop gives the signals back.
func (i *interrupts) stop() {
	signal.Stop(i.c)
	close(i.c)
}

// messages is standard error for as long as there is one: Go ends a process that
// writes to a closed pipe as its file 1 or 2, which is right for results that
// nobody reads and wrong for a run of hours whose terminal or log has gone.
func messages() io.Writer {
	fd, err := unix.FcntlInt(os.Stderr.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil { // it is closed
		return io.Discard
	}
	return os.NewFile(uintptr(fd), os.Stderr.Name())
}

// paper is standard output, and remembers that something couldn't be written.
type paper struct {
	io.Writer
	err error
}

func (p *paper) Write(text []byte) (int, error) {
	n, err := p.Writer.Write(text)
	if err != nil && p.err == nil {
		p.err = err
	}
	return n, err
}
