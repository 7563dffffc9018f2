package web

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/picture"
)

// Model is what the page knows of a model.
type Model struct {
	Title      string                 `json:"title"`  // over its column
	Source     string                 `json:"source"` // what it was made of, without folders
	Model      ModelFile              `json:"model"`
	Data       *ModelFile             `json:"data,omitempty"` // the weights, where they lie beside the model
	Ends       pipeline.RelevanceEnds `json:"ends"`
	Preprocess picture.Preprocess     `json:"preprocess"`
	Classes    int                    `json:"classes"`
	Names      []string               `json:"names,omitempty"` // of the classes
}

// ModelFile is a file that the page loads.
type ModelFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// titles name the models, and their files.
var titles = [...]string{"before", "after", "model"}

// title is that of the model with index i of n.
func title(i, n int) string {
	if n == 1 {
		return titles[2]
	}
	return titles[i]
}

const (
	modelSuffix = ".onnx"
	dataSuffix  = ".data"
)

// A browser's WebAssembly has 4 GiB of memory at most, and onnxruntime-web needs
// more than twice the weights: models of 1540 MB load and run, of 1795 MB don't.
const mostWeights = 1500 << 20 // bytes

// insideWeights is up to how many bytes of weights lie in the model's file. A
// data file is held in memory once less.
var insideWeights int64 = 256 << 20

// writeModel writes a model with relevance into the page's folder.
func (o Options) writeModel(dir, path, title string) (*Model, error) {
	relevance := o.Relevance
	relevance.RequireTarget = true
	s, err := pipeline.OpenSelfExplaining(path, o.Open, relevance)
	if err != nil {
		return nil, err
	}
	if o.OnWarning != nil {
		for _, w := range s.Warnings {
			o.OnWarning(path + ": " + w)
		}
	}
	weights, err := fit(s)
	if err != nil {
		return nil, err
	}
	m := &Model{Title: title, Source: filepath.Base(strings.TrimRight(path, "/")), Ends: s.Ends, Preprocess: s.Preprocess, Classes: s.Classes, Names: s.Names}
	write := onnx.WriteOptions{}
	if weights > insideWeights {
		write.External = title + dataSuffix
	}
	if err := onnx.WriteModel(filepath.Join(dir, title+modelSuffix), s.Relevant, write); err != nil {
		return nil, err
	}
	if m.Model, err = describe(dir, title+modelSuffix); err != nil {
		return nil, err
	}
	if write.External != "" {
		data, err := describe(dir, write.External)
		if err != nil {
			return nil, err
		}
		m.Data = &data
	}
	return m, nil
}

// fit says what keeps the page from running a model, and returns the bytes of
// its weights.
func fit(s *pipeline.SelfExplaining) (int64, error) {
	refuse := func(advice, format string, args ...any) (int64, error) {
		return 0, &models.Error{Path: s.Path, Problem: fmt.Sprintf(format, args...), Advice: advice}
	}
	weights := int64(0)
	for _, v := range s.Relevant.Graph.Inits {
		if v.Data != nil {
			weights += int64(len(v.Data.Raw))
		}
	}
	if weights > mostWeights {
		return refuse("take a smaller model", "its weights are %d MB, and a browser's WebAssembly, with 4096 MB of memory in all, takes up to %d MB of them", weights>>20, int64(mostWeights)>>20)
	}
	for _, v := range s.Relevant.Graph.Inputs {
		if v.Name != s.Ends.Image {
			continue
		}
		if v.Type != onnx.Float {
			return refuse("export it with --keep-io-fp32", "its input %s is %v, and the page hands over float32", v.Name, v.Type)
		}
		if len(v.Shape) != 4 || v.Shape[1].Known() && v.Shape[1].N != 3 {
			return refuse("", "its input %s is %v, and the page hands over (batch,3,height,width)", v.Name, v.Shape)
		}
		if v.Shape[0].Known() && v.Shape[0].N != 1 {
			return refuse("export it with --batch dynamic", "it takes %d pictures at a time, and the page hands over one", v.Shape[0].N)
		}
	}
	for _, v := range s.Relevant.Graph.Outputs {
		if v.Name == s.Ends.Logits && v.Type != onnx.Float {
			return refuse("export it with --keep-io-fp32", "its output %s is %v, and the page expects float32", v.Name, v.Type)
		}
	}
	return weights, nil
}

// comparable refuses models of other classes than the first's, and gives all
// the names that one of them has.
func comparable(list []Model) error {
	for _, m := range list[1:] {
		if m.Classes != list[0].Classes {
			return &models.Error{Path: m.Source, Problem: fmt.Sprintf("it has %d classes, and %s has %d: a page compares models of the same classes", m.Classes, list[0].Source, list[0].Classes)}
		}
	}
	for i := range list {
		for _, other := range list {
			if list[i].Names == nil {
				list[i].Names = other.Names
			}
		}
	}
	return nil
}

func describe(dir, name string) (ModelFile, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return ModelFile{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return ModelFile{name, n, hex.EncodeToString(h.Sum(nil))}, err
}
