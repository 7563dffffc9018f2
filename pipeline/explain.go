package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// ExplainOptions say what Explain shows of which pictures.
type ExplainOptions struct {
	Model  string   // ONNX file with or without relevance, checkpoint, or run
	Inputs []string // pictures, and folders whose pictures are taken at any depth
	Output string   // folder

	Method  string  // "" or MethodRelevance
	Target  string  // class to explain: an index or a name, TargetTop1 or "", TargetLabel
	Classes string  // table of classes, for names and labels; empty: the run's, or the model's own names
	Opacity float64 // of the map over the picture, 0 to 1
	Batch   int     // pictures at once; 0: 8
	Strict  bool    // a picture that can't be decoded is an error
	Force   bool    // overwrite an explanation

	StartLayer *int // first block of the rollout; nil: the run's, or the first
	Open       ModelOptions
	ORT        ort.Options
	OnStart    func(pictures int)     // once, before the first; may be nil
	OnProgress func(done, total int)  // after every batch; may be nil
	OnSkipped  func(path, why string) // of a picture; may be nil
	OnWarning  func(text string)      // may be nil
}

// MethodRelevance is the one method there is to explain a class by.
const MethodRelevance = "relevance"

// explanationName is the file in which Explain lists what it found.
const explanationName = "explain.json"

// Explanation is what Explain found and wrote, as in explain.json.
type Explanation struct {
	Model    string             `json:"model"`
	Method   string             `json:"method"`
	Target   string             `json:"target"`
	Size     [2]int             `json:"size"` // rows, columns of every map
	Output   string             `json:"output"`
	Pictures []ExplainedPicture `json:"pictures"`
	Skipped  []SkippedPicture   `json:"skipped,omitempty"`
}

// ExplainedPicture is one picture's classes and the files of its map, below the
// folder of explain.json.
type ExplainedPicture struct {
	Picture  string        `json:"picture"`
	Target   ScoredClass   `json:"target"`             // whose relevance it is
	Top      []ScoredClass `json:"top"`                // the most probable, at most 5
	Constant bool          `json:"constant,omitempty"` // the relevance is the same everywhere
	Overlay  string        `json:"overlay"`            // 8-bit PNG: the picture as the model saw it, under the map
	Map      string        `json:"map"`                // NumPy array (H,W) float32
	MapPNG   string        `json:"map_png"`            // 16-bit PNG
}

// ScoredClass is a class with its probability.
type ScoredClass struct {
	Class       int    `json:"class"`
	Name        string `json:"name,omitempty"`
	Probability Number `json:"probability"`
}

// Explain writes relevance maps of pictures: for each an overlay and the map
// itself, and explain.json for all, also when it is interrupted; nothing where
// none can be explained. Folders keep their structure. Pictures that can't be
// decoded are left out and listed, unless opt.Strict.
func Explain(ctx context.Context, opt ExplainOptions) (*Explanation, error) {
	if opt.Method != "" && opt.Method != MethodRelevance {
		return nil, &configs.Error{Key: "method", Msg: fmt.Sprintf("there is no method %q to explain by; there is %s", opt.Method, MethodRelevance)}
	}
	if opt.Batch < 1 {
		opt.Batch = 8
	}
	if err := Vacant(filepath.Join(opt.Output, explanationName), opt.Force); err != nil {
		return nil, err
	}
	sitters, err := listSitters(opt.Inputs)
	if err != nil {
		return nil, err
	}
	e, err := openExplained(opt)
	if err != nil {
		return nil, err
	}
	m := e.model
	for _, w := range m.Warnings {
		opt.warn(opt.Model + ": " + w)
	}
	targets, err := newTargets(m, opt.Target, e.classes)
	if err != nil {
		return nil, err
	}
	if err := targets.assign(sitters); err != nil {
		return nil, err
	}
	x, err := NewExplainer(m, min(opt.Batch, len(sitters)), e.startLayer, opt.ORT)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	r := &explaining{opt: opt, explainer: x, sitters: sitters, names: targets.names, preprocess: m.Preprocess}
	r.result = Explanation{Model: opt.Model, Method: MethodRelevance, Target: targets.text, Size: x.Size, Output: opt.Output, Pictures: []ExplainedPicture{}}
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

// explaining is an Explain at work.
type explaining struct {
	opt        ExplainOptions
	explainer  *Explainer
	sitters    []sitter
	names      []string // of the classes, nil where unknown
	preprocess picture.Preprocess

	mu     sync.Mutex
	done   []*ExplainedPicture // by sitter; nil until written
	result Explanation
}

// run explains batch after batch; goroutines write what one found while the
// next is computed.
func (r *explaining) run(ctx context.Context) error {
	samples := make([]dataset.Sample, len(r.sitters))
	for i, s := range r.sitters {
		samples[i] = dataset.Sample{ID: s.name, ImagePath: s.path, Label: int(s.class)}
	}
	r.done = make([]*ExplainedPicture, len(samples))
	left := &skips{told: r.opt.OnSkipped}
	l, err := dataset.NewLoader(samples, dataset.Options{Batch: r.explainer.Batch, Slots: r.explainer.Slots(), Preprocess: r.preprocess,
		Strict: r.opt.Strict, OnCorrupt: left.add})
	if err != nil {
		return err
	}
	if r.opt.OnStart != nil {
		r.opt.OnStart(len(samples))
	}
	w := newWriters()
	count := 0
	err = r.explainer.Each(ctx, l, func(e Explained) error {
		w.add(func() error { return r.write(e) })
		return w.failed()
	}, func(pictures int) {
		count += pictures
		if r.opt.OnProgress != nil {
			r.opt.OnProgress(count, len(samples))
		}
	})
	if closeErr := w.close(); err == nil || errors.Is(err, context.Canceled) && closeErr != nil {
		err = closeErr
	}
	r.result.Skipped = left.sorted(samples)
	switch {
	case len(r.result.Skipped) == len(samples):
		return &dataset.Error{Kind: dataset.ErrEmpty, Path: r.result.Skipped[0].Picture, Found: r.result.Skipped[0].Reason,
			Advice: fmt.Sprintf("none of the %d pictures can be decoded", len(samples))}
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %d of %d pictures are explained in %s", err, count, len(samples), r.opt.Output)
	}
	return err
}

// finish writes explain.json.
func (r *explaining) finish() error {
	for _, p := range r.done {
		if p != nil {
			r.result.Pictures = append(r.result.Pictures, *p)
		}
	}
	return WriteFile(filepath.Join(r.opt.Output, explanationName), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r.result)
	})
}
