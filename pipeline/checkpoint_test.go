package pipeline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// checkpointAt makes a checkpoint all of whose numbers are n.
func checkpointAt(n, size int) *Checkpoint {
	fill := func(name string) safetensors.Named {
		v := make([]float32, size)
		for i := range v {
			v[i] = float32(n)
		}
		return safetensors.Named{Name: name, Tensor: onnx.FloatTensor(v, int64(size))}
	}
	return &Checkpoint{
		Parameters: []safetensors.Named{fill("w"), fill("frozen"), fill("b")},
		Moments:    []safetensors.Named{fill("w"), fill("b")},
		Squares:    []safetensors.Named{fill("w"), fill("b")},
		State:      State{Epoch: 1, Step: 2, GlobalStep: n, BestLoss: Number(math.Inf(1)), BestEpoch: -1, LogOffset: 9, Tool: "test"},
	}
}

// at returns the number of which a loaded checkpoint is made, and fails if it
// is a mixture.
func at(t *testing.T, c *Checkpoint) int {
	t.Helper()
	for _, list := range [][]safetensors.Named{c.Parameters, c.Moments, c.Squares} {
		for _, p := range list {
			v, err := p.Tensor.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range v {
				if x != float32(c.State.GlobalStep) {
					t.Fatalf("checkpoint of step %d holds %v in %s", c.State.GlobalStep, x, p.Name)
				}
			}
		}
	}
	return c.State.GlobalStep
}

func TestCheckpointComesBackAsSaved(t *testing.T) {
	r := newRun(t)
	if _, err := r.LoadCheckpoint(Last); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("before the first: %v, want ErrNoCheckpoint", err)
	}
	for step := range 3 {
		want := checkpointAt(step, 5)
		if err := r.SaveCheckpoint(Last, want); err != nil {
			t.Fatal(err)
		}
		got, err := r.LoadCheckpoint(Last)
		if err != nil {
			t.Fatal(err)
		}
		if at(t, got) != step || !math.IsInf(float64(got.State.BestLoss), 1) || got.State.LogOffset != 9 {
			t.Errorf("state %+v", got.State)
		}
		same := func(a, b []safetensors.Named) bool {
			return slices.EqualFunc(a, b, func(x, y safetensors.Named) bool {
				return x.Name == y.Name && slices.Equal(x.Tensor.Dims, y.Tensor.Dims) && bytes.Equal(x.Tensor.Raw, y.Tensor.Raw)
			})
		}
		if !same(got.Parameters, want.Parameters) || !same(got.Moments, want.Moments) || !same(got.Squares, want.Squares) {
			t.Error("tensors differ from those saved")
		}
	}
	entries, err := os.ReadDir(r.Path(checkpoints))
	if err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v (%v), want last and last.1", entries, err)
	}
}

func TestCheckpointOfAnotherModelIsRefused(t *testing.T) {
	c := checkpointAt(1, 5)
	if err := c.Fits(checkpointAt(2, 5).Parameters); err != nil {
		t.Errorf("the same model: %v", err)
	}
	for want, model := range map[string][]safetensors.Named{
		"no parameter extra":            append(slices.Clone(c.Parameters), safetensors.Named{Name: "extra", Tensor: onnx.FloatTensor(nil, 0)}),
		"has parameter frozen":          {c.Parameters[0], c.Parameters[2]},
		"parameter w is float32(5) in ": checkpointAt(1, 6).Parameters,
	} {
		if err := c.Fits(model); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
	c.Squares = c.Squares[:1]
	if err := newRun(t).SaveCheckpoint(Last, c); err == nil || !strings.Contains(err.Error(), "b has a first moment and no second") {
		t.Errorf("half a pair of moments: %v", err)
	}
}

// Every state in which a process can die between the two renames of a file
// system without exchange must open with a whole checkpoint.
func TestInterruptedReplacementIsRecovered(t *testing.T) {
	for _, c := range []struct {
		name string
		at   map[string]int // folder in checkpoints -> step of the checkpoint there
		want int
	}{
		{"before the first rename", map[string]int{"last": 1, ".last.tmp": 2}, 1},
		{"between the renames", map[string]int{".last.old": 1, ".last.tmp": 2}, 1},
		{"before the one before is kept", map[string]int{"last": 2, ".last.old": 1}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRun(t)
			for folder, step := range c.at {
				if err := r.SaveCheckpoint("x", checkpointAt(step, 5)); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(r.Path(checkpoints, "x"), r.Path(checkpoints, folder)); err != nil {
					t.Fatal(err)
				}
			}
			r.Close()
			for _, open := range []func(string) (*Run, error){ReadRun, OpenRun} {
				again, err := open(r.Dir)
				if err != nil {
					t.Fatal(err)
				}
				got, err := again.LoadCheckpoint(Last)
				if err != nil {
					t.Fatal(err)
				}
				if at(t, got) != c.want {
					t.Errorf("step %d, want %d", at(t, got), c.want)
				}
				again.Close()
			}
			entries, err := os.ReadDir(r.Path(checkpoints))
			if err != nil || len(entries) != c.want {
				t.Errorf("after opening the folder holds %v (%v), want last, and last.1 where it was replaced", entries, err)
			}
		})
	}
}

