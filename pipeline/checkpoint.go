package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relevit/relevit/configs"
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
// they belong to, and frozen parameters have none. Saving reads the tensors
// where they are, without a copy.
type Checkpoint struct {
	Parameters []safetensors.Named
	Moments    []safetensors.Named // AdamW's first moments
	Squares    []safetensors.Named // and second
	State      State
}

// State is where in a run a checkpoint was taken.
type State struct {
	Epoch        int    `json:"epoch"`                // of the next step, from 0
	Step         int    `json:"step_in_epoch"`        // steps made in that epoch
	GlobalStep   int    `json:"global_step"`          // steps made in all
	Undone       int    `json:"undone,omitempty"`     // of these, left out or taken back since they gave no number
	NotFinite    int    `json:"not_finite,omitempty"` // steps in a row, up to here, that gave none
	BestLoss     Number `json:"best_loss"`            // lowest validation loss yet; +Inf before the first
	BestEpoch    int    `json:"best_epoch"`           // -1 before the first
	LogOffset    int64  `json:"log_offset"`           // bytes of log.jsonl up to here
	ConfigDigest string `json:"config_digest"`
	Tool         string `json:"tool"` // version that wrote it

	SHA256 map[string]string `json:"sha256"` // of the files; SaveCheckpoint fills it in
}

// CheckpointError is a fault in a stored checkpoint.
type CheckpointError struct {
	Path    string
	Problem string
	Err     error
}

func (e *CheckpointError) Error() string {
	s := fmt.Sprintf("checkpoint %s: %s", e.Path, e.Problem)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *CheckpointError) Unwrap() error { return e.Err }

// ExitCode is that of a bad input file.
func (e *CheckpointError) ExitCode() int { return 3 }

// ErrNoCheckpoint says that a run has not been saved yet.
var ErrNoCheckpoint = errors.New("the run has no such checkpoint yet")

// SaveCheckpoint makes c the run's checkpoint of that name, Last or Best. It
// takes the place of the one before in one step: whenever the process or the
// machine stops, one whole checkpoint is there. On an error the one before is
// untouched. Save Best before Last, whose state speaks of it.
func (r *Run) SaveCheckpoint(which string, c *Checkpoint) error {
	if err := r.save(which, c); err != nil {
		return fmt.Errorf("saving checkpoint %s: %w", r.Path(checkpoints, which), explainFull(err))
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
	defer os.RemoveAll(tmp) // after an exchange, this is the checkpoint before
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return err
	}
	state := c.State
	state.SHA256 = map[string]string{}
	moments := slices.Concat(prefixed(momentPrefix, c.Moments), prefixed(squarePrefix, c.Squares))
	for name, tensors := range map[string][]safetensors.Named{parametersName: c.Parameters, optimizerName: moments} {
		sum, err := writeSummed(filepath.Join(tmp, name), tensors)
		if err != nil {
			return err
		}
		state.SHA256[name] = sum
	}
	err := writeSynced(filepath.Join(tmp, stateName), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(state)
	})
	if err != nil {
		return err
	}
	if err := syncFolder(tmp); err != nil {
		return err
	}
	return r.install(tmp, which)
}

// writeSummed writes tensors and returns the file's SHA-256.
func writeSummed(path string, tensors []safetensors.Named) (string, error) {
	h := sha256.New()
	err := writeSynced(path, func(w io.Writer) error {
		return safetensors.Encode(io.MultiWriter(w, h), path, tensors, map[string]string{"format": "pt"})
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// install moves a complete temporary folder to where its checkpoint belongs.
func (r *Run) install(tmp, which string) error {
	to := r.Path(checkpoints, which)
	swapped, err := exchange(tmp, to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.Rename(tmp, to)
	case err == nil && !swapped:
		err = displace(tmp, to, r.Path(checkpoints, "."+which+".old"))
	}
	if err != nil {
		return err
	}
	return syncFolder(r.Path(checkpoints))
}

// displace puts tmp where to is, in two renames. A stop between them leaves
// old, which recover puts back.
func displace(tmp, to, old string) error {
	if err := os.Rename(to, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, to); err != nil {
		return errors.Join(err, os.Rename(old, to))
	}
	return os.RemoveAll(old)
}

// recover puts a checkpoint back that was being replaced when its process
// ended, and removes what isn't whole: hidden files, in the run's own folders.
func (r *Run) recover() error {
	folder := r.Path(checkpoints)
	for _, which := range []string{Last, Best} {
		to, old := filepath.Join(folder, which), filepath.Join(folder, "."+which+".old")
		if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
			if err := os.Rename(old, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	var unfinished []string
	for _, name := range append([]string{"."}, runFolders...) {
		if err := os.MkdirAll(r.Path(name), 0o777); err != nil {
			return explainFull(err)
		}
		entries, err := os.ReadDir(r.Path(name))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") && (name != "." || strings.HasSuffix(e.Name(), ".tmp")) {
				unfinished = append(unfinished, r.Path(name, e.Name()))
			}
		}
	}
	for _, path := range unfinished {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return syncFolder(folder)
}

// LoadCheckpoint reads a checkpoint and verifies it: checksums, and that the
// moments fit the parameters. ErrNoCheckpoint says that there is none, a
// *CheckpointError that it is damaged.
func (r *Run) LoadCheckpoint(which string) (*Checkpoint, error) { return r.load(which, true) }

// LoadParameters reads a checkpoint without the moments, to use the model
// rather than to train on.
func (r *Run) LoadParameters(which string) (*Checkpoint, error) { return r.load(which, false) }

func (r *Run) load(which string, moments bool) (*Checkpoint, error) {
	folder := r.Path(checkpoints, which)
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		if r.lock != nil {
			return nil, fmt.Errorf("loading checkpoint %s: %w", folder, ErrNoCheckpoint)
		}
		// A reader doesn't tidy up: see install.
		folder = r.Path(checkpoints, "."+which+".old")
		if _, err := os.Stat(folder); err != nil {
			return nil, fmt.Errorf("loading checkpoint %s: %w", r.Path(checkpoints, which), ErrNoCheckpoint)
		}
	}
	c, err := readCheckpoint(folder, moments)
	if err != nil && r.lock == nil {
		c, err = readCheckpoint(folder, moments) // it may have been replaced while we read
	}
	return c, err
}

func readCheckpoint(folder string, moments bool) (*Checkpoint, error) {
	c := &Checkpoint{}
	text, err := os.ReadFile(filepath.Join(folder, stateName))
	if err != nil {
		return nil, &CheckpointError{Path: folder, Problem: "its state can't be read", Err: err}
	}
	if err := json.Unmarshal(text, &c.State); err != nil {
		return nil, &CheckpointError{Path: folder, Problem: stateName + " is damaged", Err: err}
	}
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

// read reads one file of a checkpoint, whose checksum must be the state's.
func (s *State) read(folder, name string) ([]safetensors.Named, error) {
	path := filepath.Join(folder, name)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &CheckpointError{Path: folder, Problem: "a file can't be read", Err: err}
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != s.SHA256[name] {
		return nil, &CheckpointError{Path: folder, Problem: fmt.Sprintf(
			"%s is damaged: its SHA-256 is %s, %s says %q", name, got, stateName, s.SHA256[name])}
	}
	f, err := safetensors.Parse(path, data)
	if err != nil {
		return nil, err
	}
	out := make([]safetensors.Named, 0, len(f.Names()))
	for _, n := range f.Names() {
		t, err := f.Tensor(n)
		if err != nil {
			return nil, err
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
