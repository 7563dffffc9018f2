package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relevit/relevit/pipeline/picture"
)

// Layout says how a data set lies on disk.
type Layout string

// The layouts, named as in configurations.
const (
	LayoutFolders   Layout = "folders"
	LayoutFlat      Layout = "flat"
	LayoutCSV       Layout = "csv"
	LayoutImageNetS Layout = "imagenet-s"
	LayoutPets      Layout = "pets"
	LayoutVOC       Layout = "voc"
	LayoutCOCO      Layout = "coco"
)

// expected describes each layout in errors.
var expected = map[Layout]string{
	LayoutFolders:   "CLASS/NAME.jpg in the folder of images and CLASS/NAME.png in that of masks",
	LayoutFlat:      "NAME.jpg in the folder of images and NAME.png in that of masks",
	LayoutCSV:       "a table with the columns image, mask, label",
	LayoutImageNetS: "WNID/NAME.JPEG in train-semi (or ImageNet's own folder) and WNID/NAME.png in train-semi-segmentation",
	LayoutPets:      "images/NAME.jpg, annotations/trimaps/NAME.png and annotations/trainval.txt",
	LayoutVOC:       "JPEGImages/NAME.jpg, SegmentationClass/NAME.png and ImageSets/Segmentation/train.txt",
	LayoutCOCO:      "train2017/NAME.jpg and annotations/instances_train2017.json",
}

// Source says where a data set lies. Relative paths are below Root; empty ones
// stand for the layout's own names.
type Source struct {
	Layout      Layout
	Root        string
	Images      string
	Masks       string
	CSV         string                             // of layout csv
	List        string                             // of names: pets, voc
	Annotations string                             // of layout coco
	Progress    func(what string, done, total int) // of reading what takes long; may be nil
}

// Set is a data set as it was found.
type Set struct {
	Samples []Sample
	// Numbered is how many classes the data set itself numbers: each sample's
	// Label is its number, from 0. 0: there are no such numbers.
	Numbered int
	// Draw makes the mask of a sample, where it isn't a file that can be read as
	// it is. nil: each sample's MaskPath is its mask.
	Draw func(*Sample) (*picture.Gray, error)
}

// Auto tells where labels come from that a configuration leaves open, for a
// model of so many classes: from a classes file, if there is one; else as the
// layout has it, except that a data set's own numbers count only for a model
// with as many classes, and are the model's own predictions for any other, and
// for a table without labels.
func (s *Set) Auto(layout Layout, classesFile bool, count int) Labels {
	switch {
	case classesFile:
		return LabelsClassesFile
	case layout == LayoutFolders:
		return LabelsFolder
	case layout == LayoutCSV && s.labelled() || s.Numbered > 0 && s.Numbered == count:
		return LabelsCSV
	case layout == LayoutImageNetS:
		return LabelsImageNet
	}
	return LabelsTop1
}

// labelled reports whether any sample has a class of its own.
func (s *Set) labelled() bool {
	return slices.ContainsFunc(s.Samples, func(s Sample) bool { return s.Class != "" })
}

// Open lists a data set, sorted. Where it isn't there as the layout wants it,
// the error says what was expected, what was found, and which layout it looks like.
func Open(s Source) (*Set, error) {
	set, err := s.open()
	var e *Error
	if errors.As(err, &e) && (e.Kind == ErrLayout || e.Kind == ErrMissing || e.Kind == ErrEmpty) {
		if hint := s.hint(); hint != "" {
			hinted := *e
			hinted.Advice = hint
			return nil, &hinted
		}
	}
	return set, err
}

func (s *Source) open() (*Set, error) {
	var samples []Sample
	var err error
	switch s.Layout {
	case LayoutFolders:
		samples, err = Tree(s.at(s.Images), s.at(s.Masks))
	case LayoutFlat:
		samples, err = Flat(s.at(s.Images), s.at(s.Masks))
	case LayoutCSV:
		samples, err = CSV(s.at(s.CSV))
	case LayoutImageNetS:
		samples, err = s.imageNetS()
	case LayoutPets:
		return s.pets()
	case LayoutVOC:
		return s.voc()
	case LayoutCOCO:
		return s.coco()
	default:
		return nil, fmt.Errorf("data set: layout %q is unknown", s.Layout)
	}
	if err != nil {
		return nil, err
	}
	return &Set{Samples: samples}, nil
}

