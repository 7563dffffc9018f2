package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// NotFiniteError says that a loss, a gradient or a parameter is no longer a
// number.
type NotFiniteError struct {
	Found    string     // what is no number, and where in the run
	Advice   string     // what is saved, and what to do
	Record   StepRecord // of the step where it was found, if it was found in one
	Pictures []string   // of that step
	Gradient bool       // it is a gradient
}

func (e *NotFiniteError) Error() string { return e.Found + ": " + e.Advice }

// NotFiniteRecord is what the log says of a step whose loss or gradient was no
// number, in the place of a StepRecord.
type NotFiniteRecord struct {
	Kind       string   `json:"kind"` // "not_finite"
	Epoch      int      `json:"epoch"`
	Step       int      `json:"step"`
	GlobalStep int      `json:"global_step"`
	Found      string   `json:"found"`
	Pictures   []string `json:"pictures"`
	Action     string   `json:"action"`            // skip, rollback, or rescale: the loss scale was too large
	BackTo     *int     `json:"back_to,omitempty"` // the global step whose parameters came back
}

const lowerRate = "the last checkpoint is as it was; lower lr, or check the model and the masks"

// notFinite does what the configuration says about a step that gave no number.
// It returns nil where the run can go on, with the next batch.
func (t *trainer) notFinite(e *NotFiniteError, batch *dataset.Batch) error {
	for _, i := range batch.Samples {
		e.Pictures = append(e.Pictures, t.train[i].ImagePath)
	}
	if t.outOfRange(e) {
		return t.leaveOut(NotFiniteRecord{Kind: "not_finite", Epoch: e.Record.Epoch, Step: e.Record.Step, GlobalStep: e.Record.GlobalStep,
			Found: e.Found, Pictures: e.Pictures, Action: rescaled})
	}
	if t.cfg.OnNaN == "stop" {
		return t.stopAt(e, beforeStep, orSkip)
	}
	if t.state.NotFinite+1 >= t.cfg.NaNLimit {
		return t.stopAt(e, beforeStep, fmt.Sprintf("it is step %d in a row without one (nan_limit); lower lr, or check the model and the masks", t.state.NotFinite+1))
	}
	record := NotFiniteRecord{Kind: "not_finite", Epoch: e.Record.Epoch, Step: e.Record.Step, GlobalStep: e.Record.GlobalStep,
		Found: e.Found, Pictures: e.Pictures, Action: t.cfg.OnNaN}
	left := "its update is left out"
	if t.cfg.OnNaN == "rollback" {
		c, err := t.run.LoadCheckpoint(Last)
		if err != nil {
			return errors.Join(e, err)
		}
		if err := t.goBack(c); err != nil {
			return errors.Join(e, err)
		}
		record.BackTo = &c.State.GlobalStep
		left = fmt.Sprintf("the parameters are again those after %d steps", c.State.GlobalStep)
	} else if err := t.checkWeights(); err != nil {
		return err
	}
	t.state.NotFinite++
	if err := t.leaveOut(record); err != nil {
		return err
	}
	if t.hooks.OnWarning != nil {
		t.hooks.OnWarning(e.Found + onPictures(e.Pictures) + "; " + left)
	}
	if t.cfg.OnNaN == "rollback" {
		return t.save(Last)
	}
	return nil
}

// goBack takes the parameters of a checkpoint. The update counter goes back with
// AdamW's moments; the place in the data doesn't.
func (t *trainer) goBack(c *Checkpoint) error {
	if err := t.load(c); err != nil {
		return err
	}
	t.state.Undone = t.state.GlobalStep - (c.State.GlobalStep - c.State.Undone)
	return nil
}

