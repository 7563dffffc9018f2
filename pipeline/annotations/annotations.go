// Package annotations reads what people have drawn on pictures: rectangles from
// a CSV or Pascal VOC, and rectangles, polygons and run lengths from COCO. It
// paints them as masks (H,W).
package annotations

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Error says what is wrong with a file of annotations.
type Error struct {
	Path  string
	Line  int // from 1; 0 where there is none
	Found string
}

func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Found)
	}
	return e.Path + ": " + e.Found
}

// ExitCode is that of a bad input file.
func (e *Error) ExitCode() int { return 3 }

// Box is a rectangle in pixels: what lies at left <= x < right and
// top <= y < bottom, x and y the pixels' centres.
type Box struct{ Left, Top, Right, Bottom float64 }

// Region is one object: a box, and what is drawn of it, if anything.
type Region struct {
	Box      *Box
	Polygons [][]float64 // x, y, x, y, ... of each
	Runs     *Runs
}

// Runs is a mask (Rows,Columns) as the lengths of alternating stretches of
// background and foreground, column by column.
type Runs struct {
	Rows, Columns int
	Counts        []int
}

// Picture is what is known of one.
type Picture struct {
	Rows, Columns int // 0 where not stated
	Regions       []Region
}

// Set holds pictures by name: a path with slashes, in full, in part, or without
// its suffix.
type Set struct {
	Source   string
	pictures map[string]*Picture
	names    []string
}

// Read reads a .csv, a COCO .json, a Pascal VOC .xml, or a folder of these.
func Read(source string) (*Set, error) {
	s := &Set{Source: source, pictures: map[string]*Picture{}}
	info, err := os.Stat(source)
	if err != nil {
		return nil, &Error{Path: source, Found: "it can't be read: " + reason(err)}
	}
	switch ext := strings.ToLower(filepath.Ext(source)); {
	case info.IsDir():
		err = s.folder()
	case ext == ".csv":
		err = s.csv()
	case ext == ".json":
		err = s.coco()
	case ext == ".xml":
		err = s.voc(source)
	default:
		err = &Error{Path: source, Found: "expected a .csv, a COCO .json, a Pascal VOC .xml, or a folder of .xml files"}
	}
	if err != nil {
		return nil, err
	}
	if len(s.names) == 0 {
		return nil, &Error{Path: source, Found: "it holds no annotations"}
	}
	return s, nil
}

// folder reads Pascal VOC's files.
func (s *Set) folder() error {
	files, err := filepath.Glob(filepath.Join(escape(s.Source), "*.xml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return &Error{Path: s.Source, Found: "no .xml files in it, as Pascal VOC's folder Annotations has"}
	}
	for _, f := range files {
		if err := s.voc(f); err != nil {
			return err
		}
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
		if r.Box == nil {
			continue
		}
		left, right := pixel(r.Box.Left, w), pixel(r.Box.Right, w)
		for y := pixel(r.Box.Top, h); y < pixel(r.Box.Bottom, h); y++ {
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

// Shapes paints the polygons and run lengths of a picture of h x w pixels; ok is
// false where there are none.
func (p *Picture) Shapes(h, w int) (mask []bool, ok bool, err error) {
	mask = make([]bool, h*w)
	for _, r := range p.Regions {
		for _, polygon := range r.Polygons {
			if !near(polygon, h, w) {
				return nil, false, fmt.Errorf("a polygon lies far outside the picture of %dx%d pixels", h, w)
			}
			ok = true
			paint(mask, h, rasterise(polygon, h, w))
		}
		if r.Runs != nil {
			if r.Runs.Rows != h || r.Runs.Columns != w {
				return nil, false, fmt.Errorf("run lengths are of %dx%d pixels, the picture of %dx%d", r.Runs.Rows, r.Runs.Columns, h, w)
			}
			ok = true
			paint(mask, h, r.Runs.Counts)
		}
	}
	return mask, ok, nil
}

// near reports whether a polygon's points lie within a few pictures of h x w:
// its edges are walked pixel by pixel.
func near(polygon []float64, h, w int) bool {
	for i, v := range polygon {
		size := float64(w)
		if i%2 == 1 {
			size = float64(h)
		}
		if !(v >= -4*size && v <= 5*size) {
			return false
		}
	}
	return true
}

// paint sets the odd stretches of a mask that is counted column by column.
func paint(mask []bool, h int, counts []int) {
	w, at := len(mask)/h, 0
	for i, n := range counts {
		for end := min(at+n, len(mask)); at < end; at++ {
			if i%2 == 1 {
				mask[at%h*w+at/h] = true
			}
		}
	}
}

// reason drops the path that os errors repeat.
func reason(err error) string {
	var e *os.PathError
	if errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}
