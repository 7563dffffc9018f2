package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/atomic"
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
	Output      string   // file for the Evaluation as JSON, beside which an interrupted one is gone on from; "": none
	Force       bool     // overwrite them

	Masks   string   // folder of masks, as the pictures lie; "": what the data set has
	Measure []string // of Measures; nil: accuracy, and with Masks also segmentation and relevance
	Method  string   // to explain by; "": MethodRelevance
	Steps   int      // of insertion and deletion, which MeasureRelevance then measures too; 0: not

	Synthesize  bool   // measure objects pasted on other backgrounds too
	Samples     int    // how many objects; 0: 100, or as many as there are
	Backgrounds string // folder of pictures to paste them on; "": those of the data set, without their objects
	Seed        uint64 // of all that is drawn
	Keep        string // folder to keep them in, as SI-Score lies; "": none

	Open         ModelOptions
	ORT          ort.Options
	OnRecognised func(text string)      // what the data set is, once; may be nil
	OnStart      func(done, total int)  // once, before the first picture that isn't done already; may be nil
	OnProgress   func(done, total int)  // after every batch; may be nil
	OnSkipped    func(path, why string) // of a picture; may be nil
	OnWarning    func(text string)      // may be nil

	OnStage func(model string, done, total int) // of MeasureRandomisation, before each; may be nil
}

