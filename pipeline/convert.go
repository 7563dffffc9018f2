package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// ConvertOptions say how a checkpoint becomes a model.
type ConvertOptions struct {
	Open    models.Options
	Opset   int64  // 11 to 24; 0: 17
	Data    string // DataOutside or DataInside; "": inside as long as it fits
	Force   bool   // overwrite the output
	Version string // of the tool, for the metadata
}

// Converted says what Convert wrote.
type Converted struct {
	Path         string   `json:"path"`
	Architecture string   `json:"architecture"`
	Description  string   `json:"description"`
	Parameters   int64    `json:"parameters"`
	Opset        int64    `json:"opset"`
	SHA256       string   `json:"sha256"`
	Bytes        int64    `json:"bytes"`
	Warnings     []string `json:"warnings"`
}

// Convert writes a checkpoint as an ONNX model.
func Convert(ctx context.Context, source, out string, opt ConvertOptions) (*Converted, error) {
	if err := Vacant(out, opt.Force); err != nil {
		return nil, err
	}
	c, err := models.OpenCheckpoint(source)
	if err != nil {
		return nil, err
	}
	a, err := models.ReadArchitecture(c, opt.Open)
	if err != nil {
		return nil, err
	}
	m, err := build(c, a, opt)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var write onnx.WriteOptions
	if opt.Data == DataOutside {
		write.External = dataFile(out)
	}
	renamed, err := arrive(out, func(staged string) error { return onnx.WriteModel(staged, m, write) })
	if err != nil {
		return nil, err
	}
	r := &Converted{Path: out, Architecture: a.Title(), Description: a.Describe(), Opset: m.OpsetVersion(""), Warnings: slices.Concat([]string{}, a.Warnings, renamed)}
	for _, p := range passes.Parameters(m.Graph) {
		r.Parameters += p.Data.Count()
	}
	r.SHA256, r.Bytes, err = fileSum(out)
	return r, err
}

// build builds the model in any opset: those that the builder doesn't write are
// lowered from the working dialect.
func build(c *models.Checkpoint, a *models.Architecture, opt ConvertOptions) (*onnx.Model, error) {
	const oldest = 17 // that the builder writes
	native := opt.Opset
	if native != 0 && (native < oldest || native > onnx.Dialect) {
		native = onnx.Dialect
	}
	m, err := models.Build(c, a, models.BuildOptions{Opset: native, Version: opt.Version})
	if err != nil || native == opt.Opset {
		return m, err
	}
	if err := passes.Lower(m.Graph, opt.Opset); err != nil {
		return nil, err
	}
	setOpset(m, opt.Opset)
	m.IRVersion = 0 // the oldest that goes with the opset
	return m, nil
}

// Vacant refuses an output that exists, unless it may be overwritten.
func Vacant(path string, force bool) error {
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && force:
		return nil
	case err == nil:
		return &ExistsError{Path: path, Advice: "give another name, or --force to overwrite it"}
	}
	return fmt.Errorf("writing %s: %w", path, err)
}
