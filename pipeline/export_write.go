package pipeline

import (
	"context"
	"os"
	"path/filepath"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// write writes one file, or folder, for a share of the finetuned weights. What
// isn't the user's own graph, and what replaces a model and its data files, is
// made in a folder of its own, checked there, and moved to its place.
func (e *exporter) write(ctx context.Context, path string, share *float64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	values, err := e.values(share)
	if err != nil {
		return err
	}
	e.result.Parameters = len(values)
	metadata := e.described(share)
	file := ExportedFile{Path: path, Blend: share}
	plain := e.result.Format == FormatONNX && !e.rewrites() && e.opt.Data == "" && share == nil && e.document != nil
	_, vacant := os.Stat(path)
	if plain && (vacant != nil || !e.document.HasExternalData()) {
		err = e.writeONNX(path, values, metadata)
	} else {
		file.Check, err = e.stage(ctx, path, values, metadata)
	}
	if err != nil {
		return err
	}
	sum := path
	if e.result.Format == FormatHub {
		sum = filepath.Join(path, hubWeights)
	}
	if file.SHA256, file.Bytes, err = fileSum(sum); err != nil {
		return err
	}
	e.result.Files = append(e.result.Files, file)
	return nil
}

// stage writes what arrives at path once it is checked.
func (e *exporter) stage(ctx context.Context, path string, values []safetensors.Named, metadata []onnx.KV) (check *ExportCheck, err error) {
	renamed, err := arrive(path, func(staged string) error {
		switch e.result.Format {
		case FormatONNX:
			if err = e.writeONNX(staged, values, metadata); err == nil {
				check, err = e.check(ctx, staged, values, metadata)
			}
		case FormatHub:
			err = e.writeFolder(staged, values, metadata)
		default:
			err = e.writeTensors(staged, values, metadata)
		}
		if err == nil {
			err = ctx.Err()
		}
		return err
	})
	for _, text := range renamed {
		e.note("%s", text)
	}
	return check, err
}
