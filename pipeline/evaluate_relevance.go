package pipeline

import (
	"context"
	"math"
	"slices"

	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/metrics"
	"github.com/relevit/relevit/pipeline/picture"
)

// What is measured of a relevance map, by the names that it has in results.
const (
	ForegroundShare = "foreground_share" // of the relevance, on the foreground
	RankAccuracy    = "rank_accuracy"    // share of as many pixels as it has, the most relevant ones, on the foreground
	PointingGame    = "pointing_game"    // whether the most relevant pixel is on it
	Sparseness      = "sparseness"       // Gini index of the map
	InsertionBlur   = "insertion_blur"   // area under the class's probability as pixels return to the blurred picture
	InsertionZero   = "insertion_zero"   // to a picture of the mean colour, zero to the model
	DeletionBlur    = "deletion_blur"    // as pixels are blurred
	DeletionZero    = "deletion_zero"    // as they become zero
)

// Qualities lists them in order.
func Qualities() []string {
	return []string{ForegroundShare, RankAccuracy, PointingGame, Sparseness, InsertionBlur, InsertionZero, DeletionBlur, DeletionZero}
}

// Measured is a mean over pictures with its interval. Value is no number where no
// picture has one.
type Measured struct {
	Value Number `json:"value"`
	Low   Number `json:"low"`
	High  Number `json:"high"`
}

// Segmentation is how well the maps, cut at their mean, segment the masks.
type Segmentation struct {
	Method        string   `json:"method"`
	Images        int      `json:"images"` // with a mask
	PixelAccuracy Measured `json:"pixel_accuracy"`
	MeanIoU       Measured `json:"mean_iou"`
	MeanAP        Measured `json:"mean_ap"`
}

// RelevanceQuality is how good the maps of the predicted classes are.
type RelevanceQuality struct {
	Method       string              `json:"method"`
	Images       int                 `json:"images"`
	ConstantMaps int                 `json:"constant_maps"`
	Steps        int                 `json:"steps"` // of insertion and deletion; 0: not measured
	Measures     map[string]Measured `json:"measures"`
}

// appraisal is what is measured of one picture's map.
type appraisal struct {
	sample       int
	class        int // explained: the model's prediction of all classes
	constant     bool
	segmentation metrics.Segmentation // where there is a mask
	qualities    []float64            // of Qualities; NaN where it isn't measured
}

// squeeze is how pictures are explained: whole, brought to the model's size
// without a crop, as the published segmentation has it.
func (c *contender) squeeze(protocol string) picture.Preprocess {
	p := picture.SegmentationEval(c.predictor.Size[0], c.predictor.Size[1])
	if protocol != ProtocolPaper {
		p.Mean, p.Std = c.preprocess.Mean, c.preprocess.Std
	}
	return p
}

// explained are the places of a batch whose pictures are explained: those with a
// mask, or all where none has any.
func (r *evaluating) explained(batch *dataset.Batch) (places []int) {
	for i := range batch.Count {
		if !batch.Replaced[i] && (!r.withMasks || r.set.Samples[batch.Samples[i]].MaskPath != "") {
			places = append(places, i)
		}
	}
	return places
}

// appraise explains a batch's pictures by a model and measures the maps.
func (r *evaluating) appraise(ctx context.Context, c *contender, l *dataset.Loader, batch *dataset.Batch) error {
	if !r.maps() {
		return nil
	}
	places := r.explained(batch)
	plane := c.predictor.Size[0] * c.predictor.Size[1]
	view := l.View(batch, c.whole)
	var masks []float32
	if r.withMasks {
		masks = l.ViewMasks(batch, c.whole)
	}
	images := make([]float32, 0, len(places)*3*plane)
	for _, at := range places {
		images = append(images, view[at*3*plane:][:3*plane]...)
	}
	scores, maps := make([][]float32, len(places)), make([][]float32, len(places))
	err := c.mapper.predictions(ctx, images, len(places), func(i int, s, m []float32) { scores[i], maps[i] = s, m })
	if err != nil {
		return err
	}
	list := make([]appraisal, len(places))
	orders := make([][]int32, len(places))
	err = dataset.Each(len(places), func(int) {}, func(i int) error {
		var mask []float32
		if r.withMasks {
			mask = masks[places[i]*plane:][:plane]
		}
		orders[i] = metrics.Order(maps[i])
		list[i] = measureMap(maps[i], mask, orders[i])
		list[i].sample, list[i].class = batch.Samples[places[i]], top1(scores[i])
		return nil
	})
	if err != nil {
		return err
	}
	if r.opt.Steps > 0 && r.opt.measures(MeasureRelevance) {
		for i := range list {
			if err := r.curves(c, images[i*3*plane:][:3*plane], scores[i], orders[i], &list[i]); err != nil {
				return err
			}
		}
	}
	c.appraisals = append(c.appraisals, list...)
	return nil
}

