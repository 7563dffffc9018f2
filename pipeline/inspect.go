package pipeline

import (
	"fmt"
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
)

// Inspect tells what an ONNX file or a checkpoint is, and whether it can be
// finetuned: to know that, it derives the graph of a training step with the
// default objective. An error means that the file can't be read.
func Inspect(path string, opt ModelOptions) (*models.Report, error) {
	r, err := models.Inspect(path, opt.Convert, opt.Find)
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
	m, err := OpenModel(path, opt)
	if err != nil {
		return blocked(err)
	}
	if ends, ok := RelevanceOf(m.Source); ok {
		r.Notes = append(r.Notes, fmt.Sprintf("it explains itself: output %s is the relevance map of the class that input %s names", ends.Map, ends.Target))
	}
	batch := int64(1)
	if found, err := models.Find(m.Graph, m.Find); err == nil && found.Image != nil && found.Image.Shape[0].Known() {
		batch = found.Image.Shape[0].N
	}
	if _, err := m.assemble(batch, ObjectiveOf(defaults), nil, false); err != nil {
		return blocked(err)
	}
	return r, nil
}

// presets by the width of a token: of the sizes that the presets are for.
var presets = map[int64]string{192: "tiny", 384: "small", 768: "base", 1024: "large"}

// PresetFor names the preset nearest to a model.
func PresetFor(r *models.Report) string {
	family, size := "vit", presets[r.Width]
	switch {
	case strings.HasPrefix(r.Architecture, "deit") && size != "large":
		family = "deit"
	case size == "small": // ViT-S is AugReg's
		family = "augreg"
	}
	if size == "" {
		return "vit-base"
	}
	return family + "-" + size
}
