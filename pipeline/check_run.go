package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// run checks a run's folder. What it hasn't got to yet may be missing.
func (c *Checked) run(ctx context.Context, dir string) error {
	r, err := ReadRun(dir)
	if err != nil {
		c.failed(filepath.Join(dir, configName), "the run's configuration", "put it back as it was when the run began", err)
		r = &Run{Dir: dir}
	} else {
		c.part("%s", r.Path(configName))
	}
	last := c.checkpoints(r)
	if last == nil {
		c.remark("%s has no checkpoint yet", dir)
	}
	for _, check := range []func(*Run, *State){c.artifacts, c.log, c.splits, c.results} {
		if err := ctx.Err(); err != nil {
			return err
		}
		check(r, last)
	}
	return nil
}

// checkpoints checks all that are stored, and returns the newest whole state of
// last.
func (c *Checked) checkpoints(r *Run) (last *State) {
	folder := r.Path(checkpoints)
	if _, err := os.ReadDir(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.failed(folder, "the folder of checkpoints", "put it back from a backup", err)
	}
	before := len(c.Faults)
	for range 2 { // a process may be replacing them while we read
		c.Faults, last = c.Faults[:before], nil
		var parts []string
		for _, which := range []string{Last, Best} {
			whole, faults := readAll(r.stored(which))
			for _, f := range faults {
				advice := "nothing can go on: put it back from a backup, or begin another run"
				switch {
				case len(whole) > 0 && which == Last:
					advice = fmt.Sprintf("relevit finetune --resume -o %s goes on from %s, to the same bits", r.Dir, whole[0].Name)
				case len(whole) > 0:
					advice = fmt.Sprintf("%s, of step %d, is taken instead", whole[0].Name, whole[0].State.GlobalStep)
				case which == Best:
					advice = "last is taken instead"
				}
				c.failed(f.Path, "a checkpoint, whole", advice, errors.New(f.reason()))
			}
			for _, w := range whole {
				parts = append(parts, fmt.Sprintf("%s: step %d, %d tensors", r.Path(checkpoints, w.Name), w.State.GlobalStep, w.tensors))
			}
			if which == Last && len(whole) > 0 {
				last = &whole[0].State
			}
			if which == Best && last != nil && last.BestEpoch >= 0 && len(r.stored(Best)) == 0 {
				c.fault(r.Path(checkpoints, Best), fmt.Sprintf("the parameters after epoch %d", last.BestEpoch), "last is taken instead", "nothing")
			}
		}
		if len(c.Faults) == before {
			c.Parts = append(c.Parts, parts...)
			break
		}
	}
	return last
}

// wholeCheckpoint is one that was read, without its numbers.
type wholeCheckpoint struct {
	Name    string
	State   State
	tensors int
}

// readAll reads checkpoints, one after another.
func readAll(folders []string) (whole []wholeCheckpoint, faults []*CheckpointError) {
	for _, folder := range folders {
		c, err := readCheckpoint(folder, true)
		if fault := (*CheckpointError)(nil); errors.As(err, &fault) {
			faults = append(faults, fault)
			continue
		}
		whole = append(whole, wholeCheckpoint{present(filepath.Base(folder)), c.State, len(c.Parameters) + len(c.Moments) + len(c.Squares)})
	}
	return whole, faults
}

// artifacts checks the graphs that the run keeps.
func (c *Checked) artifacts(r *Run, last *State) {
	for _, name := range []string{sourceArtifact, "training_model.onnx", "eval_model.onnx", "optimizer_model.onnx"} {
		path := r.Artifact(name)
		advice := "it is kept to be looked at, and nothing needs it: remove it, or put it back from a backup"
		if name == sourceArtifact {
			advice = "put it back from a backup; if the model from which the run began is there still, remove " + path + ", and relevit finetune --resume writes it anew"
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if last != nil && name == sourceArtifact {
				c.fault(path, "the model from which the run began", advice, "nothing")
			}
			continue
		}
		c.model(path, advice)
	}
}

