package configs

import (
	"fmt"
	"math"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Validate checks the permitted values and that the keys fit each other. Load
// has done it already; a Config built or changed in Go needs it. Errors are
// *Error.
func (c *Config) Validate() error { return c.validate(nil) }

// validate reports faults at the places where the keys were set.
func (c *Config) validate(set map[string]place) error {
	if err := checkFields(reflect.ValueOf(*c), "", set); err != nil {
		return err
	}
	fail := func(key, format string, args ...any) error {
		return faultAt(set, key, fmt.Sprintf(format, args...))
	}
	p, d := c.Preprocess, c.Data
	switch {
	case c.LambdaSeg == 0 && c.LambdaAcc == 0:
		return fail("lambda_seg", "lambda_seg and lambda_acc are both 0: there is nothing to train")
	case (c.Find.Grid.Rows == 0) != (c.Find.Grid.Cols == 0):
		return fail("find.grid", "found %v, want rows and columns above 0, or 0", c.Find.Grid)
	case len(p.Mean) != len(p.Std):
		return fail("preprocess.mean", "mean and std are given together: found %d and %d values", len(p.Mean), len(p.Std))
	case (p.ImageSize.Rows == 0) != (p.ImageSize.Cols == 0):
		return fail("preprocess.image_size", "found %v, want two sizes above 0, or 0", p.ImageSize)
	case (p.Resize.Rows == 0) != (p.Resize.Cols == 0):
		return fail("preprocess.resize", "found %v, want two sizes above 0, or 0", p.Resize)
	case p.Resize.Rows != 0 && (p.Resize.Rows < p.ImageSize.Rows || p.Resize.Cols < p.ImageSize.Cols):
		return fail("preprocess.resize", "found %v, smaller than preprocess.image_size (%v) which is cropped out of it", p.Resize, p.ImageSize)
	case d.Labels == "csv" && d.Layout != "csv":
		return fail("data.labels", "csv needs data.layout csv, found %s", d.Layout)
	case d.Labels == "folder" && (d.Layout == "flat" || d.Layout == "csv"):
		return fail("data.labels", "folder needs a data.layout with classes, found %s; use classes-file, csv or top1", d.Layout)
	case d.List != "" && d.Layout != "pets" && d.Layout != "voc":
		return fail("data.list", "is of data.layout pets and voc, found %s", d.Layout)
	case d.Annotations != "" && d.Layout != "coco":
		return fail("data.annotations", "is of data.layout coco, found %s", d.Layout)
	case d.MaskEncoding != "auto" && d.MaskEncoding != "binary" && (d.Layout == "voc" || d.Layout == "coco"):
		return fail("data.mask_encoding", "data.layout %s has an encoding of its own, found %s; leave it out", d.Layout, d.MaskEncoding)
	case d.Labels == "classes-file" && d.ClassesFile == "":
		return fail("data.labels", "classes-file needs data.classes_file")
	case d.Validation.Split == "classes" && d.Layout == "flat":
		return fail("data.validation.split", "classes needs class folders or a CSV, found data.layout flat; use fraction or none")
	}
	return nil
}

// ValidateTraining is Validate and, beyond it, that a training run has what it
// needs: a model, pictures and masks.
func (c *Config) ValidateTraining() error {
	if err := c.Validate(); err != nil {
		return err
	}
	need := func(key, value, what string) error {
		if value != "" {
			return nil
		}
		return &Error{Key: key, Msg: fmt.Sprintf("is not set: the path of %s (in the -c file, or --set %s=PATH)", what, key)}
	}
	if err := need("model", c.Model, "the model to finetune"); err != nil {
		return err
	}
	switch d := c.Data; d.Layout {
	case "csv":
		return need("data.csv", d.CSV, "a CSV with the columns image, mask, label")
	case "imagenet-s", "pets", "voc", "coco":
		return need("data.root", d.Root+d.Images, "the data set's folder")
	}
	if err := need("data.images", c.Data.Images, "the folder of pictures"); err != nil {
		return err
	}
	return need("data.masks", c.Data.Masks, "the folder of masks")
}

func faultAt(set map[string]place, key, msg string) error {
	at := set[key]
	return &Error{Source: at.source, Line: at.line, Key: key, Msg: msg}
}

// checkFields applies the check tags of the struct v.
func checkFields(v reflect.Value, prefix string, set map[string]place) error {
	for i := range v.NumField() {
		field, f := v.Type().Field(i), v.Field(i)
		key := prefix + field.Tag.Get("yaml")
		if isGroup(field.Type) {
			if err := checkFields(f, key+".", set); err != nil {
				return err
			}
			continue
		}
		for rule := range strings.SplitSeq(field.Tag.Get("check"), ", ") {
			if msg := breaks(f, rule); msg != "" {
				return faultAt(set, key, msg)
			}
		}
		for _, x := range numbers(f) {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return faultAt(set, key, fmt.Sprintf("found %v, want a finite number", x))
			}
		}
	}
	return nil
}

// breaks says how a field breaks one rule of its check tag; empty if it does
// not.
func breaks(f reflect.Value, rule string) string {
	name, argument, _ := strings.Cut(rule, " ")
	switch name {
	case "one":
		allowed := strings.Fields(argument)[1:]
		if !slices.Contains(allowed, f.String()) {
			msg := fmt.Sprintf("found %q, want one of %s", f.String(), strings.Join(allowed, ", "))
			if near := nearest(f.String(), allowed); editDistance(f.String(), near) <= 2 {
				msg += fmt.Sprintf(" (did you mean %q?)", near)
			}
			return msg
		}
	case "length":
		if n := f.Len(); n != 0 && n != 3 {
			return fmt.Sprintf("found %d values, want %s", n, argument)
		}
	case "glob":
		for i := range f.Len() {
			glob := f.Index(i).String()
			if _, err := path.Match(glob, ""); err != nil || glob == "" {
				return fmt.Sprintf("found %q, want a pattern such as blocks.0.* (*, ? and [a-z] match)", glob)
			}
		}
	case "min", "max", "above", "below":
		return outOfRange(f, name, argument)
	}
	return ""
}

func outOfRange(f reflect.Value, name, argument string) string {
	limit, _ := strconv.ParseFloat(argument, 64)
	for _, x := range numbers(f) {
		switch {
		case name == "min" && x < limit:
			return fmt.Sprintf("found %v, want %v or more", x, limit)
		case name == "max" && x > limit:
			return fmt.Sprintf("found %v, want at most %v", x, limit)
		case name == "above" && x <= limit:
			return fmt.Sprintf("found %v, want more than %v", x, limit)
		case name == "below" && x >= limit:
			return fmt.Sprintf("found %v, want less than %v", x, limit)
		}
	}
	return ""
}

// numbers returns the numeric values of a field; none for text.
func numbers(f reflect.Value) []float64 {
	switch x := f.Interface().(type) {
	case float64:
		return []float64{x}
	case int:
		return []float64{float64(x)}
	case []float64:
		return x
	case [2]float64:
		return x[:]
	case Size:
		return []float64{float64(x.Rows), float64(x.Cols)}
	}
	return nil
}
