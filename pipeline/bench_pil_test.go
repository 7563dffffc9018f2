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

// benchPython names a Python with PIL and numpy, to compare with; otherwise
// python3 is looked for.
const benchPython = "RELEVIT_BENCH_PYTHON"

// pil is a process that reads the same pictures with PIL.
type pil struct {
	version string
	in      io.Writer
	out     *bufio.Scanner
}

// startPIL returns why there is none where the machine lacks it.
func startPIL(t *testing.T, files []string) (p *pil, why string) {
	t.Helper()
	python := os.Getenv(benchPython)
	if python == "" {
		python = "python3"
	}
	cmd := exec.Command(python, append([]string{"testdata/bench/pil.py"}, files...)...)
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1")
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
			t.Error(err)
		}
	})
	p = &pil{in: in, out: bufio.NewScanner(out)}
	if !p.out.Scan() {
		lines := strings.Split(strings.TrimSpace(complaint.String()), "\n")
		p = nil
		return nil, python + ": " + lines[len(lines)-1]
	}
	p.version = p.out.Text()
	return p, ""
}

// seconds is how long PIL takes for a picture now.
func (p *pil) seconds(t *testing.T, work string) float64 {
	t.Helper()
	var seconds float64
	fmt.Fprintln(p.in, work)
	if !p.out.Scan() {
		t.Fatal("PIL has ended")
	}
	if _, err := fmt.Sscan(p.out.Text(), &seconds); err != nil {
		t.Fatal(err)
	}
	return seconds
}
