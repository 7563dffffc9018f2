package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/pipeline/dataset"
)

// Checked is what was found of what lies on a disk: a run, a batch, or a model.
type Checked struct {
	Path    string   `json:"path"`
	Kind    string   `json:"kind"` // run, batch, onnx or checkpoint
	Healthy bool     `json:"healthy"`
	Parts   []string `json:"parts"`  // what was checked
	Faults  []Fault  `json:"faults"` // what is damaged
	Remarks []string `json:"remarks"`
}

// Fault is one damage.
type Fault struct {
	Path     string `json:"path"`
	Where    string `json:"where,omitempty"` // in the file, where that is known
	Expected string `json:"expected"`
	Found    string `json:"found"`
	Advice   string `json:"advice"`
}

func (f Fault) String() string {
	where := f.Path
	if f.Where != "" {
		where += ", " + f.Where
	}
	return fmt.Sprintf("%s: found %s; expected %s; %s", where, strings.ReplaceAll(f.Found, "\n", " "), f.Expected, f.Advice)
}

// DamagedError says that Check has found faults.
type DamagedError struct {
	Path   string
	Faults int
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged; faults: %d", e.Path, e.Faults)
}

// ExitCode is that of a bad input file.
func (e *DamagedError) ExitCode() int { return 3 }

// Err is a *DamagedError if there are faults.
func (c *Checked) Err() error {
	if len(c.Faults) == 0 {
		return nil
	}
	return &DamagedError{c.Path, len(c.Faults)}
}

const kindBatch = "batch"

// Check reads a run's or batch's folder, an ONNX file or a checkpoint from end
// to end and says what is damaged. It needs no runtime and writes nothing. It
// fails only where path can't be looked at.
func Check(ctx context.Context, path string) (*Checked, error) {
	c := &Checked{Path: path, Parts: []string{}, Faults: []Fault{}, Remarks: []string{}}
	var err error
	switch info, statErr := os.Stat(path); {
	case statErr != nil:
		return nil, statErr
	case IsBatch(path):
		c.Kind = kindBatch
		err = c.batch(ctx, path)
	case IsRun(path) || info.IsDir() && holdsRun(path):
		c.Kind = kindRun
		err = c.run(ctx, path)
	case info.IsDir() && !models.HoldsWeights(path):
		return nil, &models.Error{Path: path, Problem: "the folder holds nothing that can be checked; expected a run (config.yaml), a batch of runs (batch.yaml) or a file of weights",
			Advice: "give such a folder, or the file of a model"}
	case models.IsCheckpoint(path):
		c.Kind = kindCheckpoint
		c.checkpoint(path)
	default:
		c.Kind = kindONNX
		c.model(path, restoreModel)
	}
	c.Healthy = len(c.Faults) == 0
	return c, err
}

const restoreModel = "download, convert or export it again"

// holdsRun tells a run's folder that has lost its config.yaml.
func holdsRun(dir string) bool {
	for _, name := range []string{checkpoints, logName} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

func (c *Checked) part(format string, args ...any) {
	c.Parts = append(c.Parts, fmt.Sprintf(format, args...))
}

func (c *Checked) remark(format string, args ...any) {
	c.Remarks = append(c.Remarks, fmt.Sprintf(format, args...))
}

func (c *Checked) fault(path, expected, advice, found string, args ...any) {
	c.Faults = append(c.Faults, Fault{Path: path, Expected: expected, Found: fmt.Sprintf(found, args...), Advice: advice})
}

// failed records an error of reading a file.
func (c *Checked) failed(path, expected, advice string, err error) {
	f := Fault{Path: path, Expected: expected, Found: strings.TrimPrefix(err.Error(), path+": "), Advice: advice}
	if format := (*onnx.FormatError)(nil); errors.As(err, &format) {
		f.Found = format.Problem
		if format.File != "" {
			f.Path = format.File
		}
		f.Where = format.Where
		if format.Offset >= 0 {
			f.Where = strings.TrimSuffix(fmt.Sprintf("byte %d, %s", format.Offset, format.Where), ", ")
		}
		if format.Hint != "" {
			f.Found += " (" + format.Hint + ")"
		}
	}
	if table := (*dataset.Error)(nil); errors.As(err, &table) {
		f.Found = cmp.Or(table.Found, f.Found)
		f.Path = cmp.Or(table.Path, f.Path)
		if table.Line > 0 {
			f.Where = fmt.Sprintf("line %d", table.Line)
		}
	}
	c.Faults = append(c.Faults, f)
}

// model checks an ONNX file: that all of it can be read, its external data
// within their files' bounds, by two readers, and the rules of ONNX's checker.
func (c *Checked) model(path, advice string) {
	s := &subject{path: path, file: path}
	var err error
	if s.model, s.doc, err = onnx.ReadModel(path); err != nil {
		c.failed(path, "an ONNX model, whole", advice, err)
		return
	}
	faults, remarks, _, err := soundness(s.model, s.doc)
	if err != nil {
		c.failed(path, "a model that ends", advice, err)
		return
	}
	again, _, twice, err := s.secondReading()
	if err != nil {
		c.failed(path, "the same model to a second reader", advice, err)
	}
	for _, f := range faults {
		c.fault(path, "a graph by ONNX's rules", advice, "%s", f)
	}
	for _, f := range again {
		c.fault(path, "the same numbers to a second reader", advice, "%s", f)
	}
	c.part("%s: %d nodes, %d initializers, %d of them read twice", path, len(s.model.Graph.Nodes), len(s.model.Graph.Inits), twice)
	for _, r := range remarks {
		c.remark("%s: %s", path, r)
	}
}

// checkpoint checks that every tensor of a checkpoint can be read.
func (c *Checked) checkpoint(path string) {
	from, err := models.OpenCheckpoint(path)
	if err != nil {
		c.failed(path, "a checkpoint, whole", restoreModel, err)
		return
	}
	c.part("%s: %d tensors, %d numbers, %s", path, len(from.Names()), from.Parameters(), from.Format)
}

// batch checks the list of runs, and each run that has begun.
func (c *Checked) batch(ctx context.Context, dir string) error {
	b, err := ReadBatch(dir)
	if err != nil {
		c.failed(filepath.Join(dir, batchName), "the configurations of the batch's runs", "put it back as it was", err)
		return nil
	}
	c.part("%s: %d runs", filepath.Join(dir, batchName), len(b.Runs))
	for _, r := range b.Runs {
		at := filepath.Join(dir, r.Name)
		if _, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) {
			c.remark("%s has not begun", at)
			continue
		}
		if err := c.run(ctx, at); err != nil {
			return err
		}
	}
	c.json(filepath.Join(dir, compareJSONName), "remove it, and relevit finetune --resume or compare writes it anew")
	return nil
}

// json checks that a file, if it is there, is one JSON value.
func (c *Checked) json(path, advice string) {
	var value any
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &value)
	}
	switch {
	case err == nil:
		c.part("%s", path)
	case !errors.Is(err, fs.ErrNotExist):
		c.failed(path, "JSON", advice, err)
	}
}
