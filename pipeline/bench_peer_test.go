//go:build bench

package pipeline

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// benchPython names a Python with PIL, and with torch and timm, to compare with;
// otherwise python3 is looked for.
const benchPython = "RELEVIT_BENCH_PYTHON"

// peer is a Python process that does a job of the bench whenever it is told to.
type peer struct {
	version string
	in      io.Writer
	out     *bufio.Scanner
}

// startPeer returns why there is none where the machine lacks it.
func startPeer(t testing.TB, script string, env []string, args ...string) (p *peer, why string) {
	t.Helper()
	python := os.Getenv(benchPython)
	if python == "" {
		python = "python3"
	}
	cmd := exec.Command(python, append([]string{script}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		return nil, err.Error()
	}
	t.Cleanup(func() { // ends at the end of its input
		in.Close()
		if err := cmd.Wait(); err != nil && p != nil {
			t.Errorf("%s: %v\n%s", script, err, complaint.String())
		}
	})
	p = &peer{in: in, out: bufio.NewScanner(out)}
	if !p.out.Scan() {
		lines := strings.Split(strings.TrimSpace(complaint.String()), "\n")
		p = nil
		return nil, python + ": " + lines[len(lines)-1]
	}
	p.version = p.out.Text()
	return p, ""
}

// ask lets it do a job, and returns its answer.
func (p *peer) ask(t testing.TB, job string) string {
	t.Helper()
	fmt.Fprintln(p.in, job)
	if !p.out.Scan() {
		t.Fatalf("the Python process ended at %q", job)
	}
	return p.out.Text()
}

// number is the answer where that is one: seconds, mostly.
func (p *peer) number(t testing.TB, job string) float64 {
	t.Helper()
	var v float64
	if _, err := fmt.Sscan(p.ask(t, job), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
