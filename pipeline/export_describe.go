package pipeline

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/pipeline/dataset"
)

// Keys of the metadata that Export adds to those of package models.
const (
	MetaRecipe     = "relevit.recipe"     // the resolved configuration as YAML
	MetaCheckpoint = "relevit.checkpoint" // which one of the run, as JSON
	MetaBlend      = "relevit.blend"      // share of the finetuned weights, the rest being the original's
)

// described is the metadata to set on a blend, or on the finetuned model where
// share is nil.
func (e *exporter) described(share *float64) []onnx.KV {
	out := e.metadata[:len(e.metadata):len(e.metadata)]
	if share != nil {
		out = append(out, onnx.KV{Key: MetaBlend, Value: strconv.FormatFloat(*share, 'g', -1, 64)})
	}
	return out
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
	if _, ok := e.model.Meta(models.MetaLabels); ok {
		return nil
	}
	table := classesOf(c)
	if table == nil {
		return nil
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

// classesOf reads a run's table of classes; nil if it names none, or it is no
// longer there: the run may have been moved away from its data.
func classesOf(c *configs.Config) *dataset.Classes {
	path := c.Data.ClassesFile
	if path == "" {
		return nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.Data.Root, path)
	}
	table, err := dataset.ReadClasses(path)
	if err != nil {
		return nil
	}
	return table
}
