package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
)

// ConvertOptions say how a checkpoint becomes a model.
type ConvertOptions struct {
	Open    models.Options
	Opset   int64  // 17 to 21; 0: 17
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
	m, err := models.Build(c, a, models.BuildOptions{Opset: opt.Opset, Version: opt.Version})
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := onnx.WriteModel(out, m, onnx.WriteOptions{}); err != nil {
		return nil, explainFull(err)
	}
	r := &Converted{Path: out, Architecture: a.Title(), Description: a.Describe(), Parameters: c.Parameters(),
		Opset: m.OpsetVersion(""), Warnings: append([]string{}, a.Warnings...)}
	r.SHA256, r.Bytes, err = fileSum(out)
	return r, err
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