func TestCheckpointIsReplacedWithoutExchangeToo(t *testing.T) {
	r := newRun(t)
	for step := range 3 {
		if err := r.SaveCheckpoint("x", checkpointAt(step, 5)); err != nil {
			t.Fatal(err)
		}
		if err := displace(r.Path(checkpoints, "x"), r.Path(checkpoints, Last), r.Path(checkpoints, ".last.old")); err != nil {
			t.Fatal(err)
		}
		if err := r.keep(Last); err != nil {
			t.Fatal(err)
		}
		c, err := r.LoadCheckpoint(Last)
		if err != nil || at(t, c) != step {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	if err := displace(r.Path("nowhere"), r.Path(checkpoints, Last), r.Path(checkpoints, ".last.old")); err == nil {
		t.Error("nothing took the checkpoint's place")
	}
	if c, err := r.LoadParameters(Last); err != nil || at(t, c) != 2 || c.Moments != nil {
		t.Errorf("after a failure: %+v %v", c, err)
	}
}

// TestSaverProcess is no test: others run it as a process of its own.
func TestSaverProcess(t *testing.T) {
	dir := os.Getenv("RELEVIT_TEST_SAVE_IN")
	if dir == "" {
		t.Skip("run by other tests")
	}
	r, err := OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	for step := 0; ; step++ {
		if err := r.SaveCheckpoint(Last, checkpointAt(step, 20000)); err != nil {
			t.Fatal(err)
		}
		fmt.Println("saved", step)
	}
}

func TestKilledWhileSavingLeavesOneWholeCheckpoint(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds")
	}
	r := newRun(t)
	if err := r.SaveCheckpoint(Last, checkpointAt(0, 5)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	saved := 0
	for i := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSaverProcess$")
		cmd.Env = append(os.Environ(), "RELEVIT_TEST_SAVE_IN="+r.Dir)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		claimed := 0
		lines := bufio.NewScanner(stdout)
		for claimed <= i%4 {
			if !lines.Scan() || !strings.HasPrefix(lines.Text(), "saved ") {
				t.Fatalf("it ended by itself, after %d saves: %s", claimed, lines.Text())
			}
			claimed++
		}
		time.Sleep(time.Duration(i) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			claimed++
		}
		cmd.Wait()
		again, err := OpenRun(r.Dir)
		if err != nil {
			t.Fatalf("kill %d: %v", i, err)
		}
		c, err := again.LoadCheckpoint(Last)
		if err != nil {
			t.Fatalf("kill %d: %v", i, err)
		}
		if claimed > 0 && at(t, c) < claimed-1 {
			t.Errorf("kill %d: step %d is there, %d was reported saved", i, at(t, c), claimed-1)
		}
		saved += claimed
		again.Close()
	}
	t.Logf("12 kills over %d saves", saved)
}