// heldOutNotFinite does what the configuration says about an epoch after which
// the held-out pictures gave no number: such an epoch is never the best one, and
// rollback goes on from the best before it.
func (t *trainer) heldOutNotFinite(e *NotFiniteError, record *EpochRecord) error {
	const present = "the parameters are saved in"
	n := t.state.NotFiniteEpochs + 1
	switch {
	case t.cfg.OnNaN == "stop" && len(e.Pictures) == len(t.validation): // nothing is worth saving
		return e
	case t.cfg.OnNaN == "stop":
		return t.stopAt(e, present, orSkip)
	case n >= t.cfg.NaNLimit:
		return t.stopAt(e, present, fmt.Sprintf("it is epoch %d in a row without one (nan_limit); lower lr, or check the model and the masks", n))
	}
	record.Pictures, record.Action = e.Pictures, t.cfg.OnNaN
	then := "the epoch can't be the best"
	if t.cfg.OnNaN == "rollback" {
		c, err := t.run.LoadCheckpoint(Best)
		if errors.Is(err, ErrNoCheckpoint) {
			return t.stopAt(e, present, "no epoch has given one, to go back to; begin another run with a lower lr or --on-nan skip, or check the model and the masks")
		}
		if err != nil {
			return errors.Join(e, err)
		}
		if err := t.goBack(c); err != nil {
			return errors.Join(e, err)
		}
		record.BackTo = &c.State.GlobalStep
		then = fmt.Sprintf("the parameters are again those after %d steps", c.State.GlobalStep)
	}
	t.state.NotFiniteEpochs = n
	t.warn(e.Found + onPictures(e.Pictures) + "; " + then)
	return nil
}

// What can be done about a run that has stopped.
const (
	beforeStep = "the parameters before this step are saved in"
	orSkip     = "begin another run with a lower lr or --on-nan skip, or check the model and the masks"
)

// leaveOut counts and logs a step without an update.
func (t *trainer) leaveOut(r NotFiniteRecord) error {
	t.state.Step++
	t.state.GlobalStep++
	t.state.Undone++
	return t.log.Append(r)
}

// stopAt saves the parameters if they are still good, and says so.
func (t *trainer) stopAt(e *NotFiniteError, saved, advice string) error {
	e.Found += onPictures(e.Pictures)
	e.Advice = fmt.Sprintf("%s %s; %s", saved, t.run.Path(checkpoints, Last), advice)
	err := t.save(Last)
	if bad := (*NotFiniteError)(nil); errors.As(err, &bad) {
		e.Advice = lowerRate
		return e
	}
	return errors.Join(err, e)
}

// onPictures names a batch's pictures, as many as a line can take.
func onPictures(paths []string) string {
	if len(paths) == 0 { // the sum alone is too large
		return ""
	}
	const most = 16
	more := ""
	if len(paths) > most {
		more = fmt.Sprintf(" and %d more", len(paths)-most)
	}
	return " with " + strings.Join(paths[:min(most, len(paths))], ", ") + more
}

// checkWeights finds the first parameter that is not finite.
func (t *trainer) checkWeights() error {
	for i, w := range t.stepper.Weights {
		values, err := ort.Values[float32](w)
		if err != nil {
			return err
		}
		if !finite(values) {
			return &NotFiniteError{Advice: lowerRate,
				Found: fmt.Sprintf("parameter %s holds no finite number after %d steps", t.stepper.Params[i].Name, t.state.GlobalStep)}
		}
	}
	return nil
}

// checkGradients finds the first gradient of the last Compute that is not
// finite: a loss may be, and its slope not.
func (t *trainer) checkGradients(r StepRecord) error {
	i, err := t.stepper.NotFinite()
	if err != nil || i < 0 {
		return err
	}
	return &NotFiniteError{Record: r, Gradient: true, Found: fmt.Sprintf("the gradient of %s is not finite in epoch %d, step %d (learning rate %.3g)",
		t.stepper.Params[i].Name, r.Epoch, r.Step, r.LR)}
}

// ConstantMapsError says that a model's relevance maps say nothing.
type ConstantMapsError struct {
	Constant, Pictures int
	Steps              int // made before
}

func (e *ConstantMapsError) Error() string {
	s := fmt.Sprintf("the relevance maps of %d of %d pictures are constant", e.Constant, e.Pictures)
	if e.Steps > 0 {
		return fmt.Sprintf("%s after %d steps, so the mask loss has nothing to move: lower lr, or check the masks", s, e.Steps)
	}
	return s + ", so the mask loss has nothing to move: check the model's weights, and by relevit inspect that its attention maps are found; lambda_seg=0 trains without masks"
}

// constantMaps is an error where nearly all maps are constant, 19 of 20.
func (t *trainer) constantMaps(constant, pictures int) error {
	if t.cfg.LambdaSeg == 0 || pictures == 0 || 20*constant < 19*pictures {
		return nil
	}
	return &ConstantMapsError{Constant: constant, Pictures: pictures, Steps: t.state.GlobalStep}
}