// log checks that log.jsonl has every step and epoch once, up to the checkpoint
// and beyond.
func (c *Checked) log(r *Run, last *State) {
	path := r.Path(logName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if last != nil && last.LogOffset > 0 {
			c.fault(path, fmt.Sprintf("%d bytes", last.LogOffset), restoreLog, "nothing")
		}
		return
	}
	if err != nil {
		c.failed(path, "the run's log", restoreLog, err)
		return
	}
	var h History
	at, mark := 0, -1
	for n := 1; at < len(text); n++ {
		end := bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			c.remark("%s: the last line is torn, which resuming repairs", path)
			break
		}
		if err := h.read(text[at : at+end]); err != nil {
			c.Faults = append(c.Faults, Fault{Path: path, Where: fmt.Sprintf("line %d", n), Expected: "a JSON object", Found: err.Error(), Advice: restoreLog})
			return
		}
		at += end + 1
		if last != nil && int64(at) == last.LogOffset {
			mark = n
			if err := h.fits(last); err != nil {
				c.failed(path, "each step and epoch of the checkpoint once", restoreLog, err)
				return
			}
		}
	}
	if last != nil && last.LogOffset > 0 && mark < 0 {
		c.fault(path, fmt.Sprintf("a line that ends at byte %d, as the checkpoint says", last.LogOffset), restoreLog, "%d bytes without one", len(text))
		return
	}
	if err := h.ordered(); err != nil {
		c.failed(path, "each step and epoch once", restoreLog, err)
		return
	}
	c.part("%s: %d steps, %d epochs", path, len(h.Steps), len(h.Epochs))
}

const restoreLog = "put it back from a backup; resuming needs its lines up to a checkpoint, the report all of them"

// splits checks the lists of pictures.
func (c *Checked) splits(r *Run, last *State) {
	const advice = "put it back from a backup, or begin another run: resuming needs the same pictures"
	train, validation, ok, err := readSplits(r)
	switch {
	case err != nil:
		c.failed(r.Path(splitsName), "a table of image, mask and label", advice, err)
		return
	case !ok:
		if last != nil {
			c.fault(r.Split(validationSplit), "the pictures that were held out", advice, "nothing")
		}
		return
	}
	gone := 0
	for _, s := range slices.Concat(train, validation) {
		for _, path := range []string{s.ImagePath, s.MaskPath} {
			if _, err := os.Stat(path); path != "" && err != nil {
				if gone++; gone == 1 {
					c.remark("%s isn't there any more", path)
				}
			}
		}
	}
	if gone > 1 {
		c.remark("and %d more pictures and masks of %s aren't", gone-1, r.Path(splitsName))
	}
	c.part("%s: %d pictures to train on, %d held out", r.Path(splitsName), len(train), len(validation))
}

// results checks what a finished run has measured.
func (c *Checked) results(r *Run, _ *State) {
	const advice = "remove it, and relevit finetune --resume writes it anew"
	c.json(r.Sample(beforeName), "put it back from a backup; the report lacks what the model said before training without it")
	path := r.Path(resultsName)
	found, err := r.Results()
	switch {
	case err != nil:
		c.failed(path, "what a finished run has measured", advice, err)
		return
	case found == nil:
		c.remark("%s is not finished", r.Dir)
		return
	}
	source := r.Artifact(sourceArtifact)
	sum, _, err := fileSum(source)
	known := slices.ContainsFunc(c.Faults, func(f Fault) bool { return f.Path == source })
	if err == nil && !known && found.Model.SHA256 != "" && sum != found.Model.SHA256 {
		c.fault(source, "SHA-256 "+found.Model.SHA256+" as "+resultsName+" has it", "put it back from a backup: it isn't the model that was trained", "%s", sum)
	}
	for _, s := range found.Sheets {
		if _, err := os.Stat(r.Sample(s.File)); err != nil {
			c.fault(r.Sample(s.File), "a sheet that "+resultsName+" lists", "remove "+path+", and relevit finetune --resume writes both anew", "nothing")
		}
	}
	if n := len(found.Pictures); n > 0 {
		if _, validation, ok, err := readSplits(r); err == nil && ok && n != len(validation) {
			c.fault(path, fmt.Sprintf("%d held-out pictures as in %s", len(validation), strings.TrimPrefix(r.Split(validationSplit), r.Dir+"/")), advice, "%d", n)
		}
	}
	c.part("%s", path)
}
