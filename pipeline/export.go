package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
	"github.com/relevit/relevit/pipeline/dataset"
)

// Keys of the metadata that Export adds to those of package models.
const (
	MetaRecipe     = "relevit.recipe"     // the resolved configuration as YAML
	MetaCheckpoint = "relevit.checkpoint" // which one of the run, as JSON
)

// Formats of exported files.
const (
	FormatONNX        = "onnx"
	FormatSafetensors = "safetensors"
)

// ExportOptions say what to export and how. The zero value takes a run's best
// checkpoint, or its last where nothing was held out to choose the best.
type ExportOptions struct {
	Format     string // FormatONNX or FormatSafetensors; "": by the output's suffix
	Checkpoint string // Best or Last of a run; ""
	Force      bool   // overwrite the output
	Version    string // of the tool, for the metadata
	Open       models.Options
}

// Exported says what Export wrote.
type Exported struct {
	Path       string `json:"path"`
	Format     string `json:"format"`
	SHA256     string `json:"sha256"`
	Bytes      int64  `json:"bytes"`
	Parameters int    `json:"parameters"` // tensors given new values
	Checkpoint string `json:"checkpoint,omitempty"`
	Epoch      int    `json:"epoch"`       // complete epochs of training in it
	GlobalStep int    `json:"global_step"` // and steps
}

// Export writes a run's parameters as a model of its own: the user's own graph
// with new values in its initializers and more metadata, and nothing else
// changed, or the parameters alone under their own names. Given a model instead
// of a run, it writes that in the other format.
func Export(ctx context.Context, source, out string, opt ExportOptions) (*Exported, error) {
	format, err := exportFormat(out, opt.Format)
	if err != nil {
		return nil, err
	}
	if err := Vacant(out, opt.Force); err != nil {
		return nil, err
	}
	e := &exporter{result: Exported{Path: out, Format: format}}
	if IsRun(source) {
		err = e.openRun(source, opt)
	} else {
		err = e.openModel(source, opt)
	}
	if err != nil {
		return nil, fmt.Errorf("exporting %s: %w", source, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.write(); err != nil {
		return nil, fmt.Errorf("exporting %s: %w", source, explainFull(err))
	}
	e.result.SHA256, e.result.Bytes, err = fileSum(out)
	return &e.result, err
}

func exportFormat(out, format string) (string, error) {
	suffix := map[string]string{".onnx": FormatONNX, ".safetensors": FormatSafetensors}[strings.ToLower(filepath.Ext(out))]
	switch {
	case format != "" && format != FormatONNX && format != FormatSafetensors:
		return "", &configs.Error{Msg: fmt.Sprintf("export format %q; it can be %s or %s", format, FormatONNX, FormatSafetensors)}
	case format == "" && suffix == "":
		return "", &configs.Error{Msg: fmt.Sprintf("the suffix of %s tells no format: give the file the suffix .onnx or .safetensors, or state the format", out)}
	case format != "" && suffix != "" && format != suffix:
		return "", &configs.Error{Msg: fmt.Sprintf("%s is to be written as %s: give it that suffix", out, format)}
	case format == "":
		return suffix, nil
	}
	return format, nil
}

// exporter holds what an export is made of.
type exporter struct {
	document *onnx.Document
	model    *onnx.Model // what the document says
	trained  []safetensors.Named
	metadata []onnx.KV // to set
	result   Exported
}

// openModel opens a model that wasn't trained by a run.
func (e *exporter) openModel(path string, opt ExportOptions) error {
	if !models.IsCheckpoint(path) {
		var err error
		e.model, e.document, err = onnx.ReadModel(path)
		return err
	}
	c, err := models.OpenCheckpoint(path)
	if err != nil {
		return err
	}
	a, err := models.ReadArchitecture(c, opt.Open)
	if err != nil {
		return err
	}
	built, err := models.Build(c, a, models.BuildOptions{Version: opt.Version})
	if err != nil {
		return err
	}
	data, err := built.Encode()
	if err != nil {
		return err
	}
	if e.document, err = onnx.ParseDocument(data, ""); err != nil {
		return err
	}
	e.model, err = e.document.Model()
	return err
}

// openRun opens the model that a run started from, and a checkpoint of it.
func (e *exporter) openRun(dir string, opt ExportOptions) error {
	run, err := ReadRun(dir)
	if err != nil {
		return err
	}
	base := run.Artifact(sourceArtifact)
	if e.model, e.document, err = onnx.ReadModel(base); err != nil {
		return err
	}
	which := opt.Checkpoint
	if which == "" {
		which = Best
	}
	c, err := run.LoadParameters(which)
	if errors.Is(err, ErrNoCheckpoint) && opt.Checkpoint == "" {
		which = Last
		c, err = run.LoadParameters(which)
	}
	if err != nil {
		return err
	}
	e.trained = c.Parameters
	e.result.Checkpoint, e.result.Epoch, e.result.GlobalStep = which, c.State.Epoch, c.State.GlobalStep
	return e.describe(run, base, opt.Version)
}

// describe collects the metadata: where the model comes from and how it was
// trained, and what is known of its input and classes.
func (e *exporter) describe(run *Run, base, version string) error {
	e.metadata = append(e.metadata, onnx.KV{Key: models.MetaVersion, Value: version})
	if sum, _ := e.model.Meta(models.MetaSourceSum); sum == "" {
		sum, _, err := fileSum(base) // the user's own file, byte by byte
		if err != nil {
			return err
		}
		e.metadata = append(e.metadata, onnx.KV{Key: models.MetaSource, Value: filepath.Base(run.Config.Model)},
			onnx.KV{Key: models.MetaSourceSum, Value: sum})
	}
	recipe, err := yaml.Marshal(run.Config)
	if err != nil {
		return fmt.Errorf("writing the recipe: %w", err)
	}
	state, err := json.Marshal(map[string]any{"which": e.result.Checkpoint, "epoch": e.result.Epoch, "global_step": e.result.GlobalStep})
	if err != nil {
		return err
	}
	e.metadata = append(e.metadata, onnx.KV{Key: MetaRecipe, Value: string(recipe)}, onnx.KV{Key: MetaCheckpoint, Value: string(state)})
	if err := e.describeInput(run, base); err != nil {
		return err
	}
	return e.describeClasses(run.Config)
}

// describeInput states the preprocessing that training used, unless the model
// states its own.
func (e *exporter) describeInput(run *Run, base string) error {
	if _, ok := e.model.Meta(models.MetaPreprocess); ok {
		return nil
	}
	for _, v := range e.model.Graph.Inputs {
		if len(v.Shape) != 4 || !v.Shape[2].Known() || !v.Shape[3].Known() {
			continue
		}
		m, err := OpenModel(base, ModelOptions{})
		if err != nil {
			return err
		}
		p, err := preprocessFor(run.Config, m, v.Shape[2].N, v.Shape[3].N)
		if err != nil {
			return err
		}
		text, err := json.Marshal(p)
		if err != nil {
			return err
		}
		e.metadata = append(e.metadata, onnx.KV{Key: models.MetaPreprocess, Value: string(text)})
		return nil
	}
	return nil
}

// describeClasses names the classes if the run's table of classes is still
// there and fits the model.
func (e *exporter) describeClasses(c *configs.Config) error {
	if _, ok := e.model.Meta(models.MetaLabels); ok || c.Data.ClassesFile == "" {
		return nil
	}
	path := c.Data.ClassesFile
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.Data.Root, path)
	}
	table, err := dataset.ReadClasses(path)
	if err != nil {
		return nil // the run may have been moved away from its data
	}
	titles := table.Titles()
	for _, v := range e.model.Graph.Outputs {
		if n := len(v.Shape); n == 0 || v.Shape[n-1] != onnx.D(int64(len(titles))) {
			continue
		}
		text, err := json.Marshal(titles)
		if err != nil {
			return err
		}
		e.metadata = append(e.metadata, onnx.KV{Key: models.MetaLabels, Value: string(text)})
		break
	}
	return nil
}

