package pipeline

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/relevit/relevit/pipeline/benchmark"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// contender is one of the models that are evaluated.
type contender struct {
	path       string
	model      *Model // until it is ready
	targets    *targets
	preprocess picture.Preprocess
	view       int // of the loader's, with its preprocessing
	predictor  *Predictor
	verdicts   []verdict // in the loader's order

	startLayer int         // first block of the rollout
	whole      int         // the loader's view in which pictures are explained
	mapper     mapper      // nil where nothing is explained
	appraisals []appraisal // in the loader's order
	sampled    []float32   // (pictures,3,H,W) to compare maps on
	varied     []varied    // of those that pictures for MeasureBackground were made of
}

// contender opens a model, or the best checkpoint of a run.
func (o *EvaluateOptions) contender(path string) (*contender, error) {
	e, err := openExplained(ExplainOptions{Model: path, Classes: o.Classes, Open: o.Open})
	if err != nil {
		return nil, err
	}
	for _, w := range e.model.Warnings {
		if o.OnWarning != nil {
			o.OnWarning(path + ": " + w)
		}
	}
	c := &contender{path: path, model: e.model, startLayer: e.startLayer}
	c.targets, err = newTargets(e.model, TargetLabel, e.classes)
	return c, err
}

// ready opens the session, and lets go of what it has read.
func (c *contender) ready(batch int, opt EvaluateOptions) (err error) {
	if c.predictor, err = NewPredictor(c.model, batch, opt.ORT); err != nil {
		return err
	}
	c.preprocess = c.model.Preprocess
	if opt.Protocol == ProtocolPaper {
		c.preprocess = picture.PaperEval(c.predictor.Size[0], c.predictor.Size[1])
	}
	c.model = nil
	return nil
}

// label settles which of the models' classes count as right, and checks that
// the models have them.
func (r *evaluating) label() error {
	first := r.contenders[0]
	if r.set.Classed == 0 {
		for _, c := range r.contenders[1:] {
			if c.targets.classes != first.targets.classes || !slices.Equal(c.targets.names, first.targets.names) && c.targets.names != nil && first.targets.names != nil {
				return &dataset.Error{Kind: dataset.ErrLabel, Path: r.opt.Data, Found: fmt.Sprintf("%s and %s have different classes, so its labels can't stand for both's", first.path, c.path),
					Advice: "evaluate them one by one"}
			}
		}
		if err := first.targets.assignClasses(r.opt.Data, r.set.Classes); err != nil {
			return err
		}
	}
	for _, c := range r.contenders {
		if n := c.targets.classes; n > 0 && r.set.Classed > 0 && n != r.set.Classed {
			return &dataset.Error{Kind: dataset.ErrLabel, Path: c.path, Found: fmt.Sprintf("the model has %d classes, and layout %s is labelled by %d", n, r.set.Layout, r.set.Classed),
				Advice: "evaluate a model of ImageNet-1k's classes, or state --layout " + string(benchmark.Folders) + " with --classes"}
		}
	}
	return nil
}

// assignClasses finds the model's class for each class of a data set: by its
// name in the table of classes or among the model's own, by its number or, as
// in training, by the rank of its name where there are as many as the model has.
func (t *targets) assignClasses(path string, classes []benchmark.Class) error {
	var unknown []string
	for i, c := range classes {
		n := t.named(c.Name)
		if number, err := strconv.Atoi(c.Name); err == nil && n < 0 {
			n = number
		}
		if n < 0 || t.classes > 0 && n >= t.classes {
			unknown = append(unknown, c.Name)
			continue
		}
		classes[i].Targets = []int{n}
	}
	switch {
	case len(unknown) == 0:
		return nil
	case t.table == nil && t.names == nil && len(classes) == t.classes:
		var sorted []string
		for _, c := range classes {
			sorted = append(sorted, c.Name)
		}
		slices.Sort(sorted)
		for i, c := range classes {
			classes[i].Targets = []int{slices.Index(sorted, c.Name)}
		}
		return nil
	}
	return &dataset.Error{Kind: dataset.ErrLabel, Path: path, Found: fmt.Sprintf("%d of its %d classes, such as %q, are none of the model's, by name or number, and the model has %d", len(unknown), len(classes), unknown[0], t.classes),
		Advice: "state a table by --classes (class index, folder name, title), or a --layout whose labels are known"}
}
