// Package benchmark reads the data sets that classifiers are evaluated with, as
// they lie on disk: which pictures there are, and which classes count as right
// for each. The class lists of ImageNet-1k, ImageNet-A, ImageNet-R and SI-Score
// are embedded; ObjectNet's mapping is read from beside its pictures.
package benchmark

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// Layout is how a data set lies on disk.
type Layout string

// The layouts.
const (
	Auto                 Layout = "auto" // told from what is there
	ImageNet             Layout = "imagenet"
	ImageNetFlat         Layout = "imagenet-flat"
	ImageNetV2           Layout = "imagenetv2"
	ImageNetA            Layout = "imagenet-a"
	ImageNetR            Layout = "imagenet-r"
	ImageNetSketch       Layout = "imagenet-sketch"
	ObjectNet            Layout = "objectnet"
	SIScore              Layout = "si-score"
	ImageNetSegmentation Layout = "imagenet-segmentation"
	Folders              Layout = "folders"
	Flat                 Layout = "flat"
	CSV                  Layout = "csv"
)

// form is what a layout looks like, and how it is read.
type form struct {
	layout   Layout
	title    string
	expected string
	read     func(*reader) error
}

var forms = []form{
	{ImageNet, "ImageNet-1k", "folders named by WNIDs of ImageNet-1k, as in n01440764/NAME.JPEG", (*reader).imagenet},
	{ImageNetFlat, "ImageNet-1k, validation pictures in one folder", "ILSVRC2012_val_00000001.JPEG and so on, and near them one of " + strings.Join(groundTruths, ", "), (*reader).flat},
	{ImageNetV2, "ImageNetV2", "folders named by class index, 0 to 999, as in 0/NAME.jpeg", (*reader).imagenetV2},
	{ImageNetA, "ImageNet-A", "folders named by the WNIDs of its 200 classes, as in n01498041/NAME.jpg", (*reader).imagenetA},
	{ImageNetR, "ImageNet-R", "folders named by the WNIDs of its 200 classes, as in n01443537/NAME.jpg", (*reader).imagenetR},
	{ImageNetSketch, "ImageNet-Sketch", "folders named by WNIDs of ImageNet-1k, as in n01440764/sketch_0.JPEG", (*reader).imagenet},
	{ObjectNet, "ObjectNet", "images/CLASS/NAME.png, and mappings/ with " + strings.Join(mappings, ", "), (*reader).objectNet},
	{SIScore, "SI-Score", "folders area, location and rotation, or one of them, with folders named by its labels, as in area/ambulance/NAME.jpg", (*reader).siScore},
	{ImageNetSegmentation, "ImageNet-segmentation", "gtsegs_ijcv.mat, with pictures and masks in it", (*reader).segmentation},
	{Folders, "class folders", "class folders, as in CLASS/NAME.jpg", (*reader).folders},
	{Flat, "pictures without labels", "pictures, as in NAME.jpg; it is never guessed", (*reader).unlabelled},
	{CSV, "a table", "a CSV table with the columns image and label, or a folder with one", (*reader).csv},
}

// Layouts lists the names of all layouts, Auto first.
func Layouts() []string {
	out := []string{string(Auto)}
	for _, f := range forms {
		out = append(out, string(f.layout))
	}
	return out
}

// ErrLayout is the kind of a dataset.Error about data that doesn't lie as
// expected.
var ErrLayout = errors.New("unexpected layout")

// Class is a class of a data set.
type Class struct {
	Name    string // as the data set has it: a folder's name or a label
	Title   string // for people
	Targets []int  // the model's classes that count as right, first the one that counts as published; nil where only the model can tell
}

// Set is a data set to evaluate with.
type Set struct {
	Layout  Layout
	Found   string // in a line: what was recognised
	Samples []dataset.Sample
	ClassOf []int // of each sample, in Classes
	Classes []Class
	Parts   []string // SI-Score's factors; nil where a set has no parts
	PartOf  []int    // of each sample, in Parts
	Among   []int    // to which of the model's classes predictions are restricted in common use, ascending; nil: to none
	Border  int      // pixels to cut off each side of every picture
	Classed int      // how many classes the targets are of, as ImageNet's 1000; 0 where Targets are nil

	Unlabelled bool // there are no classes: ClassOf and Classes are nil
	// Read reads a sample that isn't a file, and its mask unless that is nil; may
	// be called by several goroutines. nil: samples are files.
	Read  func(s *dataset.Sample, image *picture.RGB, mask *picture.Gray) error
	close func() error
}

