package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/passes"
)

// Formats of exported files.
const (
	FormatONNX        = "onnx"
	FormatSafetensors = "safetensors"
	FormatPyTorch     = "pth"
	FormatHub         = "hf" // a folder, as model hubs have it
)

// Precisions that a model can be exported in.
const (
	Float32 = "fp32"
	Float16 = "fp16"
)

// DynamicBatch opens the batch size.
const DynamicBatch = -1

// Where an exported model keeps its weights.
const (
	DataOutside = "outside" // in a data file beside the model
	DataInside  = "inside"
)

// ExportOptions say what to export and how. The zero value takes a run's best
// checkpoint, or its last where nothing was held out to choose the best, and
// leaves the user's graph as it is.
type ExportOptions struct {
	Format     string // one of the formats; "": by the output's suffix
	Checkpoint string // Best or Last of a run; ""
	Force      bool   // overwrite the output
	Version    string // of the tool, for the metadata
	Open       models.Options

	Blend     []float64 // shares of the finetuned weights, 0 to 1, the rest being the original's: a file for each
	BlendWith string    // the original of a model that isn't a run's

	// What follows is for FormatONNX.

	Precision     string // Float32, Float16; "" as it is
	KeepIO        bool   // with Float16, inputs and outputs stay float32
	Opset         int64  // of ai.onnx; 0 as it is
	Batch         int64  // size, or DynamicBatch; 0 as it is
	Data          string // DataOutside, DataInside; "" as it is
	WithRelevance bool   // add the relevance map of a class as an output
	Find          models.FindOptions

	Run bool        // what was written, before it appears, and compare, where there is a runtime
	ORT ort.Options // how
}

// Exported says what Export wrote.
type Exported struct {
	ExportedFile
	Format     string `json:"format"`
	Parameters int    `json:"parameters"` // tensors given new values
	Checkpoint string `json:"checkpoint,omitempty"`
	Epoch      int    `json:"epoch"`       // complete epochs of training in it
	GlobalStep int    `json:"global_step"` // and steps

	Opset int64          `json:"opset,omitempty"`
	Half  *passes.Halved `json:"float16,omitempty"`
	Files []ExportedFile `json:"files"`           // all files, in the order of the blends
	Notes []string       `json:"notes,omitempty"` // what the user should know
}

// ExportedFile is one file, or folder, that Export wrote.
type ExportedFile struct {
	Path   string       `json:"path"`
	SHA256 string       `json:"sha256"` // of the file; of the weights in a folder
	Bytes  int64        `json:"bytes"`
	Blend  *float64     `json:"blend,omitempty"`
	Check  *ExportCheck `json:"check,omitempty"`
}

// Export writes a run's parameters as a model of its own: the user's own graph
// with new values in its initializers and more metadata, and nothing else
// changed, or the parameters alone under their own names. Given a model instead
// of a run, it writes that in the other format. Options that change the graph
// write one that computes the same in another form; what they write is read and
// run before it appears.
func Export(ctx context.Context, source, out string, opt ExportOptions) (*Exported, error) {
	format, err := opt.format(out)
	if err != nil {
		return nil, err
	}
	paths := blendPaths(out, opt.Blend)
	for _, path := range paths {
		if err := vacantFor(format, path, opt.Force); err != nil {
			return nil, err
		}
	}
	e := &exporter{opt: opt, source: source, result: Exported{Format: format}}
	if IsRun(source) {
		err = e.openRun(source)
	} else {
		err = e.openModel(source)
	}
	if err == nil && opt.BlendWith != "" {
		err = e.openOriginal(opt.BlendWith)
	}
	if err != nil {
		return nil, fmt.Errorf("exporting %s: %w", source, err)
	}
	for i, path := range paths {
		var share *float64
		if len(opt.Blend) > 0 {
			share = &opt.Blend[i]
		}
		if err := e.write(ctx, path, share); err != nil {
			return nil, fmt.Errorf("exporting %s: %w", source, err)
		}
	}
	e.result.ExportedFile = e.result.Files[0]
	return &e.result, nil
}

// format tells the format, and checks that everything asked for goes with it.
func (o *ExportOptions) format(out string) (string, error) {
	fail := func(format string, args ...any) (string, error) {
		return "", &configs.Error{Msg: fmt.Sprintf(format, args...)}
	}
	suffixes := map[string]string{".onnx": FormatONNX, ".safetensors": FormatSafetensors,
		".pth": FormatPyTorch, ".pt": FormatPyTorch, ".bin": FormatPyTorch}
	told := suffixes[strings.ToLower(filepath.Ext(out))]
	format := o.Format
	switch {
	case format == "" && told == "":
		return fail("the suffix of %s tells no format: give the file the suffix .onnx, .safetensors or .pth, or state the format", out)
	case format == "":
		format = told
	case format == FormatHub && told != "":
		return fail("%s is to be a folder with the weights and their configuration: give it a name without the suffix of a file", out)
	case format == FormatHub:
	case format != FormatONNX && format != FormatSafetensors && format != FormatPyTorch:
		return fail("export format %q; it can be %s, %s, %s or %s", format, FormatONNX, FormatSafetensors, FormatPyTorch, FormatHub)
	case told != "" && format != told:
		return fail("%s is to be written as %s: give it that suffix", out, format)
	}
	switch {
	case format != FormatONNX && (o.Precision != "" || o.Opset != 0 || o.Batch != 0 || o.WithRelevance || o.Data != ""):
		return fail("precision, opset, batch, relevance and the place of the data are of ONNX models; the format is %s", format)
	case o.Precision != "" && o.Precision != Float32 && o.Precision != Float16:
		return fail("precision %q; it can be %s or %s", o.Precision, Float32, Float16)
	case o.KeepIO && o.Precision != Float16:
		return fail("inputs and outputs are only kept in float32 where the precision is %s", Float16)
	case o.Opset != 0 && (o.Opset < passes.LowestOpset || o.Opset > passes.HighestOpset):
		return fail("opset %d; models are written in %d to %d", o.Opset, passes.LowestOpset, passes.HighestOpset)
	case o.Batch < DynamicBatch:
		return fail("batch %d; it can be a size or dynamic", o.Batch)
	}
	seen := map[float64]bool{}
	for _, w := range o.Blend {
		if !(w >= 0 && w <= 1) || seen[w] {
			return fail("blend %v; shares of the finetuned weights lie between 0 and 1, each given once", o.Blend)
		}
		seen[w] = true
	}
	if o.BlendWith != "" && len(o.Blend) == 0 {
		return fail("blending with %s needs the shares of the finetuned weights (blend)", o.BlendWith)
	}
	return format, nil
}

// blendPaths are the files to write: the one given, or, for several shares,
// one for each, with the share before the suffix: robust-0.25.onnx.
func blendPaths(out string, shares []float64) []string {
	if len(shares) < 2 {
		return []string{out}
	}
	suffix := filepath.Ext(out)
	var paths []string
	for _, w := range shares {
		paths = append(paths, strings.TrimSuffix(out, suffix)+"-"+strconv.FormatFloat(w, 'g', -1, 64)+suffix)
	}
	return paths
}

// vacantFor refuses an output that is there, unless it may be overwritten. A
// folder may be there if it is empty.
func vacantFor(format, path string, force bool) error {
	if format == FormatHub {
		if entries, err := os.ReadDir(path); err == nil && len(entries) == 0 {
			return nil
		}
		if info, err := os.Stat(path); err == nil && force && !info.IsDir() {
			return &ExistsError{Path: path, Advice: "it is a file; give a folder"}
		}
	}
	return Vacant(path, force)
}
