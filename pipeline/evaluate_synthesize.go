package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/relevit/relevit/pipeline/background"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/metrics"
	"github.com/relevit/relevit/pipeline/picture"
)

// defaultObjects is how many objects are pasted where nothing is stated.
const defaultObjects = 100

// mostAtOnce is how many objects are pasted at once at most: each takes 34 MB for
// every preprocessing of 224x224 pixels.
const mostAtOnce = 8

// Synthesized is what EvaluateOptions.Synthesize made for all models.
type Synthesized struct {
	Objects int    `json:"objects"` // that were pasted
	Images  int    `json:"images"`
	LeftOut int    `json:"left_out"` // pictures drawn whose masks show no object, or for which there was no background
	Kept    string `json:"kept,omitempty"`
	Seconds Number `json:"seconds"`
	Rate    Number `json:"images_per_second"`
}

// SynthesisPart is the accuracy on objects pasted on other backgrounds, of which
// one factor is varied. The interval's resamples are of objects.
type SynthesisPart struct {
	Factor string `json:"factor"`
	Score
	Low    Number           `json:"low"`
	High   Number           `json:"high"`
	Values []SynthesisValue `json:"values"`
}

// SynthesisValue is the accuracy at one value of the factor.
type SynthesisValue struct {
	Area    Number `json:"area"`     // of the object's bounding box, of the background's
	X       Number `json:"x"`        // of its centre, a share of the width
	Y       Number `json:"y"`        // and of the height
	Degrees Number `json:"rotation"` // counterclockwise
	Score
}

// synthesis pastes objects and judges what models say.
type synthesis struct {
	samples    []int // the set's, one for each object
	scenes     *scenes
	folder     []string // of other backgrounds; nil: the scenes
	placements []background.Placement
	kept       *keeper // nil: nothing is kept
	first      int     // object that no earlier process has measured

	mu      sync.Mutex
	made    map[int]bool // objects, by their place in samples
	verdict map[*contender][][]verdict
	took    time.Duration
}

// newSynthesis draws the objects.
func (r *evaluating) newSynthesis() (*synthesis, error) {
	n := r.opt.Samples
	if n == 0 {
		n = defaultObjects
	}
	s := &synthesis{scenes: newScenes(r.set, r.opt.Seed), placements: background.Placements(), made: map[int]bool{}, verdict: map[*contender][][]verdict{}}
	random := dataset.Random(r.opt.Seed, "objects", 0, 0)
	for i, sample := range r.set.Samples {
		if sample.MaskPath != "" {
			s.samples = append(s.samples, i)
		}
	}
	for i := range min(n, len(s.samples)) {
		j := i + below(random, len(s.samples)-i)
		s.samples[i], s.samples[j] = s.samples[j], s.samples[i]
	}
	s.samples = s.samples[:min(n, len(s.samples))]
	slices.Sort(s.samples)
	for _, c := range r.contenders {
		s.verdict[c] = make([][]verdict, len(s.samples))
	}
	if r.opt.Backgrounds != "" {
		listed, err := dataset.Flat(r.opt.Backgrounds, "")
		if err != nil {
			return nil, err
		}
		for _, b := range listed {
			s.folder = append(s.folder, b.ImagePath)
		}
	}
	return s, nil
}

// images is how many pictures there will be, if every object can be pasted.
func (s *synthesis) images() int { return len(s.samples) * len(s.placements) }

// canvas draws the background for an object; nil where there is none.
func (s *synthesis) canvas(sample int) (*picture.RGB, error) {
	if s.folder == nil {
		if scene := s.scenes.ofAnother(sample); scene != nil {
			return background.Canvas(scene)
		}
		return nil, nil
	}
	random := dataset.Random(s.scenes.seed, "background of a folder", uint64(sample), 0)
	p, err := picture.ReadFile(s.folder[below(random, len(s.folder))])
	if err != nil {
		return nil, err
	}
	return background.Canvas(p)
}

