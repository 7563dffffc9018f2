package pipeline

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// Names of a run's splits.
const (
	trainSplit      = "train.csv"
	validationSplit = "validation.csv"
)

// ListSamples reads the data set that a configuration names: every picture
// with its mask and, where the configuration knows one, its label.
func ListSamples(c *configs.Config, classes int) ([]dataset.Sample, error) {
	d := c.Data
	at := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(d.Root, path)
	}
	var samples []dataset.Sample
	var err error
	switch {
	case d.Layout == "csv" && d.CSV == "":
		return nil, &configs.Error{Key: "data.csv", Msg: "layout csv needs a table; set it to a CSV file with the columns image, mask, label"}
	case d.Layout != "csv" && d.Images == "":
		return nil, &configs.Error{Key: "data.images", Msg: "no pictures are named; set it to their folder"}
	case d.Layout == "csv":
		samples, err = dataset.CSV(at(d.CSV))
	case d.Layout == "flat":
		samples, err = dataset.Flat(at(d.Images), at(d.Masks))
	default:
		samples, err = dataset.Tree(at(d.Images), at(d.Masks))
	}
	if err != nil {
		return nil, err
	}
	var table *dataset.Classes
	if d.ClassesFile != "" {
		if table, err = dataset.ReadClasses(at(d.ClassesFile)); err != nil {
			return nil, err
		}
	}
	return samples, dataset.Label(samples, dataset.Labels(d.Labels), table, classes)
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

// writeSplit stores a list of samples, with absolute paths so that the run can
// be resumed from any folder.
func writeSplit(run *Run, name string, samples []dataset.Sample) error {
	return WriteFile(run.Split(name), func(w io.Writer) error {
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
