package dataset

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/relevit/relevit/pipeline/picture"
)

// coco lists the annotated pictures of a COCO file, one sample each: its class
// is the category whose objects cover most of it, areas added up, and its mask
// is all of them, crowds included. Pictures without an outline are passed over.
func (s *Source) coco() (*Set, error) {
	images := s.at(cmp.Or(s.Images, "train2017"))
	annotations := s.at(cmp.Or(s.Annotations, "annotations/instances_"+filepath.Base(images)+".json"))
	if err := s.need(images, true); err != nil {
		return nil, err
	}
	if err := s.need(annotations, false); err != nil {
		return nil, err
	}
	c, err := readCOCO(annotations, s.progress)
	if err != nil {
		return nil, err
	}
	if len(c.Categories) == 0 {
		return nil, &Error{Kind: ErrTable, Path: annotations, Found: "categories are missing", Advice: "layout coco takes the classes from them"}
	}
	set := &Set{Numbered: len(c.Categories)}
	outlines := map[string]*COCOImage{} // by ID of the sample
	for i := range c.Images {
		m := &c.Images[i]
		class := m.main(len(c.Categories))
		if class < 0 {
			continue
		}
		path := filepath.Join(images, filepath.FromSlash(m.File))
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return nil, &Error{Kind: ErrMissing, Path: path, Found: "no such image, but " + annotations + " names it", Advice: "set data.images to the folder of its images"}
		}
		outlines[m.File] = m
		set.Samples = append(set.Samples, Sample{ID: m.File, ImagePath: path, Class: c.Categories[class].Name, Label: class})
	}
	if len(set.Samples) == 0 {
		return nil, &Error{Kind: ErrEmpty, Path: annotations, Found: fmt.Sprintf("none of its %d images has an outline", len(c.Images))}
	}
	set.Draw = func(sample *Sample) (*picture.Gray, error) {
		mask, err := outlines[sample.ID].draw()
		if err != nil {
			return nil, &Error{Kind: ErrTable, Path: annotations, Found: fmt.Sprintf("image %s: %v", sample.ID, err)}
		}
		return mask, nil
	}
	return set, nil
}

// main tells the category that covers most of a picture, of equal ones the
// first, and forgets the outlines of the others; -1 if there is no outline.
func (m *COCOImage) main(categories int) int {
	area := make(map[int]float64)
	for _, a := range m.Annotations {
		area[a.Category] += a.Segmentation.Area()
	}
	most := -1
	for k := range categories {
		if area[k] > 0 && (most < 0 || area[k] > area[most]) {
			most = k
		}
	}
	var kept []COCOAnnotation
	for _, a := range m.Annotations {
		if a.Category == most {
			kept = append(kept, a)
		}
	}
	m.Annotations = kept
	return most
}

// draw makes the mask of all outlines.
func (m *COCOImage) draw() (*picture.Gray, error) {
	inside := make([]bool, m.W*m.H)
	for _, a := range m.Annotations {
		if err := a.Segmentation.Fill(inside, m.H, m.W); err != nil {
			return nil, fmt.Errorf("annotation %d: %w", a.ID, err)
		}
	}
	mask := picture.NewGray(m.W, m.H)
	for i, in := range inside {
		if in {
			mask.Pix[i] = 1
		}
	}
	return mask, nil
}
