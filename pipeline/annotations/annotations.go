// Package annotations pairs what people have drawn on pictures with the pictures,
// by name: boxes from a CSV or Pascal VOC, and boxes and outlines from COCO. It
// paints them as masks (H,W).
package annotations

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/pipeline/dataset"
)

// Region is one object: its box, and its outline, if one is drawn.
type Region struct {
	Box     [4]float64 // left, top, right, bottom in pixels: what lies at left <= x < right and top <= y < bottom, x and y the pixels' centres
	Outline dataset.Segmentation
}

// Picture is what is known of one.
type Picture struct {
	H, W    int // 0 where not stated
	Regions []Region
}

// Set holds pictures by name: a path with slashes, in full, in part, or without
// its suffix.
type Set struct {
	source   string
	pictures map[string]*Picture
	names    []string
}

// Read reads a .csv, a COCO .json, a Pascal VOC .xml, or a folder of these.
func Read(source string) (*Set, error) {
	s := &Set{source: source, pictures: map[string]*Picture{}}
	info, err := os.Stat(source)
	switch ext := strings.ToLower(filepath.Ext(source)); {
	case err != nil:
		err = &dataset.Error{Kind: dataset.ErrMissing, Path: source, Found: "there are no such annotations"}
	case info.IsDir():
		err = s.folder()
	case ext == ".csv":
		err = s.boxes()
	case ext == ".json":
		err = s.coco()
	case ext == ".xml":
		err = s.voc(source)
	default:
		err = &dataset.Error{Kind: dataset.ErrTable, Path: source, Found: "expected a .csv, a COCO .json, a Pascal VOC .xml, or a folder of .xml files"}
	}
	if err != nil {
		return nil, err
	}
	if len(s.names) == 0 {
		return nil, &dataset.Error{Kind: dataset.ErrEmpty, Path: source, Found: "it holds no annotations"}
	}
	return s, nil
}

// boxes reads a CSV.
func (s *Set) boxes() error {
	rows, err := dataset.ReadBoxes(s.source)
	for _, r := range rows {
		p := s.add(r.Image)
		p.Regions = append(p.Regions, Region{Box: r.Box})
	}
	return err
}

// coco reads COCO's instances.
func (s *Set) coco() error {
	c, err := dataset.ReadCOCO(s.source)
	if err != nil {
		return err
	}
	for _, m := range c.Images {
		p := s.add(m.File)
		p.H, p.W = m.H, m.W
		for _, a := range m.Annotations {
			left, top := a.Box[0], a.Box[1]
			p.Regions = append(p.Regions, Region{[4]float64{left, top, left + a.Box[2], top + a.Box[3]}, a.Segmentation})
		}
	}
	return nil
}

// folder reads Pascal VOC's files.
func (s *Set) folder() error {
	files, err := filepath.Glob(filepath.Join(escape(s.source), "*.xml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return &dataset.Error{Kind: dataset.ErrMissing, Path: s.source, Found: "no .xml files in it, as Pascal VOC's folder Annotations has"}
	}
	for _, f := range files {
		if err := s.voc(f); err != nil {
			return err
		}
	}
	return nil
}

// voc reads one picture's file. Its name is the file's own where it states none.
func (s *Set) voc(path string) error {
	a, err := dataset.ReadVOC(path)
	if err != nil {
		return err
	}
	if a.File == "" {
		a.File = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	p := s.add(a.File)
	p.H, p.W = a.H, a.W
	for _, o := range a.Objects {
		p.Regions = append(p.Regions, Region{Box: o.Box})
	}
	return nil
}

// escape quotes what Glob would expand.
func escape(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}

// add returns a picture's entry.
func (s *Set) add(name string) *Picture {
	name = path.Clean(strings.ReplaceAll(name, `\`, "/"))
	p := s.pictures[name]
	if p == nil {
		p = &Picture{}
		s.pictures[name] = p
		s.names = append(s.names, name)
	}
	return p
}

// First is the name of the first picture, for messages.
func (s *Set) First() string { return s.names[0] }

// Of returns what is known of a picture by its path, nil if nothing is. A set
// may state only the end of the path, or leave out its suffix.
func (s *Set) Of(name string) *Picture {
	for {
		for _, n := range []string{name, strings.TrimSuffix(name, path.Ext(name))} {
			if p := s.pictures[n]; p != nil {
				return p
			}
		}
		_, rest, ok := strings.Cut(name, "/")
		if !ok {
			return nil
		}
		name = rest
	}
}

// Boxes paints the boxes of a picture of h x w pixels.
func (p *Picture) Boxes(h, w int) []bool {
	mask := make([]bool, h*w)
	for _, r := range p.Regions {
		left, right := pixel(r.Box[0], w), pixel(r.Box[2], w)
		for y := pixel(r.Box[1], h); y < pixel(r.Box[3], h); y++ {
			for x := left; x < right; x++ {
				mask[y*w+x] = true
			}
		}
	}
	return mask
}

// pixel is the first one whose centre lies at or beyond a coordinate.
func pixel(at float64, size int) int {
	return int(min(max(math.Ceil(at-0.5), 0), float64(size)))
}

// Outlines paints the outlines of a picture of h x w pixels; ok is false where
// there are none.
func (p *Picture) Outlines(h, w int) (mask []bool, ok bool, err error) {
	mask = make([]bool, h*w)
	for i := range p.Regions {
		outline := &p.Regions[i].Outline
		if err := outline.Fill(mask, h, w); err != nil {
			return nil, false, err
		}
		ok = ok || !outline.Empty()
	}
	return mask, ok, nil
}
