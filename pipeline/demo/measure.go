package demo

import (
	"context"
	"fmt"
	"slices"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// judge measures sets of parameters of one model on pictures.
type judge struct {
	model     *pipeline.Model
	stepper   *pipeline.Stepper
	evaluator *pipeline.Evaluator
}

// judgeBatch is how many pictures a judge evaluates at once.
const judgeBatch = 50

func newJudge(m *pipeline.Model, c *configs.Config, opt ort.Options) (*judge, error) {
	graphs, err := m.NewGraphs(judgeBatch, pipeline.ObjectiveOf(c), pipeline.AdamWOf(c), nil)
	if err != nil {
		return nil, err
	}
	j := &judge{model: m}
	if j.stepper, err = pipeline.NewStepper(graphs, judgeBatch, opt); err != nil {
		return nil, err
	}
	if j.evaluator, err = pipeline.NewEvaluator(graphs, j.stepper, opt); err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

func (j *judge) close() {
	if j.evaluator != nil {
		j.evaluator.Close()
	}
	j.stepper.Close()
}

// take sets the parameters to measure.
func (j *judge) take(parameters []safetensors.Named) error {
	at := map[string]int{}
	for i, p := range j.stepper.Params {
		at[p.Name] = i
	}
	for _, p := range parameters {
		i, ok := at[p.Name]
		if !ok {
			return fmt.Errorf("parameter %s is not one of the demo's model", p.Name)
		}
		if err := j.stepper.Weights[i].Write(p.Tensor.Raw); err != nil {
			return fmt.Errorf("parameter %s: %w", p.Name, err)
		}
	}
	return nil
}

// verdicts are a model's figures, one for each picture of a set.
type verdicts struct {
	correct []float64 // 1 where top-1 is the label
	share   []float64 // of the relevance, on the foreground
	iou     []float64 // of the mask with where the map exceeds its mean
	logits  []float32 // (pictures, classes)
	shown   []shown   // the first picture of each class
}

// shown is a picture for the report.
type shown struct {
	name              string
	image             *picture.RGB
	mask, relevance   *picture.Gray
	label, prediction int64
	share             float64
}

// measure evaluates the pictures.
func (j *judge) measure(ctx context.Context, samples []dataset.Sample) (*verdicts, error) {
	l, err := dataset.NewLoader(samples, dataset.Options{Batch: judgeBatch, Slots: j.evaluator.Slots(),
		Preprocess: j.model.Preprocess, Masks: true, Strict: true})
	if err != nil {
		return nil, err
	}
	v := &verdicts{}
	return v, j.evaluator.Each(ctx, l, func(p pipeline.Evaluated) (err error) {
		right := 0.0
		if p.Prediction == p.Label {
			right = 1
		}
		share, iou, _ := p.Overlap()
		v.correct, v.share, v.iou = append(v.correct, right), append(v.share, share), append(v.iou, iou)
		v.logits = append(v.logits, p.Logits...)
		if slices.ContainsFunc(v.shown, func(s shown) bool { return s.label == p.Label }) {
			return nil
		}
		s := shown{name: samples[p.Sample].ID, mask: gray(p.Mask), relevance: gray(p.Map), label: p.Label, prediction: p.Prediction, share: share}
		s.image, err = picture.FromTensor(p.Image, j.model.Preprocess)
		v.shown = append(v.shown, s)
		return err
	})
}

// gray copies values (Size,Size).
func gray(v []float32) *picture.Gray {
	g := picture.NewGray(Size, Size)
	copy(g.Pix, v)
	return g
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}
