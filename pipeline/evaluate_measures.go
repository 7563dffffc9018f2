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

// settleMeasures fills in what is measured where nothing is stated.
func (o *EvaluateOptions) settleMeasures() error {
	for _, m := range o.Measure {
		if !slices.Contains(Measures(), m) {
			return &configs.Error{Key: "measure", Msg: fmt.Sprintf("there is no measure %q; there are %s", m, strings.Join(Measures(), ", "))}
		}
	}
	if o.Measure != nil {
		return nil
	}
	o.Measure = []string{MeasureAccuracy}
	if o.Masks != "" {
		o.Measure = append(o.Measure, MeasureSegmentation, MeasureRelevance)
	}
	return nil
}

// measures says whether something is to be measured.
func (o *EvaluateOptions) measures(what string) bool { return slices.Contains(o.Measure, what) }
