package main

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// tried writes a line for the table of make faults, once the test is over: the
// fault, how often it was tried, and the outcome.
func tried(t *testing.T, fault string, times int) {
	t.Helper()
	path := os.Getenv("RELEVIT_FAULTS")
	if path == "" {
		return
	}
	t.Cleanup(func() {
		outcome := "nothing lost"
		switch {
		case t.Skipped():
			outcome = "not tried on this machine"
		case t.Failed():
			outcome = "FAILED"
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
		if err == nil {
			_, err = fmt.Fprintf(f, "%s|%d|%s\n", fault, times, outcome)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Error(err)
		}
	})
}