// Close ends what Read reads from.
func (s *Set) Close() {
	if s.close != nil {
		s.close()
	}
}

// Options say how to read a data set.
type Options struct {
	Layout      Layout // "" or Auto: told from what is there
	Classes     int    // the model's; 0: unknown. Only models of 1000 have ImageNet's
	GroundTruth string // labels of ImageNetFlat; empty: looked for
}

// Open lists the data set at a path, a folder or a table.
func Open(path string, opt Options) (*Set, error) {
	layout := opt.Layout
	if layout == "" || layout == Auto {
		var err error
		if layout, err = detect(path, opt); err != nil {
			return nil, err
		}
	}
	i := slices.IndexFunc(forms, func(f form) bool { return f.layout == layout })
	if i < 0 {
		return nil, fmt.Errorf("there is no layout %q; there are %s", layout, strings.Join(Layouts(), ", "))
	}
	r := &reader{form: forms[i], path: path, truth: opt.GroundTruth, classes: map[string]int{}, set: &Set{Layout: layout}}
	err := r.form.read(r)
	if err == nil {
		err = r.finish()
	}
	if err != nil {
		r.set.Close()
		return nil, err
	}
	return r.set, nil
}

// reader lists one data set.
type reader struct {
	form    form
	path    string
	truth   string
	set     *Set
	classes map[string]int // place in set.Classes by name
	note    string         // what else to say of it
}

// add lists a sample of a class.
func (r *reader) add(s dataset.Sample, c Class) {
	at, ok := r.classes[c.Name]
	if !ok {
		at = len(r.set.Classes)
		r.classes[c.Name] = at
		r.set.Classes = append(r.set.Classes, c)
	}
	s.Class, s.Label = c.Name, dataset.NoLabel
	r.set.Samples = append(r.set.Samples, s)
	r.set.ClassOf = append(r.set.ClassOf, at)
}

// finish checks that there is anything, and says what.
func (r *reader) finish() error {
	s := r.set
	if len(s.Samples) == 0 {
		return r.wrong(r.path)
	}
	s.Found = fmt.Sprintf("%s is %s (%s): %s of %s", r.path, r.form.title, s.Layout, count(len(s.Samples), "picture"), plural(len(s.Classes), "class", "classes"))
	if s.Unlabelled {
		s.Found = fmt.Sprintf("%s is %s (%s): %s", r.path, r.form.title, s.Layout, count(len(s.Samples), "picture"))
	}
	if r.note != "" {
		s.Found += ", " + r.note
	}
	return nil
}

// wrong is the error of a folder that isn't as the layout has it.
func (r *reader) wrong(folder string) error {
	return &dataset.Error{Kind: ErrLayout, Path: folder, Found: fmt.Sprintf("it isn't as in layout %s (%s): expected %s; found %s", r.form.layout, r.form.title, r.form.expected, describe(folder)),
		Advice: "state another --layout, or another folder"}
}

// Limit keeps at most n samples of each class, and of each part of the set, the
// first by name; of a set without labels n at all.
func (s *Set) Limit(n int) {
	if s.Unlabelled {
		s.Samples = s.Samples[:min(n, len(s.Samples))]
		return
	}
	kept := *s
	kept.Samples, kept.ClassOf, kept.PartOf = nil, nil, nil
	seen := map[[2]int]int{}
	for i, sample := range s.Samples {
		key := [2]int{s.ClassOf[i], s.Part(i)}
		if seen[key]++; seen[key] > n {
			continue
		}
		kept.Samples, kept.ClassOf = append(kept.Samples, sample), append(kept.ClassOf, s.ClassOf[i])
		if s.PartOf != nil {
			kept.PartOf = append(kept.PartOf, s.PartOf[i])
		}
	}
	*s = kept
}

// Part is the part that a sample belongs to, -1 where there are none.
func (s *Set) Part(sample int) int {
	if s.PartOf == nil {
		return -1
	}
	return s.PartOf[sample]
}

// byTarget sorts classes by their index rather than by their name.
func (r *reader) byTarget() {
	s := r.set
	order := make([]int, len(s.Classes)) // new place to old
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(s.Classes[a].Targets[0], s.Classes[b].Targets[0]) })
	place, sorted := make([]int, len(order)), make([]Class, len(order))
	for to, from := range order {
		place[from], sorted[to] = to, s.Classes[from]
	}
	s.Classes = sorted
	for i, c := range s.ClassOf {
		s.ClassOf[i] = place[c]
	}
}
