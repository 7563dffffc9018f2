package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// meter shows how far a command is: a bar with rate and time left where
// standard error is a terminal, plain lines where it is a file or a pipe,
// nothing with --quiet.
type meter struct {
	w       io.Writer // nil: show nothing
	bar     *progressbar.ProgressBar
	what    string // "training"
	unit    string // "steps"
	total   int
	began   time.Time
	printed time.Time
	first   int // done when the meter began
}

// plainEvery is how often a meter prints a line where there is no terminal.
const plainEvery = 10 * time.Second

// meter begins to show progress. It starts from done of total units; a total
// below 1 is unknown.
func (c *call) meter(what, unit string, done, total int) *meter {
	m := &meter{what: what, unit: unit, total: total, began: time.Now(), printed: time.Now(), first: done}
	if c.quiet {
		return m
	}
	m.w = c.stderr
	if f, ok := c.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		m.bar = newBar(f, what, unit, total)
		if done > 0 {
			m.bar.Set(done)
		}
	}
	return m
}

func newBar(w io.Writer, what, unit string, total int) *progressbar.ProgressBar {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionSetWidth(24),
		progressbar.OptionShowElapsedTimeOnFinish(),
		progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }),
	}
	if total < 1 {
		return progressbar.NewOptions(-1, append(options, progressbar.OptionSpinnerType(14))...)
	}
	return progressbar.NewOptions(total, append(options,
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString(unit),
		progressbar.OptionSetPredictTime(true),
	)...)
}

// set says how many units are done, and what there is to say of the last one.
func (m *meter) set(done int, detail string) {
	switch {
	case m.w == nil:
	case m.bar != nil:
		if detail != "" {
			m.bar.Describe(m.what + " " + detail)
		}
		m.bar.Set(done)
	case time.Since(m.printed) >= plainEvery || done == m.total && time.Since(m.began) >= time.Second:
		m.printed = time.Now()
		fmt.Fprintln(m.w, m.line(done, detail))
	}
}

// line is what a meter prints where there is no terminal.
func (m *meter) line(done int, detail string) string {
	rate := float64(done-m.first) / time.Since(m.began).Seconds()
	s := fmt.Sprintf("%s: %d", m.what, done)
	if m.total > 0 {
		s += fmt.Sprintf("/%d", m.total)
	}
	s += fmt.Sprintf(" %s, %.3g/s", m.unit, rate)
	if left := m.total - done; left > 0 && rate > 0 {
		s += fmt.Sprintf(", %v left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
	}
	if detail != "" {
		s += ", " + detail
	}
	return s
}

// say prints a line above the bar.
func (m *meter) say(format string, args ...any) {
	if m.w == nil {
		return
	}
	if m.bar != nil {
		m.bar.Clear()
	}
	fmt.Fprintf(m.w, format+"\n", args...)
}

// end takes an unfinished bar off the screen.
func (m *meter) end() {
	if m.bar != nil && !m.bar.IsFinished() {
		m.bar.Clear()
	}
}

// during shows that something of unknown length goes on: a spinner, or lines
// after the first second and every ten.
func (c *call) during(what string, do func() error) error {
	if c.quiet {
		return do()
	}
	m := c.meter(what, "", 0, 0)
	defer m.end()
	every := time.Second
	if m.bar != nil {
		every = 200 * time.Millisecond
	}
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if m.bar != nil {
				m.bar.Add(1)
			} else if n%10 == 0 {
				fmt.Fprintf(m.w, "%s: %v\n", what, time.Since(m.began).Round(time.Second))
			}
		}
	}()
	err := do()
	close(stop)
	<-stopped
	return err
}
