package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// The two checkpoints of a run.
const (
	Last = "last" // the newest, from which a run goes on
	Best = "best" // the one with the lowest validation loss
)

// The files of a checkpoint. In optimizer.safetensors AdamW's two moments of
// parameter P are exp_avg.P and exp_avg_sq.P.
const (
	parametersName = "parameters.safetensors"
	optimizerName  = "optimizer.safetensors"
	stateName      = "state.json"
	momentPrefix   = "exp_avg."
	squarePrefix   = "exp_avg_sq."
)

// Checkpoint is the state of training after a step. Parameters have the names
// and layouts of the source model; Moments and Squares name the parameters that
// they belong to: there are none before the first update. Saving reads the tensors
// where they are, without a copy.
type Checkpoint struct {
	Parameters []safetensors.Named
	Moments    []safetensors.Named // AdamW's first moments
	Squares    []safetensors.Named // and second
	State      State

	// Of one that was loaded: its folder's name, and what is wrong with the
	// newer ones, in whose place it was taken.
	Name   string
	Faults []*CheckpointError
}

// State is where in a run a checkpoint was taken.
type State struct {
	Epoch           int    `json:"epoch"`                       // of the next step, from 0
	Step            int    `json:"step_in_epoch"`               // steps made in that epoch
	GlobalStep      int    `json:"global_step"`                 // steps made in all
	Undone          int    `json:"undone,omitempty"`            // of these, left out or taken back since they gave no number
	NotFinite       int    `json:"not_finite,omitempty"`        // steps in a row, up to here, that gave none
	NotFiniteEpochs int    `json:"not_finite_epochs,omitempty"` // epochs in a row without a number on the held-out pictures
	BestLoss        Number `json:"best_loss"`                   // lowest validation loss yet; +Inf before the first
	BestEpoch       int    `json:"best_epoch"`                  // -1 before the first
	LogOffset       int64  `json:"log_offset"`                  // bytes of log.jsonl up to here
	ConfigDigest    string `json:"config_digest"`
	Tool            string `json:"tool"` // version that wrote it

	LossScale *LossScale `json:"loss_scale,omitempty"` // of precision fp16

	// SaveCheckpoint fills these in.
	SHA256 map[string]string `json:"sha256"`       // of the files
	Bytes  map[string]int64  `json:"bytes"`        // their lengths
	Sum    string            `json:"state_sha256"` // of this file, the 64 digits here left out
}

// CheckpointError is a fault in a stored checkpoint.
type CheckpointError struct {
	Path    string
	Problem string
	Err     error
	Advice  string
}

func (e *CheckpointError) Error() string {
	s := fmt.Sprintf("checkpoint %s: %s", e.Path, e.reason())
	if e.Advice != "" {
		s += "; " + e.Advice
	}
	return s
}

func (e *CheckpointError) reason() string {
	if e.Err == nil {
		return e.Problem
	}
	return e.Problem + ": " + e.Err.Error()
}

func (e *CheckpointError) Unwrap() error { return e.Err }

// ExitCode is that of a bad input file.
func (e *CheckpointError) ExitCode() int { return 3 }

// ErrNoCheckpoint says that a run has not been saved yet.
var ErrNoCheckpoint = errors.New("the run has no such checkpoint yet")

// SaveCheckpoint makes c the run's checkpoint of that name, Last or Best. It
// takes the place of the one before in one step, and that one is kept as last.1
// or best.1 (see keep): whenever the process or the machine stops, one whole
// checkpoint is there. On an error the one before is untouched. Save Best before
// Last, whose state speaks of it.
func (r *Run) SaveCheckpoint(which string, c *Checkpoint) error {
	if err := r.save(which, c); err != nil {
		return fmt.Errorf("saving checkpoint %s: %w", r.Path(checkpoints, which), err)
	}
	return nil
}

func (r *Run) save(which string, c *Checkpoint) error {
	if err := c.paired(); err != nil {
		return err
	}
	tmp := r.Path(checkpoints, "."+which+".tmp")
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return err
	}
	state := c.State
	state.SHA256, state.Bytes = map[string]string{}, map[string]int64{}
	moments := slices.Concat(prefixed(momentPrefix, c.Moments), prefixed(squarePrefix, c.Squares))
	for name, tensors := range map[string][]safetensors.Named{parametersName: c.Parameters, optimizerName: moments} {
		var err error
		if state.SHA256[name], state.Bytes[name], err = writeSummed(filepath.Join(tmp, name), tensors); err != nil {
			return err
		}
	}
	text, err := state.encode()
	if err != nil {
		return err
	}
	err = atomic.WriteInPlace(filepath.Join(tmp, stateName), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return err
	}
	if err := atomic.SyncFolder(tmp); err != nil {
		return err
	}
	return r.install(tmp, which)
}

// writeSummed writes tensors and returns the file's SHA-256 and length.
func writeSummed(path string, tensors []safetensors.Named) (string, int64, error) {
	h, n := sha256.New(), counter(0)
	err := atomic.WriteInPlace(path, func(w io.Writer) error {
		return safetensors.Encode(io.MultiWriter(w, h, &n), path, tensors, map[string]string{"format": "pt"})
	})
	return hex.EncodeToString(h.Sum(nil)), int64(n), err
}

