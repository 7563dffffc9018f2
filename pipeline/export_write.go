package pipeline

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// write writes one file, or folder, for a share of the finetuned weights. What
// isn't the user's own graph is made in a folder of its own, checked there, and
// moved to its place.
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
	plain := e.result.Format == FormatONNX && !e.rewrites() && e.opt.Data == "" && share == nil
	if plain && e.document != nil {
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

// stage writes into a temporary folder beside path, checks what is there, and
// moves it to path.
func (e *exporter) stage(ctx context.Context, path string, values []safetensors.Named, metadata []onnx.KV) (*ExportCheck, error) {
	parent := filepath.Dir(path)
	temp, err := os.MkdirTemp(parent, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	staged := filepath.Join(temp, filepath.Base(path))
	var check *ExportCheck
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
	if err == nil {
		err = moveIn(temp, staged, path)
	}
	if err == nil {
		err = syncFolder(parent)
	}
	return check, err
}

// moveIn moves what was staged beside path: the data files of a model, then the
// model, or a folder. Data files of other models are not overwritten.
func moveIn(temp, staged, path string) error {
	_, err := os.Stat(path)
	fresh := err != nil
	if info, err := os.Stat(staged); err == nil && info.IsDir() {
		return moveFolder(staged, path)
	}
	var rest []string
	err = filepath.WalkDir(temp, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || file == staged {
			return err
		}
		name, err := filepath.Rel(temp, file)
		rest = append(rest, name)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range rest {
		target := filepath.Join(filepath.Dir(path), name)
		if _, err := os.Stat(target); err == nil && fresh {
			return fmt.Errorf("the data file %s is there already and belongs to another model: write into another folder", target)
		}
	}
	for _, name := range rest {
		target := filepath.Join(filepath.Dir(path), name)
		if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(temp, name), target); err != nil {
			return err
		}
	}
	return os.Rename(staged, path)
}

// moveFolder moves a folder to a path where there is none, an empty one, or one
// whose files of the same names are to be overwritten.
func moveFolder(staged, path string) error {
	if err := os.Remove(path); err == nil || os.IsNotExist(err) {
		return os.Rename(staged, path)
	}
	entries, err := os.ReadDir(staged)
	if err != nil {
		return err
	}
	for _, f := range entries {
		if err := os.Rename(filepath.Join(staged, f.Name()), filepath.Join(path, f.Name())); err != nil {
			return err
		}
	}
	return nil
}