func (e *exporter) write() error {
	e.result.Parameters = len(e.trained)
	if e.result.Format == FormatSafetensors {
		return e.writeSafetensors()
	}
	for _, t := range e.trained {
		if err := e.document.SetInitializer(t.Name, t.Tensor); err != nil {
			return err
		}
	}
	for _, kv := range e.metadata {
		e.document.SetMetadata(kv.Key, kv.Value)
	}
	return e.document.WriteFile(e.result.Path)
}

// writeSafetensors writes every parameter of the model in the type that the
// model stores it in, trained or not.
func (e *exporter) writeSafetensors() error {
	trained := byName(e.trained)
	var out []safetensors.Named
	for _, v := range e.model.Graph.Inits {
		t := trained[v.Name]
		if t == nil {
			if passes.IsParameter(v) {
				out = append(out, safetensors.Named{Name: v.Name, Tensor: v.Data})
			}
			continue
		}
		stored, err := t.As(v.Data.Type)
		if err != nil {
			return fmt.Errorf("parameter %s: %w", v.Name, err)
		}
		if !slices.Equal(stored.Dims, v.Data.Dims) {
			return fmt.Errorf("parameter %s is %v in the checkpoint and %v in the model", v.Name, stored.Shape(), v.Data.Shape())
		}
		out = append(out, safetensors.Named{Name: v.Name, Tensor: stored})
		delete(trained, v.Name)
	}
	for _, t := range e.trained {
		if trained[t.Name] != nil {
			out = append(out, t) // in a Constant node of the graph
		}
	}
	metadata := map[string]string{"format": "pt"}
	for _, kv := range slices.Concat(e.model.Metadata, e.metadata) {
		metadata[kv.Key] = kv.Value
	}
	return safetensors.Write(e.result.Path, out, metadata)
}
