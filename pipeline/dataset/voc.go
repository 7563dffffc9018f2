package dataset

import (
	"cmp"
	_ "embed" // the list
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/relevit/relevit/pipeline/picture"
)

//go:embed lists/voc.tsv
var vocList string

// vocClasses maps Pascal VOC's classes to their indices.
var vocClasses = sync.OnceValue(func() *Classes {
	c, err := parseClasses(strings.NewReader(vocList), "Pascal VOC")
	if err != nil {
		panic(err) // the list is part of the program
	}
	return c
})

const (
	vocCount = 20
	vocVoid  = 255 // outlines, and objects too difficult to outline
)

// voc lists the pictures that a list of Pascal VOC names. A picture's class is
// the one that covers most of it; its mask is that class's pixels.
func (s *Source) voc() (*Set, error) {
	images, masks := s.at(cmp.Or(s.Images, "JPEGImages")), s.at(cmp.Or(s.Masks, "SegmentationClass"))
	names := s.at(cmp.Or(s.List, "ImageSets/Segmentation/train.txt"))
	if filepath.Base(masks) == "SegmentationObject" {
		return nil, &Error{Kind: ErrLayout, Path: masks, Found: "its levels number objects, layout voc expects classes", Advice: "set data.masks=SegmentationClass"}
	}
	for _, folder := range []string{images, masks} {
		if err := s.need(folder, true); err != nil {
			return nil, err
		}
	}
	if err := s.need(names, false); err != nil {
		return nil, err
	}
	rows, err := readNames(names, 0)
	if err != nil {
		return nil, err
	}
	samples := make([]Sample, len(rows))
	for i, row := range rows {
		mask := filepath.Join(masks, row[0]+maskExtension)
		if _, err := os.Stat(mask); err != nil {
			return nil, &Error{Kind: ErrMissing, Path: mask, Found: "no such mask, but " + names + " names it", Advice: "lists of pictures with masks lie in ImageSets/Segmentation"}
		}
		image, err := find(images, row[0], mask)
		if err != nil {
			return nil, err
		}
		samples[i] = Sample{ID: row[0], ImagePath: image, MaskPath: mask}
	}
	slices.SortFunc(samples, func(a, b Sample) int { return cmp.Compare(a.ID, b.ID) })
	err = Each(len(samples), func(done int) { s.progress("classes", done, len(samples)) }, func(i int) (err error) {
		samples[i].Label, err = vocMain(samples[i].MaskPath)
		samples[i].Class = vocClasses().Title(samples[i].Label)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Set{Samples: samples, Numbered: vocCount, Draw: drawVOC}, nil
}

// vocMain tells the class that covers most of a mask; of equal ones, the first.
func vocMain(path string) (int, error) {
	levels, _, _, err := picture.ReadLevels(path)
	if err != nil {
		return NoLabel, err
	}
	var count [256]int
	for _, v := range levels {
		count[v]++
	}
	most := 0
	for v := 1; v < len(count); v++ {
		switch {
		case count[v] == 0 || v == vocVoid:
		case v > vocCount:
			return NoLabel, &Error{Kind: ErrLayout, Path: path, Found: fmt.Sprintf("level %d; masks of Pascal VOC have 0, the classes 1 to %d, and %d", v, vocCount, vocVoid)}
		case most == 0 || count[v] > count[most]:
			most = v
		}
	}
	if most == 0 {
		return NoLabel, &Error{Kind: ErrLabel, Path: path, Found: "no object in it", Advice: "take the picture out of the list"}
	}
	return most - 1, nil
}

// drawVOC makes the mask of the sample's class. Void counts as background, as
// ImageNet-S's ignored pixels do.
func drawVOC(s *Sample) (*picture.Gray, error) {
	class, err := vocClasses().Index(s.Class)
	if err != nil {
		return nil, err
	}
	levels, w, h, err := picture.ReadLevels(s.MaskPath)
	if err != nil {
		return nil, err
	}
	mask := picture.NewGray(w, h)
	for i, v := range levels {
		if int(v) == class+1 {
			mask.Pix[i] = 1
		}
	}
	return mask, nil
}
