package pipeline

import (
	"encoding/csv"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/relevit/relevit/pipeline/benchmark"
)

// writeCSV lists what each model said of each picture, a line for both, and what
// is measured of its map. Probabilities are those of the classes that predictions
// are restricted to; rank is the right class's place in the order of the logits,
// from 1. What doesn't apply to a picture is empty.
func (r *evaluating) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	heading := []string{"image", "class", "targets", "model", "predicted", "probability", "rank"}
	if r.maps() {
		heading = append(append(heading, "explained", "average_precision"), Qualities()...)
	}
	out.Write(heading)
	for _, c := range r.contenders {
		lines := map[int][]string{} // by sample
		for _, v := range c.verdicts {
			var class benchmark.Class // none of an unlabelled set
			if !r.set.Unlabelled {
				class = r.set.Classes[r.set.ClassOf[v.sample]]
			}
			var targets []string
			for _, t := range class.Targets {
				targets = append(targets, strconv.Itoa(t))
			}
			lines[v.sample] = []string{r.set.Samples[v.sample].ID, class.Name, strings.Join(targets, " "), c.path,
				strconv.Itoa(v.predicted), decimal(v.probability), strconv.Itoa(v.rank + 1)}
		}
		for _, a := range c.appraisals {
			line := lines[a.sample]
			if line == nil {
				line = []string{r.set.Samples[a.sample].ID, "", "", c.path, "", "", ""}
			}
			lines[a.sample] = append(line, r.appraisalCells(a)...)
		}
		for _, sample := range slices.Sorted(maps.Keys(lines)) {
			line := lines[sample]
			out.Write(append(line, make([]string, len(heading)-len(line))...))
		}
	}
	out.Flush()
	return out.Error()
}

func (r *evaluating) appraisalCells(a appraisal) []string {
	cells := []string{strconv.Itoa(a.class), ""}
	if r.withMasks {
		cells[1] = decimal(a.segmentation.AP)
	}
	for _, v := range a.qualities {
		text := ""
		if !math.IsNaN(v) {
			text = decimal(v)
		}
		cells = append(cells, text)
	}
	return cells
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