// at resolves a path of the source.
func (s *Source) at(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.Root, path)
}

func (s *Source) progress(what string, done, total int) {
	if s.Progress != nil {
		s.Progress(what, done, total)
	}
}

// need checks that a part of the layout is there, as a folder or a file.
func (s *Source) need(path string, folder bool) error {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() == folder {
		return nil
	}
	kind := "file"
	if folder {
		kind = "folder"
	}
	above := filepath.Dir(path)
	return &Error{Kind: ErrLayout, Path: above, Found: fmt.Sprintf("no %s %s in it; layout %s expects %s, and there is %s",
		kind, filepath.Base(path), s.Layout, expected[s.Layout], contents(above)), Advice: "set data.root, or the paths of the group data"}
}

// contents lists the first names in a folder, for errors.
func contents(path string) string {
	const most = 6
	folders, files, err := list(path)
	if err != nil {
		return "no such folder"
	}
	for i := range folders {
		folders[i] += "/"
	}
	names := append(folders, files...)
	switch n := len(names); {
	case n == 0:
		return "nothing"
	case n > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n-most)
	}
	return strings.Join(names, ", ")
}

// hint names the layout that a folder of the source looks like; empty if that
// is the one asked for, or none.
func (s *Source) hint() string {
	own, _ := Guess(s.at(s.Images))
	for _, dir := range []string{s.Root, s.at(s.Images), filepath.Dir(s.at(s.Images))} {
		if dir == "" || dir == "." && s.Root == "" {
			continue
		}
		layout, at := Guess(dir)
		switch {
		case layout == "" || layout == LayoutFolders && s.Layout == LayoutImageNetS && dir != s.Root: // its images are class folders
		case own == s.Layout && (layout == LayoutFolders || layout == LayoutFlat): // whatever lies above the pictures
		case layout != s.Layout:
			return fmt.Sprintf("%s looks like %s: set data.layout=%s%s", at, layout, layout, s.where(layout, at))
		case at != filepath.Clean(s.Root) && layout != LayoutFolders && layout != LayoutFlat:
			return fmt.Sprintf("%s looks like %s: set data.root=%s", at, layout, at)
		}
	}
	return ""
}

// where is how the folder of a data set is named in a configuration.
func (s *Source) where(layout Layout, at string) string {
	if layout != LayoutFolders && layout != LayoutFlat {
		return " and data.root=" + at
	}
	if below, err := filepath.Rel(s.Root, at); err == nil && s.Root != "" && filepath.IsLocal(below) {
		at = below
	}
	return " and data.images=" + at
}

// Guess tells the layout of a data set from what lies in a folder, and the
// folder that data.root (for folders and flat: data.images) should name; both
// are empty where it looks like none.
func Guess(dir string) (layout Layout, root string) {
	dir = filepath.Clean(dir)
	has := func(parts ...string) bool {
		found, err := filepath.Glob(filepath.Join(append([]string{escapeGlob(dir)}, parts...)...))
		return err == nil && len(found) > 0
	}
	switch {
	case has("JPEGImages") && (has("SegmentationClass") || has("ImageSets")):
		return LayoutVOC, dir
	case has("annotations", "trimaps"):
		return LayoutPets, dir
	case has("annotations", "instances_*.json"):
		return LayoutCOCO, dir
	case has("train-semi-segmentation") || has("validation-segmentation"):
		return LayoutImageNetS, dir
	}
	folders, files, err := list(dir)
	if err != nil {
		return "", ""
	}
	for _, name := range folders {
		if strings.HasPrefix(name, "VOC20") || strings.HasPrefix(name, "ImageNetS") || name == "VOCdevkit" {
			return Guess(filepath.Join(dir, name))
		}
	}
	if slices.ContainsFunc(files, IsImage) {
		return LayoutFlat, dir
	}
	for _, name := range folders {
		if _, inside, err := list(filepath.Join(dir, name)); err == nil && slices.ContainsFunc(inside, IsImage) {
			return LayoutFolders, dir
		}
	}
	return "", ""
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
