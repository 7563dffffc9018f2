package pipeline

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// Names of a run's splits.
const (
	trainSplit      = "train.csv"
	validationSplit = "validation.csv"
)

// ListSamples reads the data set that a configuration names: every picture
// with its mask and its label, which is dataset.NoLabel for all where the
// model is to give it. classes is how many the model has.
func ListSamples(c *configs.Config, classes int, progress func(what string, done, total int)) (*dataset.Set, error) {
	d := c.Data
	switch {
	case d.Layout == "csv" && d.CSV == "":
		return nil, &configs.Error{Key: "data.csv", Msg: "layout csv needs a table; set it to a CSV file with the columns image, mask, label"}
	case (d.Layout == "folders" || d.Layout == "flat") && d.Images == "":
		return nil, &configs.Error{Key: "data.images", Msg: "no pictures are named; set it to their folder"}
	}
	set, err := dataset.Open(dataset.Source{Layout: dataset.Layout(d.Layout), Root: d.Root, Images: d.Images, Masks: d.Masks,
		CSV: d.CSV, List: d.List, Annotations: d.Annotations, Progress: progress})
	if err != nil {
		return nil, err
	}
	var table *dataset.Classes
	if d.ClassesFile != "" {
		path := d.ClassesFile
		if !filepath.IsAbs(path) {
			path = filepath.Join(d.Root, path)
		}
		if table, err = dataset.ReadClasses(path); err != nil {
			return nil, err
		}
	}
	labels := dataset.Labels(d.Labels)
	if labels == dataset.LabelsAuto {
		labels = set.Auto(dataset.Layout(d.Layout), table != nil, classes)
	}
	return set, dataset.Label(set.Samples, labels, table, classes)
}

// planOf reads the selection off a configuration.
func planOf(c *configs.Config) dataset.Plan {
	d := c.Data
	return dataset.Plan{Seed: c.Seed, Classes: d.Classes, Samples: d.Samples, Split: dataset.Split(d.Validation.Split),
		Fraction: d.Validation.Fraction, ValidationSamples: d.Validation.Samples}
}

// maskOptions reads how masks are encoded off a configuration.
func maskOptions(c *configs.Config) (picture.MaskOptions, error) {
	e, err := picture.ParseEncoding(c.Data.MaskEncoding)
	return picture.MaskOptions{Encoding: e}, err
}

// preprocessFor merges the configuration's preprocessing with the model's own:
// size, mean and deviation are the model's unless the configuration states
// them; the rest is the configuration's, as published.
func preprocessFor(c *configs.Config, m *Model, rows, cols int64) (picture.Preprocess, error) {
	p := picture.PaperEval(int(rows), int(cols))
	if mean, std, known := c.Normalization(); known {
		for i := range mean {
			p.Mean[i], p.Std[i] = float32(mean[i]), float32(std[i])
		}
	} else {
		p.Mean, p.Std = m.Preprocess.Mean, m.Preprocess.Std
	}
	want := c.Preprocess.ImageSize
	if want != (configs.Size{}) && want != (configs.Size{Rows: int(rows), Cols: int(cols)}) {
		return p, &configs.Error{Key: "preprocess.image_size", Msg: fmt.Sprintf("it is %v, and the model takes %dx%d pictures; leave it out, or convert the checkpoint with --image-size", want, rows, cols)}
	}
	p.CropPct = c.Preprocess.CropPct
	var err error
	if p.Interpolation, err = picture.ParseFilter(c.Preprocess.Interpolation); err != nil {
		return p, err
	}
	return p, p.Validate()
}

// drawnName is the folder of masks beside a run's splits.
const drawnName = "masks"

// drawMasks makes the masks of samples whose masks aren't files of their own,
// as PNGs beside the splits.
func drawMasks(ctx context.Context, run *Run, samples []*dataset.Sample, draw func(*dataset.Sample) (*picture.Gray, error), progress func(done int)) error {
	return dataset.Each(len(samples), progress, func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := samples[i]
		mask, err := draw(s)
		if err != nil {
			return err
		}
		s.MaskPath = run.Split(filepath.Join(drawnName, filepath.FromSlash(s.ID)+".png"))
		if err := os.MkdirAll(filepath.Dir(s.MaskPath), 0o777); err != nil {
			return err
		}
		return mask.SavePNG(s.MaskPath)
	})
}

// writeSplit stores a list of samples: with absolute paths, so that the run can
// be resumed from any folder, but for masks in the run itself, which move with it.
func writeSplit(run *Run, name string, samples []dataset.Sample) error {
	return atomic.Write(run.Split(name), func(w io.Writer) error {
		out := csv.NewWriter(w)
		out.Write([]string{"image", "mask", "label"})
		for _, s := range samples {
			var paths [2]string
			for i, path := range []string{s.ImagePath, s.MaskPath} {
				if path == "" {
					continue
				}
				abs, err := filepath.Abs(path)
				if err != nil {
					return err
				}
				if drawn, err := filepath.Rel(filepath.Dir(run.Split(name)), path); err == nil && filepath.IsLocal(drawn) {
					abs = filepath.ToSlash(drawn)
				}
				paths[i] = abs
			}
			out.Write([]string{paths[0], paths[1], strconv.Itoa(s.Label)})
		}
		out.Flush()
		return out.Error()
	})
}

// readSplits reads back what a run trains on and validates with; ok is false
// where the run has not got that far.
func readSplits(run *Run) (train, validation []dataset.Sample, ok bool, err error) {
	// validation is written last
	if _, err := os.Stat(run.Split(validationSplit)); errors.Is(err, os.ErrNotExist) {
		return nil, nil, false, nil
	}
	if train, err = dataset.CSV(run.Split(trainSplit)); err != nil {
		return nil, nil, false, err
	}
	validation, err = dataset.CSV(run.Split(validationSplit))
	if errors.Is(err, dataset.ErrEmpty) {
		validation, err = nil, nil
	}
	return train, validation, err == nil, err
}
