// Package web writes a folder with a page that runs one or two models in a
// browser, by onnxruntime-web, and shows what they see in a picture: classes
// and relevance, before and after. The page asks nothing of any other server.
package web

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/dataset"
)

// Options say what page to write.
type Options struct {
	Models  []string // one, or two: before and after; ONNX files, checkpoints or runs
	Output  string   // folder
	Classes string   // table of classes, for their names; empty: the models' own names
	Force   bool     // overwrite files in Output

	Open      pipeline.ModelOptions
	Relevance pipeline.RelevanceOptions
	Runtime   func(context.Context) (folder string, err error) // finds the files of ort.WebFiles; asked once the models are ready
	OnWarning func(text string)                                // may be nil
}

// Site says what Write wrote.
type Site struct {
	Output string  `json:"output"`
	Models []Model `json:"models"`
	Files  []File  `json:"files"`
}

// File is a file of the folder.
type File struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

//go:embed page
var page embed.FS

// pageFolder is where page keeps what is copied as it is.
const pageFolder = "page"

// settingsName is the file by which the page knows its models.
const settingsName = "models.json"

// Write writes the folder. It appears with all its files or not at all, unless
// it is there already and is overwritten.
func Write(ctx context.Context, opt Options) (*Site, error) {
	if len(opt.Models) < 1 || len(opt.Models) > len(titles) {
		return nil, fmt.Errorf("web: %d models, expected one or two", len(opt.Models))
	}
	if err := vacant(opt.Output, opt.Force); err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp(filepath.Dir(opt.Output), "."+filepath.Base(opt.Output)+".*.tmp")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	if err := os.Chmod(temp, 0o755); err != nil {
		return nil, err
	}
	site := &Site{Output: opt.Output}
	if site.Models, err = opt.writeModels(ctx, temp); err != nil {
		return nil, err
	}
	runtime, err := opt.Runtime(ctx)
	if err != nil {
		return nil, err
	}
	if err := writePage(temp, runtime); err != nil {
		return nil, err
	}
	if err := writeSettings(filepath.Join(temp, settingsName), site.Models); err != nil {
		return nil, err
	}
	if site.Files, err = list(temp); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return site, move(temp, opt.Output, site.Files)
}

// vacant refuses a folder that has files, unless they may be overwritten.
func vacant(path string, force bool) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil // it shows when it is made
	case !info.IsDir():
		return &pipeline.ExistsError{Path: path, Advice: "it is a file; give a folder"}
	}
	if entries, err := os.ReadDir(path); err == nil && len(entries) == 0 {
		return nil
	}
	return pipeline.Vacant(path, force)
}

// writeModels writes the models' files, one model in memory at a time.
func (o Options) writeModels(ctx context.Context, dir string) ([]Model, error) {
	var names []string
	if o.Classes != "" {
		table, err := dataset.ReadClasses(o.Classes)
		if err != nil {
			return nil, err
		}
		names = table.Titles()
	}
	var out []Model
	for i, path := range o.Models {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := o.writeModel(dir, path, title(i, len(o.Models)))
		if err != nil {
			return nil, err
		}
		if names != nil {
			m.Names = names
		}
		out = append(out, *m)
	}
	return out, comparable(out)
}

// writePage copies what is the same for all models.
func writePage(dir, runtime string) error {
	ours, err := fs.Sub(page, pageFolder)
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, ours); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	for _, f := range ort.WebFiles {
		if err := copyFile(filepath.Join(dir, f.Name), filepath.Join(runtime, f.Name)); err != nil {
			return fmt.Errorf("copying onnxruntime-web: %w", err)
		}
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return atomic.Write(to, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

func writeSettings(path string, models []Model) error {
	return atomic.Write(path, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(map[string]any{"models": models})
	})
}

func list(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []File
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		out = append(out, File{e.Name(), info.Size()})
	}
	return out, nil
}

// move puts the folder into its place, or its files into the folder that is
// there, without the models that the page had before.
func move(temp, path string, files []File) error {
	if err := os.Remove(path); err == nil || os.IsNotExist(err) {
		return os.Rename(temp, path)
	}
	for _, t := range titles {
		for _, name := range []string{t + modelSuffix, t + dataSuffix} {
			if err := os.Remove(filepath.Join(path, name)); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	for _, f := range files {
		if err := os.Rename(filepath.Join(temp, f.Name), filepath.Join(path, f.Name)); err != nil {
			return err
		}
	}
	return nil
}