// Evaluation is what Evaluate measured.
type Evaluation struct {
	Data       string           `json:"data"`
	Layout     string           `json:"layout"`
	Recognised string           `json:"recognised"` // in words
	Protocol   string           `json:"protocol"`
	Images     int              `json:"images"` // that were evaluated: without those skipped
	Models     []EvaluatedModel `json:"models"`
	Pairs      []Pair           `json:"pairs,omitempty"` // every two models
	Measures   []string         `json:"measures"`
	Synthesis  *Synthesized     `json:"synthesis,omitempty"` // what was made for all models
	Skipped    []SkippedPicture `json:"skipped"`
	Seconds    Number           `json:"seconds"` // from the first batch to the last
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

	// What wasn't measured is nil. Without MeasureAccuracy, Score has no numbers
	// but Images.
	Intervals     *Intervals        `json:"intervals,omitempty"`
	Calibration   *Calibration      `json:"calibration,omitempty"`
	Segmentation  *Segmentation     `json:"segmentation,omitempty"`
	Relevance     *RelevanceQuality `json:"relevance,omitempty"`
	Randomisation *Randomisation    `json:"randomisation,omitempty"`
	Background    *Background       `json:"background,omitempty"`
	Synthesis     []SynthesisPart   `json:"synthesis,omitempty"`
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
	if err := opt.checkMeasures(); err != nil {
		return nil, err
	}
	if opt.Batch < 1 {
		opt.Batch = 16
	}
	if opt.Output != "" {
		if err := Vacant(opt.Output, opt.Force); err != nil {
			return nil, err
		}
	}
	if opt.CSV != "" {
		_, begun := os.Stat(opt.Output + progressSuffix) // then it was complete when all ended, and is written again
		if err := Vacant(opt.CSV, opt.Force || opt.Output != "" && begun == nil); err != nil {
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
	e, err := r.result(ctx)
	if err != nil {
		return nil, err
	}
	if opt.CSV != "" {
		if err := atomic.Write(opt.CSV, r.writeCSV); err != nil {
			return nil, err
		}
	}
	if opt.Output != "" {
		if err := atomic.Write(opt.Output, e.write); err != nil {
			return nil, err
		}
	}
	r.finished = true
	return e, nil
}

// write writes what --json prints.
func (e *Evaluation) write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(e)
}

// evaluating is an Evaluate at work.
type evaluating struct {
	opt        EvaluateOptions
	contenders []*contender
	set        *benchmark.Set
	views      []picture.Preprocess // that the contenders share
	withMasks  bool                 // pictures come with masks, if not all of them
	done       int
	images     int // that could be read
	took       time.Duration
	skipped    []SkippedPicture
	log        *evaluationLog // nil: nothing is kept
	finished   bool

	backgrounds *backgrounds // nil: not measured
	synthesis   *synthesis   // nil: not measured
	total       int          // pictures to predict
}

func (r *evaluating) close() {
	for _, c := range r.contenders {
		if c.predictor != nil {
			c.predictor.Close()
		}
		if c.mapper.Mapper != nil {
			c.mapper.Close()
		}
	}
	if r.set != nil {
		r.set.Close()
	}
	r.log.close(r.finished)
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
	if !r.set.Unlabelled {
		if err := r.label(); err != nil {
			return err
		}
	}
	if r.opt.OnRecognised != nil {
		r.opt.OnRecognised(r.set.Found)
	}
	if r.opt.Limit > 0 {
		r.set.Limit(r.opt.Limit)
	}
	if r.opt.Protocol == ProtocolPaper {
		r.set.Among = nil
		for i := range r.set.Classes {
			r.set.Classes[i].Targets = r.set.Classes[i].Targets[:1]
		}
	}
	if err := r.pairMasks(); err != nil {
		return err
	}
	if err := r.settleMeasures(); err != nil {
		return err
	}
	if err := r.openLog(); err != nil {
		return err
	}
	if err := r.keepable(); err != nil {
		return err
	}
	r.withMasks = r.masked() && (r.maps() || r.opt.measures(MeasureBackground))
	for _, c := range r.contenders {
		if err := r.ready(c); err != nil {
			return err
		}
	}
	return nil
}

// ready opens a model's sessions, and settles how it sees pictures.
func (r *evaluating) ready(c *contender) error {
	batch := min(r.opt.Batch, len(r.set.Samples))
	if r.maps() {
		var err error
		if c.mapper, err = newMapper(c.model, batch, c.startLayer, r.method(), r.opt.ORT); err != nil {
			return err
		}
	}
	if err := c.ready(batch, r.opt); err != nil {
		return err
	}
	c.view = r.view(c.preprocess)
	if r.squeezed() {
		c.whole = r.view(c.squeeze(r.opt.Protocol))
	}
	return nil
}

// view is the place of a preprocessing among those of the loader.
func (r *evaluating) view(p picture.Preprocess) int {
	i := slices.Index(r.views, p)
	if i < 0 {
		i = len(r.views)
		r.views = append(r.views, p)
	}
	return i
}

// run predicts batch after batch by every model.
func (r *evaluating) run(ctx context.Context) error {
	batch := 0
	for _, c := range r.contenders {
		batch = max(batch, c.predictor.Batch)
	}
	left := &skips{told: r.opt.OnSkipped}
	loading := dataset.Options{Batch: batch, Preprocess: r.views[0], Views: r.views[1:], Border: r.set.Border,
		Read: r.set.Read, Masks: r.withMasks, SomeMasks: true, HardMasks: true, Strict: r.opt.Strict, LeaveOut: true, OnCorrupt: left.add}
	if r.opt.measures(MeasureBackground) {
		r.backgrounds = newBackgrounds(r.set, r.opt.Seed)
		loading.Copies, loading.Vary = variants, r.backgrounds.vary
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
	first, err := r.goOn(l, left)
	if err == nil && r.synthesis != nil && first == l.Steps() {
		err = r.synthesis.goOn(r)
	}
	if err != nil {
		return err
	}
	if r.opt.OnStart != nil {
		r.opt.OnStart(r.done, r.total)
	}
	began := time.Now()
	r.log.start(began)
	err = r.batches(ctx, l, first, left)
	r.took += time.Since(began)
	r.skipped = left.sorted(r.set.Samples)
	switch {
	case len(r.skipped) == l.Len():
		return &dataset.Error{Kind: dataset.ErrEmpty, Path: r.skipped[0].Picture, Found: r.skipped[0].Reason,
			Advice: fmt.Sprintf("none of the %d pictures can be read", l.Len())}
	case errors.Is(err, context.Canceled):
		return r.interrupted(err)
	case err == nil && r.backgrounds != nil && len(r.contenders[0].varied) == 0:
		return &dataset.Error{Kind: dataset.ErrEmpty, Path: r.opt.Data, Found: "none of its pictures has a mask that shows both an object and a background",
			Advice: "look at the masks, or measure something else"}
	case err == nil && r.synthesis != nil:
		return r.synthesize(ctx)
	}
	return err
}

// goOn takes what an earlier process measured of batches, and says which is the
// first that it didn't.
func (r *evaluating) goOn(l *dataset.Loader, left *skips) (first int, err error) {
	for ; first < l.Steps(); first++ {
		from, to := l.Range(first)
		record, err := r.log.next(filesOf(r.set.Samples[from:to]), func(e *evaluationRecord) bool { return r.fits(e, from, to) })
		if record == nil || err != nil {
			return first, err
		}
		for i, c := range r.contenders {
			m := record.Models[i]
			c.verdicts, c.appraisals, c.varied = append(c.verdicts, m.Verdicts...), append(c.appraisals, m.Appraisals...), append(c.varied, m.Varied...)
		}
		r.images += record.Images
		r.done += to - from
		r.took += record.took()
		left.list = append(left.list, record.Skipped...)
	}
	return first, nil
}

// batches goes on at a batch. Those before it are read again where the model is
// to be randomised, which takes some of their pictures.
func (r *evaluating) batches(ctx context.Context, l *dataset.Loader, first int, left *skips) error {
	at := first
	if r.opt.measures(MeasureRandomisation) {
		at = 0
	}
	return eachBatch(ctx, l, at, func(batch *dataset.Batch) error {
		at++
		before, images := r.lengths(), r.images
		for _, c := range r.contenders {
			r.sample(c, l, batch)
			if at <= first {
				continue
			}
			if err := r.predict(c, l, batch); err != nil {
				return err
			}
			if err := r.appraise(ctx, c, l, batch); err != nil {
				return err
			}
			if err := r.predictVaried(c, l, batch); err != nil {
				return err
			}
		}
		if at <= first {
			return nil
		}
		for _, empty := range batch.Replaced {
			if !empty {
				r.images++
			}
		}
		if r.done += batch.Count; r.opt.OnProgress != nil {
			r.opt.OnProgress(r.done, r.total)
		}
		if r.log == nil {
			return nil
		}
		from, to := l.Range(at - 1)
		samples := r.set.Samples[from:to]
		return r.log.add(&evaluationRecord{Files: filesOf(samples), Images: r.images - images, Skipped: left.of(samples), Models: r.since(before)})
	})
}

// interrupted says how far an evaluation came.
func (r *evaluating) interrupted(err error) error {
	how := ""
	if r.log != nil {
		how = "; the same command goes on from there"
	}
	return fmt.Errorf("%w: %d of %d pictures were evaluated%s", err, r.done, r.total, how)
}

// predict judges a model's predictions for a batch. Places of pictures that
// can't be read are left out.
func (r *evaluating) predict(c *contender, l *dataset.Loader, batch *dataset.Batch) error {
	if !slices.Contains(batch.Replaced, false) || !r.opt.measures(MeasureAccuracy) && !r.opt.changes() {
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
func (r *evaluating) result(ctx context.Context) (*Evaluation, error) {
	e := &Evaluation{Data: r.opt.Data, Layout: string(r.set.Layout), Recognised: r.set.Found, Protocol: r.opt.Protocol, Images: r.images, Measures: r.opt.Measure,
		Skipped: append([]SkippedPicture{}, r.skipped...), Seconds: Number(r.took.Seconds()), Rate: Number(float64(r.images) / r.took.Seconds())}
	if r.synthesis != nil {
		e.Synthesis = r.synthesis.result(r.opt.Keep)
	}
	for _, c := range r.contenders {
		m := EvaluatedModel{Model: c.path, Classes: c.predictor.Classes, Preprocess: c.preprocess, PerClass: []ClassScore{}}
		m.Score = Score{Images: r.images, Top1: Number(math.NaN()), Top5: Number(math.NaN())}
		if r.opt.measures(MeasureAccuracy) {
			m.Score, m.Parts, m.PerClass = scores(r.set, c.verdicts)
		}
		m.Intervals, m.Calibration, m.Segmentation, m.Relevance = r.intervals(c), r.calibration(c), r.segmentation(c), r.relevanceQuality(c)
		var err error
		if m.Randomisation, err = r.randomise(ctx, c); err != nil {
			return nil, err
		}
		if r.backgrounds != nil {
			m.Background = measuredBackground(c.varied, r.opt.Seed)
		}
		if r.synthesis != nil {
			m.Synthesis = r.synthesis.of(c, r.opt.Seed)
		}
		e.Models = append(e.Models, m)
	}
	e.Pairs = r.pairs()
	return e, nil
}
