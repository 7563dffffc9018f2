package pipeline

import (
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
)

// Inspect tells what an ONNX file or a checkpoint is, and whether it can be
// finetuned: to know that, it derives the graph of a training step with the
// default objective. An error means that the file can't be read.
func Inspect(path string) (*models.Report, error) {
	r, err := models.Inspect(path)
	if err != nil || len(r.Problems) > 0 {
		return r, err
	}
	defaults, err := configs.Load(nil, nil)
	if err != nil {
		return nil, err
	}
	blocked := func(err error) (*models.Report, error) {
		r.Problems = append(r.Problems, strings.TrimPrefix(err.Error(), path+": "))
		return r, nil
	}
	m, err := OpenModel(path, ModelOptions{})
	if err != nil {
		return blocked(err)
	}
	batch := int64(1)
	if found, err := models.Find(m.Graph, m.Find); err == nil && found.Image != nil && found.Image.Shape[0].Known() {
		batch = found.Image.Shape[0].N
	}
	if _, err := m.assemble(batch, ObjectiveOf(defaults), nil); err != nil {
		return blocked(err)
	}
	return r, nil
}
