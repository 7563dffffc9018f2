package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/picture"
)

// ExplainOptions say what Explain shows of which pictures.
type ExplainOptions struct {
	Model  string   // ONNX file with or without relevance, checkpoint, or run
	After  string   // another, to see what has changed; may be empty
	Inputs []string // pictures, and folders whose pictures are taken at any depth
	Output string   // folder

	Maps       MapOptions         // but for StartLayer
	StartLayer *int               // first block of the rollouts and LeGrad; nil: the run's, or the first
	Targets    []string           // classes to explain: indices or names, TargetTop1 (if none), "top5", TargetLabel
	Classes    string             // table of classes, for names and labels; empty: the run's, or the model's own names
	Opacity    float64            // of the map over the picture, 0 to 1
	Colours    *picture.ColourMap // of overlays; nil: picture.Inferno
	Sheet      bool               // also one PNG a picture with all its overlays side by side; always with After

	Batch      int  // pictures at once; 0: 8
	Strict     bool // a picture that can't be decoded is an error
	Force      bool // overwrite an explanation
	Open       ModelOptions
	ORT        ort.Options
	OnStart    func(pictures int)     // once, before the first; may be nil
	OnProgress func(done, total int)  // after every batch; may be nil
	OnSkipped  func(path, why string) // of a picture; may be nil
	OnWarning  func(text string)      // may be nil
}

// explanationName is the file in which Explain lists what it found.
const explanationName = "explain.json"

// Explanation is what Explain found and wrote, as in explain.json. Where there
// are several methods or targets, Method and Target are the first.
type Explanation struct {
	Model    string             `json:"model"`
	After    string             `json:"after,omitempty"`
	Method   string             `json:"method"`
	Methods  []string           `json:"methods,omitempty"` // all, if several
	Target   string             `json:"target"`
	Targets  []string           `json:"targets,omitempty"` // all, if several
	Size     [2]int             `json:"size"`              // rows, columns of every map of Model
	Output   string             `json:"output"`
	Pictures []ExplainedPicture `json:"pictures"`
	Skipped  []SkippedPicture   `json:"skipped,omitempty"`
}

// ExplainedPicture is one picture's classes and its maps. The model's first map
// is told by the picture itself.
type ExplainedPicture struct {
	Picture string `json:"picture"`
	MapFiles
	Top        []ScoredClass  `json:"top"`                   // the most probable, at most 5; none of a regression
	TopAfter   []ScoredClass  `json:"top_after,omitempty"`   // by the other model
	Value      *Number        `json:"value,omitempty"`       // a regression's output
	ValueAfter *Number        `json:"value_after,omitempty"` // by the other model
	Maps       []ExplainedMap `json:"maps,omitempty"`        // all, if several
	Sheet      string         `json:"sheet,omitempty"`       // 8-bit PNG: the picture and its overlays
}

// ExplainedMap is one map of a picture.
type ExplainedMap struct {
	Model  string `json:"model"`
	Method string `json:"method"`
	MapFiles
}

// MapFiles are what is known of a map, and its files below the folder of
// explain.json.
type MapFiles struct {
	Target         ScoredClass `json:"target"`                   // whose map it is
	Constant       bool        `json:"constant,omitempty"`       // it is the same everywhere
	Incompleteness *Number     `json:"incompleteness,omitempty"` // share of the logit's change that integrated gradients miss
	Overlay        string      `json:"overlay"`                  // 8-bit PNG: the picture as the model saw it, under the map
	Map            string      `json:"map"`                      // NumPy array (H,W) float32
	MapPNG         string      `json:"map_png"`                  // 16-bit PNG
}

// ScoredClass is a class with its probability.
type ScoredClass struct {
	Class       int    `json:"class"`
	Name        string `json:"name,omitempty"`
	Probability Number `json:"probability"` // "NaN" for a regression's output
}

// Explain writes maps of pictures, by every method for every target and model:
// for each an overlay and the map itself, and explain.json for all, also when it
// is interrupted; nothing where none can be explained. Folders keep their
// structure. Pictures that can't be decoded are left out and listed, unless
// opt.Strict.
func Explain(ctx context.Context, opt ExplainOptions) (*Explanation, error) {
	if err := opt.Maps.defaults(); err != nil {
		return nil, err
	}
	if opt.StartLayer != nil && !opt.Maps.has(MethodRelevance, MethodRollout, MethodLeGrad) {
		return nil, &configs.Error{Key: "start-layer", Msg: fmt.Sprintf("only %s, %s and %s begin at a block", MethodRelevance, MethodRollout, MethodLeGrad)}
	}
	if opt.Batch < 1 {
		opt.Batch = 8
	}
	if opt.Colours == nil {
		opt.Colours = picture.Inferno
	}
	if err := Vacant(filepath.Join(opt.Output, explanationName), opt.Force); err != nil {
		return nil, err
	}
	sitters, err := listSitters(opt.Inputs)
	if err != nil {
		return nil, err
	}
	r := &explaining{opt: opt, sitters: sitters}
	defer r.close()
	paths := []string{opt.Model}
	if opt.After != "" {
		paths = append(paths, opt.After)
	}
	for _, path := range paths {
		if err := r.open(path); err != nil {
			return nil, err
		}
	}
	r.describe()
	_, missing := os.Stat(opt.Output)
	fresh := missing != nil
	if err := os.MkdirAll(opt.Output, 0o777); err != nil {
		return nil, fmt.Errorf("writing to %s: %w", opt.Output, err)
	}
	if err = r.run(ctx); err != nil && !slices.ContainsFunc(r.done, func(p *ExplainedPicture) bool { return p != nil }) {
		if fresh {
			os.Remove(opt.Output)
		}
		return nil, err
	}
	if writeErr := r.finish(); err == nil {
		err = writeErr
	}
	if err != nil {
		return nil, err
	}
	return &r.result, nil
}

func (o *ExplainOptions) warn(text string) {
	if o.OnWarning != nil {
		o.OnWarning(text)
	}
}
