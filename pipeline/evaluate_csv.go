package pipeline

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
)

// writeCSV lists what each model said of each picture, a line for both.
// Probabilities are those of the classes that predictions are restricted to;
// rank is the right class's place in the order of the logits, from 1.
func (r *evaluating) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.Write([]string{"image", "class", "targets", "model", "predicted", "probability", "rank"})
	for _, c := range r.contenders {
		for _, v := range c.verdicts {
			class := r.set.Classes[r.set.ClassOf[v.sample]]
			var targets []string
			for _, t := range class.Targets {
				targets = append(targets, strconv.Itoa(t))
			}
			out.Write([]string{r.set.Samples[v.sample].ID, class.Name, strings.Join(targets, " "), c.path,
				strconv.Itoa(v.predicted), strconv.FormatFloat(v.probability, 'g', 6, 64), strconv.Itoa(v.rank + 1)})
		}
	}
	out.Flush()
	return out.Error()
}