// counter counts the bytes that are written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// readCheckpoint reads and verifies one checkpoint; a fault in it is a
// *CheckpointError.
func readCheckpoint(folder string, moments bool) (*Checkpoint, error) {
	state, err := readState(folder)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{State: *state}
	if c.Parameters, err = c.State.read(folder, parametersName); err != nil {
		return nil, err
	}
	if !moments {
		return c, nil
	}
	optimizer, err := c.State.read(folder, optimizerName)
	if err != nil {
		return nil, err
	}
	for _, t := range optimizer {
		if name, ok := strings.CutPrefix(t.Name, momentPrefix); ok {
			c.Moments = append(c.Moments, safetensors.Named{Name: name, Tensor: t.Tensor})
		} else if name, ok := strings.CutPrefix(t.Name, squarePrefix); ok {
			c.Squares = append(c.Squares, safetensors.Named{Name: name, Tensor: t.Tensor})
		}
	}
	if err := c.paired(); err != nil {
		return nil, &CheckpointError{Path: folder, Problem: "its files don't belong together", Err: err}
	}
	return c, nil
}

// read reads one file of a checkpoint, whose length and checksum must be the
// state's.
func (s *State) read(folder, name string) ([]safetensors.Named, error) {
	path := filepath.Join(folder, name)
	damaged := func(err error, format string, args ...any) error {
		return &CheckpointError{Path: folder, Problem: name + " is damaged: " + fmt.Sprintf(format, args...), Err: err}
	}
	info, err := os.Stat(path)
	if want, ok := s.Bytes[name]; err == nil && ok && info.Size() != want {
		return nil, damaged(nil, "it has %d bytes, %s says %d", info.Size(), stateName, want)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, &CheckpointError{Path: folder, Problem: "a file can't be read", Err: err}
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != s.SHA256[name] {
		return nil, damaged(nil, "its SHA-256 is %s, %s says %q", got, stateName, s.SHA256[name])
	}
	f, err := safetensors.Parse(path, data)
	if err != nil {
		return nil, damaged(err, "it was written so")
	}
	out := make([]safetensors.Named, 0, len(f.Names()))
	for _, n := range f.Names() {
		t, err := f.Tensor(n)
		if err != nil {
			return nil, damaged(err, "it was written so")
		}
		out = append(out, safetensors.Named{Name: n, Tensor: t})
	}
	return out, nil
}

// Fits reports how a checkpoint differs from the parameters of a model: the
// first one that is missing, left over or of another type or shape.
func (c *Checkpoint) Fits(model []safetensors.Named) error {
	have := byName(c.Parameters)
	for _, want := range model {
		got := have[want.Name]
		if got == nil {
			return fmt.Errorf("the checkpoint has no parameter %s, which the model has: was it made from another model?", want.Name)
		}
		if got.Type != want.Tensor.Type || !slices.Equal(got.Dims, want.Tensor.Dims) {
			return fmt.Errorf("parameter %s is %v%v in the checkpoint, expected %v%v as in the model: was it made from another model?",
				want.Name, got.Type, got.Shape(), want.Tensor.Type, want.Tensor.Shape())
		}
		delete(have, want.Name)
	}
	for _, p := range c.Parameters {
		if have[p.Name] != nil {
			return fmt.Errorf("the checkpoint has parameter %s, which the model hasn't: was it made from another model?", p.Name)
		}
	}
	return nil
}

// paired checks that both moments are there for the same parameters, with
// their shapes.
func (c *Checkpoint) paired() error {
	parameters, squares := byName(c.Parameters), byName(c.Squares)
	for _, m := range c.Moments {
		p, s := parameters[m.Name], squares[m.Name]
		switch {
		case p == nil:
			return fmt.Errorf("there are moments of %s, which is no parameter", m.Name)
		case s == nil:
			return fmt.Errorf("parameter %s has a first moment and no second", m.Name)
		case !slices.Equal(p.Dims, m.Tensor.Dims) || !slices.Equal(p.Dims, s.Dims):
			return fmt.Errorf("parameter %s is %v, its moments are %v and %v", m.Name, p.Shape(), m.Tensor.Shape(), s.Shape())
		}
		delete(squares, m.Name)
	}
	for _, s := range c.Squares {
		if squares[s.Name] != nil {
			return fmt.Errorf("parameter %s has a second moment and no first", s.Name)
		}
	}
	return nil
}

func byName(tensors []safetensors.Named) map[string]*onnx.Tensor {
	out := make(map[string]*onnx.Tensor, len(tensors))
	for _, t := range tensors {
		out[t.Name] = t.Tensor
	}
	return out
}

func prefixed(prefix string, tensors []safetensors.Named) []safetensors.Named {
	out := slices.Clone(tensors)
	for i := range out {
		out[i].Name = prefix + out[i].Name
	}
	return out
}

// Digest identifies a resolved configuration by its values, whatever its YAML
// looks like.
func Digest(c *configs.Config) (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("taking the configuration's digest: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