// measureMap measures what needs no model; mask may be nil.
func measureMap(relevance, mask []float32, order []int32) appraisal {
	a := appraisal{constant: relevance[order[0]] == relevance[order[len(order)-1]], qualities: make([]float64, len(Qualities()))}
	for i := range a.qualities {
		a.qualities[i] = math.NaN()
	}
	a.set(Sparseness, metrics.Sparseness(relevance, order))
	if mask != nil {
		a.segmentation = metrics.Segment(relevance, mask, order)
		a.set(ForegroundShare, metrics.ForegroundShare(relevance, mask))
		a.set(RankAccuracy, metrics.RankAccuracy(relevance, mask, order))
		a.set(PointingGame, metrics.Pointing(relevance, mask, order))
	}
	return a
}

func (a *appraisal) set(quality string, v float64) {
	a.qualities[slices.Index(Qualities(), quality)] = v
}

// curves measures insertion and deletion (Petsiuk, Das and Saenko 2018, RISE):
// the predicted class's probability while pixels are exchanged in the order of
// their relevance, in equal steps.
func (r *evaluating) curves(c *contender, image, scores []float32, order []int32, a *appraisal) error {
	plane, batch := len(order), c.predictor.Batch
	step := (plane + r.opt.Steps - 1) / r.opt.Steps
	steps := (plane + step - 1) / step
	blurred, zero := metrics.Blur(image, c.predictor.Size[0], c.predictor.Size[1]), make([]float32, len(image))
	type point struct {
		curve string
		step  int
	}
	curves := map[string][]float64{}
	var points []point
	images := make([]float32, batch*len(image))
	predict := func() error {
		err := c.predictor.Predict(images, len(points), func(i int, logits []float32) error {
			curves[points[i].curve][points[i].step] = probabilities(logits)[a.class]
			return nil
		})
		points = points[:0]
		return err
	}
	for _, of := range []struct {
		curve    string
		from, to []float32
	}{{InsertionBlur, blurred, image}, {InsertionZero, zero, image}, {DeletionBlur, image, blurred}, {DeletionZero, image, zero}} {
		curves[of.curve] = make([]float64, steps+1)
		deletes := of.curve == DeletionBlur || of.curve == DeletionZero
		for k := range steps + 1 {
			switch {
			case deletes && k == 0 || !deletes && k == steps: // the picture itself
				curves[of.curve][k] = probabilities(scores)[a.class]
				continue
			case deletes && k == steps: // the baseline, with which insertion began
				continue
			}
			metrics.Exchange(images[len(points)*len(image):][:len(image)], of.from, of.to, order, min(k*step, plane))
			if points = append(points, point{of.curve, k}); len(points) == batch {
				if err := predict(); err != nil {
					return err
				}
			}
		}
	}
	if err := predict(); err != nil {
		return err
	}
	curves[DeletionBlur][steps], curves[DeletionZero][steps] = curves[InsertionBlur][0], curves[InsertionZero][0]
	for curve, points := range curves {
		a.set(curve, metrics.AUC(points))
	}
	return nil
}

// segmentation adds up what was measured against masks.
func (r *evaluating) segmentation(c *contender) *Segmentation {
	if !r.opt.measures(MeasureSegmentation) {
		return nil
	}
	sum := func(picks []int32) (t metrics.Segmentations) {
		for _, p := range picks {
			t.Add(c.appraisals[p].segmentation)
		}
		return t
	}
	var values [3][]float64
	metrics.Resample(len(c.appraisals), r.opt.Seed, func(picks []int32) {
		t := sum(picks)
		for i, v := range []float64{t.PixelAccuracy(), t.MeanIoU(), t.MeanAP()} {
			values[i] = append(values[i], v)
		}
	})
	all := make([]int32, len(c.appraisals))
	for i := range all {
		all[i] = int32(i)
	}
	t := sum(all)
	return &Segmentation{Method: r.method(), Images: len(c.appraisals), PixelAccuracy: newMeasured(t.PixelAccuracy(), metrics.Percentiles(values[0])),
		MeanIoU: newMeasured(t.MeanIoU(), metrics.Percentiles(values[1])), MeanAP: newMeasured(t.MeanAP(), metrics.Percentiles(values[2]))}
}

func newMeasured(v float64, i metrics.Interval) Measured {
	return Measured{Value: Number(v), Low: Number(i.Low), High: Number(i.High)}
}

// method is by what is explained.
func (r *evaluating) method() string {
	if r.opt.Method == "" {
		return MethodRelevance
	}
	return r.opt.Method
}

// relevanceQuality averages what was measured of the maps.
func (r *evaluating) relevanceQuality(c *contender) *RelevanceQuality {
	if !r.opt.measures(MeasureRelevance) {
		return nil
	}
	q := &RelevanceQuality{Method: r.method(), Images: len(c.appraisals), Steps: r.opt.Steps, Measures: map[string]Measured{}}
	for _, a := range c.appraisals {
		if a.constant {
			q.ConstantMaps++
		}
	}
	columns := c.columns()
	intervals := metrics.Means(columns, r.opt.Seed)
	for i, name := range Qualities() {
		if slices.ContainsFunc(columns[i], func(v float64) bool { return !math.IsNaN(v) }) {
			q.Measures[name] = newMeasured(metrics.Mean(columns[i]), intervals[i])
		}
	}
	return q
}

// columns holds each of Qualities of all pictures.
func (c *contender) columns() [][]float64 {
	out := make([][]float64, len(Qualities()))
	for i := range out {
		for _, a := range c.appraisals {
			out[i] = append(out[i], a.qualities[i])
		}
	}
	return out
}
