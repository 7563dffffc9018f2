package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/atomic"
)

// beforeName holds, in a run's samples, what the model said of the held-out
// pictures before training.
const beforeName = "before.json"

// Results is what a run measured at its end, in results.json. Where it stands,
// the run is finished.
type Results struct {
	BestEpoch int               `json:"best_epoch"` // from 0; -1 without validation
	Before    *Metrics          `json:"before,omitempty"`
	After     *Metrics          `json:"after,omitempty"` // with the best parameters
	Model     ModelFacts        `json:"model"`
	Pictures  []HeldOut         `json:"pictures,omitempty"` // as splits/validation.csv lists them
	Classes   map[string]string `json:"classes,omitempty"`  // names of the classes that Pictures speak of, by index
	Sheets    []SampleFile      `json:"sheets,omitempty"`
	Skipped   int               `json:"skipped,omitempty"` // pictures that can't be decoded
}

// ModelFacts say what was trained.
type ModelFacts struct {
	Name         string `json:"name"` // of the file
	SHA256       string `json:"sha256"`
	Source       string `json:"source,omitempty"` // checkpoint that it was converted from
	SourceSHA256 string `json:"source_sha256,omitempty"`
	Architecture string `json:"architecture,omitempty"`
	Classes      int    `json:"classes"`
	Parameters   int    `json:"parameters"`
	Trained      int    `json:"trained"`
}

// HeldOut is one held-out picture, before training and with the best
// parameters. What can't be decoded has neither.
type HeldOut struct {
	Picture string  `json:"picture"`
	Label   int     `json:"label"`
	Before  *Judged `json:"before,omitempty"`
	After   *Judged `json:"after,omitempty"`
}

// Judged is what a model says of a picture.
type Judged struct {
	Prediction  int    `json:"prediction"`
	Probability Number `json:"probability"`      // of the prediction
	Share       Number `json:"foreground_share"` // of the label's relevance; NaN where there is none, or no mask
	IoU         Number `json:"iou"`
	Loss        Number `json:"loss"`
}

// judged reads off what the eval graph says.
func judged(p Evaluated) *Judged {
	j := &Judged{Prediction: int(p.Prediction), Probability: Number(probabilities(p.Logits)[p.Prediction]), Share: Number(math.NaN()), IoU: Number(math.NaN()),
		Loss: Number(p.Losses[LossOutput("total")])}
	if share, iou, ok := p.Overlap(); ok && !p.Constant {
		j.Share, j.IoU = Number(share), Number(iou)
	}
	return j
}

// Results returns what the run measured at its end, nil if it isn't finished.
func (r *Run) Results() (*Results, error) {
	var out Results
	switch err := loadJSON(r.Path(resultsName), &out); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, &ReportSourceError{Path: r.Path(resultsName), Problem: "damaged; relevit finetune --resume writes it anew once it is removed", Err: err}
	}
	return &out, nil
}

// factsOf reads off a model what the report tells.
func factsOf(m *Model) ModelFacts {
	f := ModelFacts{}
	f.Source, _ = m.Source.Meta(models.MetaSource)
	f.SourceSHA256, _ = m.Source.Meta(models.MetaSourceSum)
	if text, ok := m.Source.Meta(models.MetaArchitecture); ok {
		var a models.Architecture
		if json.Unmarshal([]byte(text), &a) == nil {
			f.Architecture = a.Title()
		}
	}
	for _, p := range m.Params {
		f.Parameters += int(p.Data.Count())
	}
	return f
}

// saveJSON writes a value as a file that appears whole.
func saveJSON(path string, value any) error {
	return atomic.Write(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		return enc.Encode(value)
	})
}

func loadJSON(path string, value any) error {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, value)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}
