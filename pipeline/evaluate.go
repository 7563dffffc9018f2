package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/benchmark"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// How a data set is evaluated.
const (
	// ProtocolStandard is the usual way: the model's own preprocessing; on
	// ImageNet-A and -R the largest of the 200 classes' logits; on ObjectNet
	// every class that an object's label maps to is right.
	ProtocolStandard = "standard"
	// ProtocolPaper is RobustViT's: the shorter side to 256 bilinearly, the
	// centre 224, mean = std = 0.5 for all models; the largest of all logits;
	// only the first class of a label is right.
	ProtocolPaper = "paper"
)

// EvaluateOptions say what Evaluate measures of which models.
type EvaluateOptions struct {
	Models      []string // ONNX files, checkpoints or runs
	Data        string   // folder or table
	Layout      string   // of benchmark.Layouts; "": auto
	GroundTruth string   // labels of pictures in one folder; "": looked for
	Protocol    string   // "": ProtocolStandard
	Classes     string   // table of classes, for class folders and tables; "": the run's, or the model's own names
	Batch       int      // pictures at once; 0: 16
	Limit       int      // pictures of each class, the first by name; 0: all
	Strict      bool     // a picture that can't be read is an error
	CSV         string   // file to list every prediction in; "": none
	Output      string   // file for the Evaluation as JSON; "": none
	Force       bool     // overwrite them

	Masks   string   // folder of masks, as the pictures lie; "": what the data set has
	Measure []string // of Measures; nil: accuracy, and with Masks also segmentation and relevance
	Method  string   // to explain by; "": MethodRelevance
	Steps   int      // of the curves of insertion and deletion; 0: 14, below: no curves

	Synthesize  bool   // measure objects pasted on other backgrounds too
	Samples     int    // how many objects; 0: 100, or as many as there are
	Backgrounds string // folder of pictures to paste them on; "": those of the data set, without their objects
	Seed        uint64 // of all that is drawn
	Keep        string // folder to keep them in, as SI-Score lies; "": none

	Open         ModelOptions
	ORT          ort.Options
	OnRecognised func(text string)      // what the data set is, once; may be nil
	OnStart      func(pictures int)     // once, before the first; may be nil
	OnProgress   func(done, total int)  // after every batch; may be nil
	OnSkipped    func(path, why string) // of a picture; may be nil
	OnWarning    func(text string)      // may be nil
}

// Evaluation is what Evaluate measured.
type Evaluation struct {
	Data       string           `json:"data"`
	Layout     string           `json:"layout"`
	Recognised string           `json:"recognised"` // in words
	Protocol   string           `json:"protocol"`
	Images     int              `json:"images"` // that were evaluated: without those skipped
	Models     []EvaluatedModel `json:"models"`
	Skipped    []SkippedPicture `json:"skipped"`
	Synthesis  *Synthesized     `json:"synthesis,omitempty"` // what was made for all models
	Seconds    Number           `json:"seconds"`             // from the first batch to the last
	Rate       Number           `json:"images_per_second"`
}

// EvaluatedModel is how well one model did.
type EvaluatedModel struct {
	Model      string             `json:"model"`
	Classes    int                `json:"classes"`
	Preprocess picture.Preprocess `json:"preprocess"`
	Score
	Parts    []PartScore  `json:"parts,omitempty"` // of SI-Score
	PerClass []ClassScore `json:"per_class"`

	Background *Background     `json:"background,omitempty"`
	Synthesis  []SynthesisPart `json:"synthesis,omitempty"`
}

// Evaluate runs models on the pictures of a data set, each decoded once for all
// of them while the batch before is computed. Pictures that can't be read are
// counted out and listed, unless opt.Strict.
func Evaluate(ctx context.Context, opt EvaluateOptions) (*Evaluation, error) {
	if opt.Protocol == "" {
		opt.Protocol = ProtocolStandard
	}
	if opt.Protocol != ProtocolStandard && opt.Protocol != ProtocolPaper {
		return nil, &configs.Error{Key: "protocol", Msg: fmt.Sprintf("there is no protocol %q; there are %s and %s", opt.Protocol, ProtocolStandard, ProtocolPaper)}
	}
	if len(opt.Models) == 0 {
		return nil, &configs.Error{Key: "models", Msg: "no model to evaluate"}
	}
	if err := opt.settleMeasures(); err != nil {
		return nil, err
	}
	if opt.Batch < 1 {
		opt.Batch = 16
	}
	if opt.CSV != "" {
		if err := Vacant(opt.CSV, opt.Force); err != nil {
			return nil, err
		}
	}
	r := &evaluating{opt: opt}
	defer r.close()
	if err := r.prepare(); err != nil {
		return nil, err
	}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	if opt.CSV != "" {
		if err := WriteFile(opt.CSV, r.writeCSV); err != nil {
			return nil, err
		}
	}
	return r.result(), nil
}

// evaluating is an Evaluate at work.
type evaluating struct {
	opt        EvaluateOptions
	contenders []*contender
	set        *benchmark.Set
	views      []picture.Preprocess // that the contenders share
	done       int
	took       time.Duration
	skipped    []SkippedPicture

	backgrounds *backgrounds // nil: not measured
	synthesis   *synthesis   // nil: not measured
	total       int          // pictures to predict
}

func (r *evaluating) close() {
	for _, c := range r.contenders {
		if c.predictor != nil {
			c.predictor.Close()
		}
	}
}