// vary pastes an object at every placement.
func (s *synthesis) vary(object int, p *picture.RGB, m *picture.Gray, put func(int, *picture.RGB) error) error {
	if m == nil {
		return nil
	}
	cut, err := background.New(p, m, background.Edge)
	if err != nil {
		return nil
	}
	canvas, err := s.canvas(s.samples[object])
	if err != nil || canvas == nil {
		return err
	}
	whole := cut.Object()
	scaled := map[float64]*background.Object{}
	for k, at := range s.placements {
		if scaled[at.Area] == nil {
			if scaled[at.Area], err = whole.Scaled(at.Area); err != nil {
				return err
			}
		}
		pasted := scaled[at.Area].Rotated(at.Degrees).Pasted(canvas, at.X, at.Y)
		if s.kept != nil {
			if err := s.kept.keep(object, k, pasted); err != nil {
				return err
			}
		}
		if err := put(k, pasted); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made[object] = true
	return nil
}

// synthesize pastes every object and has every model predict.
func (r *evaluating) synthesize(ctx context.Context) error {
	s := r.synthesis
	if r.opt.Keep != "" {
		var err error
		if s.kept, err = r.newKeeper(s); err != nil {
			return err
		}
	}
	began := time.Now()
	var objects []dataset.Sample
	for _, i := range s.samples {
		objects = append(objects, r.set.Samples[i])
	}
	l, err := dataset.NewLoader(objects, dataset.Options{Batch: 1, Preprocess: r.views[0], Views: r.views[1:], Masks: true,
		InFlight: 1 + min(runtime.GOMAXPROCS(0), mostAtOnce), Strict: r.opt.Strict, LeaveOut: true, SomeMasks: true, Read: r.set.Read, Copies: len(s.placements), Vary: s.vary})
	if err != nil {
		return err
	}
	r.log.start(began)
	err = eachBatch(ctx, l, s.first, func(batch *dataset.Batch) error {
		object := batch.Samples[0]
		s.mu.Lock()
		made := s.made[object]
		s.mu.Unlock()
		if made {
			for _, c := range r.contenders {
				if err := r.predictPasted(c, l, batch); err != nil {
					return err
				}
			}
		}
		if r.done += len(s.placements); r.opt.OnProgress != nil {
			r.opt.OnProgress(r.done, r.total)
		}
		if r.log == nil {
			return nil
		}
		return r.log.add(s.record(r, object, objects[object:object+1]))
	})
	s.took += time.Since(began)
	switch {
	case errors.Is(err, context.Canceled):
		return r.interrupted(err)
	case err == nil && len(s.made) == 0:
		return &dataset.Error{Kind: dataset.ErrEmpty, Path: r.opt.Data, Found: fmt.Sprintf("none of the %d pictures drawn has an object to paste and a background for it", len(objects)),
			Advice: "look at their masks"}
	}
	if err == nil && s.kept != nil {
		err = s.kept.finish(s.made)
	}
	return err
}

// goOn takes what an earlier process measured of objects.
func (s *synthesis) goOn(r *evaluating) error {
	for ; s.first < len(s.samples); s.first++ {
		sample := s.samples[s.first]
		record, err := r.log.next(filesOf(r.set.Samples[sample:sample+1]), func(e *evaluationRecord) bool { return r.fitsObject(e, s.first) })
		if record == nil || err != nil {
			return err
		}
		for i, c := range r.contenders {
			s.verdict[c][s.first] = record.Models[i].Verdicts
		}
		if record.Images > 0 {
			s.made[s.first] = true
		}
		s.took += record.took()
		r.done += len(s.placements)
	}
	return nil
}

// record is what was measured of an object.
func (s *synthesis) record(r *evaluating, object int, sample []dataset.Sample) *evaluationRecord {
	record := &evaluationRecord{Files: filesOf(sample)}
	for _, c := range r.contenders {
		record.Images = len(s.verdict[c][object])
		record.Models = append(record.Models, modelEvaluation{Verdicts: s.verdict[c][object]})
	}
	return record
}

// predictPasted judges a model's predictions for an object's pictures.
func (r *evaluating) predictPasted(c *contender, l *dataset.Loader, batch *dataset.Batch) error {
	s := r.synthesis
	object := batch.Samples[0]
	return c.predictor.Predict(l.Varied(batch, c.view), len(s.placements), func(_ int, logits []float32) error {
		s.verdict[c][object] = append(s.verdict[c][object], r.judgeChanged(c, s.samples[object], logits))
		return nil
	})
}

// result says what was made.
func (s *synthesis) result(keep string) *Synthesized {
	images := len(s.made) * len(s.placements)
	return &Synthesized{Objects: len(s.made), Images: images, LeftOut: len(s.samples) - len(s.made), Kept: keep,
		Seconds: Number(s.took.Seconds()), Rate: Number(float64(images) / s.took.Seconds())}
}

// of counts a model's predictions by factor and value.
func (s *synthesis) of(c *contender, seed uint64) []SynthesisPart {
	var parts []SynthesisPart
	var columns [][]float64 // of each part, by object: the share that was right
	for k, at := range s.placements {
		if len(parts) == 0 || parts[len(parts)-1].Factor != at.Factor {
			parts = append(parts, SynthesisPart{Factor: at.Factor})
			columns = append(columns, make([]float64, len(s.samples)))
		}
		p, column := &parts[len(parts)-1], columns[len(parts)-1]
		v := SynthesisValue{Area: Number(at.Area), X: Number(at.X), Y: Number(at.Y), Degrees: Number(at.Degrees)}
		for object, verdicts := range s.verdict[c] {
			if len(verdicts) == 0 {
				column[object] = math.NaN()
				continue
			}
			v.add(verdicts[k])
			p.add(verdicts[k])
			column[object] += score(verdicts[k])
		}
		p.Values = append(p.Values, v)
	}
	for i := range parts {
		for object := range columns[i] {
			columns[i][object] /= float64(len(parts[i].Values))
		}
	}
	for i, interval := range metrics.Means(columns, seed) {
		parts[i].Low, parts[i].High = Number(interval.Low), Number(interval.High)
	}
	return parts
}
