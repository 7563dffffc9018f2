package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/configs"
)

// What Evaluate can measure.
const (
	MeasureAccuracy      = "accuracy"      // of the labels, with calibration
	MeasureSegmentation  = "segmentation"  // relevance as a segmentation of the masks
	MeasureRelevance     = "relevance"     // how good the maps are: on the foreground, and for the model
	MeasureBackground    = "background"    // how much predictions rest on the background
	MeasureRandomisation = "randomisation" // whether the maps depend on what the model has learned
)

// Measures lists what Evaluate can measure.
func Measures() []string {
	return []string{MeasureAccuracy, MeasureSegmentation, MeasureRelevance, MeasureBackground, MeasureRandomisation}
}

// checkMeasures says whether what is stated can be measured at all.
func (o *EvaluateOptions) checkMeasures() error {
	for _, m := range o.Measure {
		if !slices.Contains(Measures(), m) {
			return &configs.Error{Key: "measure", Msg: fmt.Sprintf("there is no measure %q; there are %s", m, strings.Join(Measures(), ", "))}
		}
	}
	if o.Method != "" && !slices.Contains(Methods(), o.Method) {
		return &configs.Error{Key: "method", Msg: fmt.Sprintf("there is no method %q to explain by; there are %s", o.Method, strings.Join(Methods(), ", "))}
	}
	return nil
}

// settleMeasures chooses what is measured where nothing is stated, and checks
// that the data set has what it takes.
func (r *evaluating) settleMeasures() error {
	o := &r.opt
	if o.Measure == nil {
		if !r.set.Unlabelled {
			o.Measure = append(o.Measure, MeasureAccuracy)
		}
		if o.Masks != "" || r.set.Read != nil {
			o.Measure = append(o.Measure, MeasureSegmentation, MeasureRelevance)
		}
	}
	wrong := func(measure, why string) error {
		return &configs.Error{Key: "measure", Msg: measure + " can't be measured on " + o.Data + ": " + why}
	}
	switch {
	case len(o.Measure) == 0 && !o.Synthesize:
		return wrong(MeasureAccuracy, "its pictures have no labels; state masks, or another measure")
	case r.set.Unlabelled && o.measures(MeasureAccuracy):
		return wrong(MeasureAccuracy, "its pictures have no labels")
	case o.measures(MeasureSegmentation) && !r.masked():
		return wrong(MeasureSegmentation, "its pictures have no masks; state the folder of masks")
	case o.measures(MeasureBackground) && !r.masked():
		return wrong(MeasureBackground, "its pictures have no masks; state the folder of masks")
	case o.Synthesize && !r.masked():
		return &configs.Error{Key: "synthesize", Msg: "objects can't be cut out of " + o.Data + ": its pictures have no masks; state the folder of masks"}
	case r.masked() && r.set.Border > 0 && (r.maps() || o.changes()):
		return wrong(MeasureSegmentation, "a border is cut off its pictures, and masks would no longer fit")
	}
	return nil
}

// measures says whether something is to be measured.
func (o *EvaluateOptions) measures(what string) bool { return slices.Contains(o.Measure, what) }

// changes says whether pictures are changed to be predicted again.
func (o *EvaluateOptions) changes() bool { return o.measures(MeasureBackground) || o.Synthesize }

// maps says whether pictures are explained as they come by.
func (r *evaluating) maps() bool {
	return r.opt.measures(MeasureSegmentation) || r.opt.measures(MeasureRelevance)
}

// squeezed says whether pictures are needed as they are explained: all of each
// at the model's size.
func (r *evaluating) squeezed() bool { return r.maps() || r.opt.measures(MeasureRandomisation) }