// prepare opens the models, lists the data set and settles which classes count
// as right.
func (r *evaluating) prepare() error {
	for _, path := range r.opt.Models {
		c, err := r.opt.contender(path)
		if err != nil {
			return err
		}
		r.contenders = append(r.contenders, c)
	}
	var err error
	r.set, err = benchmark.Open(r.opt.Data, benchmark.Options{Layout: benchmark.Layout(r.opt.Layout), GroundTruth: r.opt.GroundTruth, Classes: r.contenders[0].targets.classes})
	if err != nil {
		return err
	}
	if err := r.label(); err != nil {
		return err
	}
	if r.opt.OnRecognised != nil {
		r.opt.OnRecognised(r.set.Found)
	}
	if r.opt.Limit > 0 {
		r.set.Limit(r.opt.Limit)
	}
	if err := r.pairMasks(); err != nil {
		return err
	}
	if r.opt.Protocol == ProtocolPaper {
		r.set.Among = nil
		for i := range r.set.Classes {
			r.set.Classes[i].Targets = r.set.Classes[i].Targets[:1]
		}
	}
	for _, c := range r.contenders {
		if err := c.ready(min(r.opt.Batch, len(r.set.Samples)), r.opt); err != nil {
			return err
		}
		if c.view = slices.Index(r.views, c.preprocess); c.view < 0 {
			c.view = len(r.views)
			r.views = append(r.views, c.preprocess)
		}
	}
	return nil
}

// run predicts batch after batch by every model.
func (r *evaluating) run(ctx context.Context) error {
	batch := 0
	for _, c := range r.contenders {
		batch = max(batch, c.predictor.Batch)
	}
	left := &skips{told: r.opt.OnSkipped}
	loading := dataset.Options{Batch: batch, Preprocess: r.views[0], Views: r.views[1:], Border: r.set.Border,
		Strict: r.opt.Strict, LeaveOut: true, OnCorrupt: left.add}
	if r.opt.measures(MeasureBackground) {
		r.backgrounds = newBackgrounds(r.set, r.opt.Seed)
		loading.Masks, loading.Copies, loading.Vary = true, variants, r.backgrounds.vary
	}
	l, err := dataset.NewLoader(r.set.Samples, loading)
	if err != nil {
		return err
	}
	if r.opt.Synthesize {
		if r.synthesis, err = r.newSynthesis(); err != nil {
			return err
		}
		r.total = r.synthesis.images()
	}
	r.total += l.Len()
	if r.opt.OnStart != nil {
		r.opt.OnStart(r.total)
	}
	began := time.Now()
	err = r.batches(ctx, l)
	r.took = time.Since(began)
	r.skipped = left.sorted(r.set.Samples)
	switch {
	case len(r.skipped) == l.Len():
		return &dataset.Error{Kind: dataset.ErrEmpty, Path: r.skipped[0].Picture, Found: r.skipped[0].Reason,
			Advice: fmt.Sprintf("none of the %d pictures can be read", l.Len())}
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %d of %d pictures were evaluated", err, r.done, r.total)
	case err == nil && r.synthesis != nil:
		return r.synthesize(ctx)
	}
	return err
}

func (r *evaluating) batches(ctx context.Context, l *dataset.Loader) error {
	return eachBatch(ctx, l, func(batch *dataset.Batch) error {
		for _, c := range r.contenders {
			if err := r.predict(c, l, batch); err != nil {
				return err
			}
			if err := r.predictVaried(c, l, batch); err != nil {
				return err
			}
		}
		if r.done += batch.Count; r.opt.OnProgress != nil {
			r.opt.OnProgress(r.done, r.total)
		}
		return nil
	})
}

// predict judges a model's predictions for a batch. Places of pictures that
// can't be read are left out.
func (r *evaluating) predict(c *contender, l *dataset.Loader, batch *dataset.Batch) error {
	if !slices.Contains(batch.Replaced, false) {
		return nil
	}
	return c.predictor.Predict(l.View(batch, c.view), batch.Count, func(i int, logits []float32) error {
		if !batch.Replaced[i] {
			c.verdicts = append(c.verdicts, r.judge(batch.Samples[i], logits))
		}
		return nil
	})
}

// result is what was measured.
func (r *evaluating) result() *Evaluation {
	images := len(r.contenders[0].verdicts)
	e := &Evaluation{Data: r.opt.Data, Layout: string(r.set.Layout), Recognised: r.set.Found, Protocol: r.opt.Protocol, Images: images,
		Skipped: append([]SkippedPicture{}, r.skipped...), Seconds: Number(r.took.Seconds()), Rate: Number(float64(images) / r.took.Seconds())}
	if r.synthesis != nil {
		e.Synthesis = r.synthesis.result(r.opt.Keep)
	}
	for _, c := range r.contenders {
		m := EvaluatedModel{Model: c.path, Classes: c.predictor.Classes, Preprocess: c.preprocess}
		m.Score, m.Parts, m.PerClass = scores(r.set, c.verdicts)
		if r.backgrounds != nil {
			m.Background = measuredBackground(c.varied, r.opt.Seed)
		}
		if r.synthesis != nil {
			m.Synthesis = r.synthesis.of(c, r.opt.Seed)
		}
		e.Models = append(e.Models, m)
	}
	return e
}
