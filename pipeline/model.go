package pipeline

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
	"github.com/relevit/relevit/pipeline/picture"
)

// Model is a ViT as the user gave it, with a copy that can be differentiated.
type Model struct {
	Path       string
	Document   *onnx.Document // the user's own file; a checkpoint's is the converted one
	Source     *onnx.Model    // what that file says
	Graph      *onnx.Graph    // a copy in the working dialect, from the picture to the logits
	Focus      *models.Focus  // how Graph's ends differ from the file's
	Params     []*onnx.Value  // trainable initializers of Graph, in the file's order
	Preprocess picture.Preprocess
	Find       models.FindOptions
	Graphs     GraphOptions
	Warnings   []string // what a checkpoint left open, and how it was read

	trained bool // Source and Graph hold a run's weights, the file at Path those from before
}

// ModelOptions state what can't be read off a file.
type ModelOptions struct {
	Convert models.Options // of a checkpoint
	Find    models.FindOptions
	Graphs  GraphOptions
	Version string // of the tool, for a conversion's metadata
}

// OpenModel reads an ONNX file or a checkpoint. Errors name what is wrong with
// the file; whether it can be finetuned shows when its graphs are built.
func OpenModel(path string, opt ModelOptions) (*Model, error) {
	m := &Model{Path: path, Find: opt.Find, Graphs: opt.Graphs}
	var err error
	if models.IsCheckpoint(path) {
		err = m.convert(opt)
	} else {
		m.Source, m.Document, err = onnx.ReadModel(path)
	}
	if err != nil {
		return nil, err
	}
	if m.Graph, err = passes.PrepareFloat32(m.Source); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if m.Find.ImageSize == [2]int64{} {
		m.Find.ImageSize = [2]int64{int64(opt.Convert.ImageSize[0]), int64(opt.Convert.ImageSize[1])}
	}
	if m.Focus, err = models.FocusOn(m.Graph, m.Find); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.Find = m.Focus.Options(m.Find, m.Graph)
	if err := m.widened(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.Params = passes.Parameters(m.Graph)
	if err := m.heldFixed(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, m.readPreprocess()
}

// heldFixed says which weights in branches aren't trained.
func (m *Model) heldFixed() error {
	inner, err := passes.BranchTensors(m.Source.Graph)
	if err != nil {
		return err
	}
	trained := map[string]bool{}
	for _, p := range m.Params {
		trained[p.Name] = true
	}
	var held []string
	for _, v := range inner {
		if passes.IsParameter(v) && !trained[v.Name] && !slices.Contains(held, v.Name) {
			held = append(held, v.Name)
		}
	}
	if n := len(held); n > 0 {
		m.Warnings = append(m.Warnings, fmt.Sprintf("%d weights within If nodes keep their values (%s first): "+
			"their branch isn't taken, or they share a name: simplify the model with onnxsim to train them", n, held[0]))
	}
	return nil
}

// convert builds the ONNX model of a checkpoint in memory.
func (m *Model) convert(opt ModelOptions) error {
	c, err := models.OpenCheckpoint(m.Path)
	if err != nil {
		return err
	}
	a, err := models.ReadArchitecture(c, opt.Convert)
	if err != nil {
		return err
	}
	m.Warnings = a.Warnings
	built, err := models.Build(c, a, models.BuildOptions{Version: opt.Version})
	if err != nil {
		return err
	}
	data, err := built.Encode()
	if err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	if m.Document, err = onnx.ParseDocument(data, ""); err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	if m.Source, err = m.Document.Model(); err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	return nil
}

// widened says what became of 16-bit numbers. A file whose own picture or logits
// aren't float32 is run by the copy, where they are.
func (m *Model) widened() error {
	types := map[onnx.DType]bool{}
	m.Source.Graph.Each(func(v *onnx.Value) { types[v.Type] = true })
	for _, t := range []onnx.DType{onnx.Float16, onnx.BFloat16} {
		if types[t] {
			m.Warnings = append(m.Warnings, fmt.Sprintf("the file holds %v: it is run and trained in float32 here, and an export rounds what was trained to %v again", t, t))
		}
	}
	for _, v := range slices.Concat(m.Source.Graph.Inputs, m.Source.Graph.Outputs) {
		if (v.Name == m.Focus.Input || v.Name == m.Focus.Output) && v.Type != onnx.Float {
			m.Focus.Changed = true
		}
	}
	for _, v := range slices.Concat(m.Graph.Inputs, m.Graph.Outputs) {
		if v.Type == onnx.Double {
			return &models.Error{Problem: fmt.Sprintf("%v is %v, and training is in float32", v, v.Type), Advice: "export the model in float32"}
		}
	}
	return nil
}

// readPreprocess takes how pictures are prepared from the file's metadata; a
// file that doesn't say gets timm's common choice for ViTs: bicubic, 0.9,
// mean = std = 0.5.
func (m *Model) readPreprocess() error {
	m.Preprocess = picture.Preprocess{Size: [2]int{224, 224}, CropPct: 0.9, Interpolation: picture.Bicubic,
		Resize: picture.ResizeShorter, Mean: picture.HalfMeanStd, Std: picture.HalfMeanStd}
	for _, v := range m.Graph.Inputs {
		if len(v.Shape) == 4 && v.Shape[2:].Known() {
			m.Preprocess.Size = [2]int{int(v.Shape[2].N), int(v.Shape[3].N)}
		}
	}
	stated := models.PreprocessOf(m.Source)
	if stated == nil {
		return nil
	}
	var err error
	if m.Preprocess.Interpolation, err = picture.ParseFilter(stated.Interpolation); err != nil {
		return fmt.Errorf("%s: preprocessing metadata: %w", m.Path, err)
	}
	if len(stated.Mean) != 3 {
		return fmt.Errorf("%s: the model takes %d channels; only colour pictures (3) are supported", m.Path, len(stated.Mean))
	}
	m.Preprocess.CropPct, m.Preprocess.Resize = stated.CropPct, picture.ResizeMode(stated.CropMode)
	for i := range stated.Mean {
		m.Preprocess.Mean[i], m.Preprocess.Std[i] = float32(stated.Mean[i]), float32(stated.Std[i])
	}
	if err := m.Preprocess.Validate(); err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	return nil
}
