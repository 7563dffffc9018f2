package dataset

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
)

// COCO is a file of instance annotations: images sorted by file name,
// categories by ID. A file for masks alone may have no categories.
type COCO struct {
	Path       string
	Images     []COCOImage
	Categories []COCOCategory
}

// COCOImage is a picture with what was annotated in it.
type COCOImage struct {
	ID          int64            `json:"id"`
	File        string           `json:"file_name"` // below the folder of images, with slashes
	W           int              `json:"width"`
	H           int              `json:"height"`
	Annotations []COCOAnnotation `json:"-"` // sorted by ID
}

// COCOCategory names a class. Its place in the list, by ID, is the class index
// that the field trains with: 0 to 79 for COCO's IDs 1 to 90.
type COCOCategory struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// COCOAnnotation is one object, or a crowd of them.
type COCOAnnotation struct {
	ID           int64
	Category     int // index in COCO.Categories; -1 where there are none
	Crowd        bool
	Box          [4]float64 // left, top, width, height in pixels
	Segmentation Segmentation
}

// Segmentation is an object's outline: polygons, or a mask. Both are empty for
// an object with a box alone.
type Segmentation struct {
	Polygons [][]float64 // each x0 y0 x1 y1 ... in pixels
	RLE      *RLE
}

// Empty reports whether there is no outline.
func (s *Segmentation) Empty() bool { return len(s.Polygons) == 0 && s.RLE == nil }

// Area is the number of pixels inside, overlaps of polygons counted twice.
func (s *Segmentation) Area() float64 {
	if s.RLE != nil {
		return float64(s.RLE.Area())
	}
	sum := 0.
	for _, p := range s.Polygons {
		sum += polygonArea(p)
	}
	return sum
}

// Fill sets the pixels inside in mask, (h,w) row by row; the same pixels as
// those of COCO's own tools.
func (s *Segmentation) Fill(mask []bool, h, w int) error {
	if s.RLE != nil {
		if s.RLE.H != h || s.RLE.W != w {
			return fmt.Errorf("runs of a %dx%d mask in a picture of %dx%d", s.RLE.W, s.RLE.H, w, h)
		}
		return s.RLE.Fill(mask)
	}
	for _, p := range s.Polygons {
		r, err := polygonRLE(p, w, h)
		if err != nil {
			return err
		}
		if err := r.Fill(mask); err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalJSON reads polygons, or runs that are numbers or COCO's string.
func (s *Segmentation) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		var err error
		s.Polygons, err = parsePolygons(data)
		return err
	}
	var r *struct {
		Size   []int
		Counts json.RawMessage
	}
	if err := json.Unmarshal(data, &r); err != nil || r == nil {
		return err
	}
	if len(r.Size) != 2 {
		return fmt.Errorf("run lengths with a size of %d numbers, expected height and width", len(r.Size))
	}
	s.RLE = &RLE{H: r.Size[0], W: r.Size[1]}
	if bytes.HasPrefix(r.Counts, []byte{'"'}) {
		var text string
		if err := json.Unmarshal(r.Counts, &text); err != nil {
			return err
		}
		var err error
		if s.RLE.Counts, err = parseCounts(text); err != nil {
			return err
		}
	} else if err := json.Unmarshal(r.Counts, &s.RLE.Counts); err != nil {
		return err
	}
	return s.RLE.Check()
}

// parsePolygons reads a JSON value, a list of lists of numbers. Nearly all of a
// file is such numbers; encoding/json makes more of them than their text, and
// scans it twice more.
func parsePolygons(data []byte) ([][]float64, error) {
	var out [][]float64
	for rest := data[1:]; ; {
		at := bytes.IndexAny(rest, "[]")
		if at < 0 || len(bytes.Trim(rest[:at], " \t\r\n,")) > 0 {
			return nil, errors.New("a segmentation that is neither polygons nor run lengths")
		}
		if rest[at] == ']' {
			return out, nil
		}
		rest = rest[at+1:]
		end := bytes.IndexByte(rest, ']')
		if end < 0 {
			return nil, errors.New("a polygon without end")
		}
		if len(bytes.TrimSpace(rest[:end])) == 0 {
			rest = rest[end+1:]
			continue
		}
		corners := make([]float64, 0, bytes.Count(rest[:end], []byte{','})+1)
		for number := range bytes.SplitSeq(rest[:end], []byte{','}) {
			v, err := strconv.ParseFloat(string(bytes.TrimSpace(number)), 64)
			if err != nil {
				return nil, fmt.Errorf("a polygon's corner %q is no number", number)
			}
			corners = append(corners, v)
		}
		if len(corners)%2 != 0 {
			return nil, fmt.Errorf("a polygon of %d numbers, expected x and y of each corner", len(corners))
		}
		out = append(out, corners)
		rest = rest[end+1:]
	}
}

// maxAnnotations bounds the size of a file of annotations; COCO's largest has
// half a gigabyte.
const maxAnnotations = 2 << 30

// ReadCOCO reads a file such as instances_train2017.json. Images of one name,
// annotations of an unknown image or category, and names that lead out of the
// folder of images are errors.
func ReadCOCO(path string) (*COCO, error) {
	return readCOCO(path, func(string, int, int) {})
}

func readCOCO(path string, progress func(what string, done, total int)) (*COCO, error) {
	f, size, err := openLimited(path, maxAnnotations)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	read := &counting{r: f, report: func(n int64) { progress("annotations", int(n>>20), int(size>>20)) }}
	return parseCOCO(bufio.NewReaderSize(read, 1<<20), path)
}

// counting reports how much has been read.
type counting struct {
	r      io.Reader
	n      int64
	report func(n int64)
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.report(c.n)
	return n, err
}

// cocoAnnotation is an annotation as it is written.
type cocoAnnotation struct {
	ID           int64        `json:"id"`
	Image        int64        `json:"image_id"`
	Category     int64        `json:"category_id"`
	Crowd        int          `json:"iscrowd"`
	Box          []float64    `json:"bbox"`
	Segmentation Segmentation `json:"segmentation"`
}

func parseCOCO(r io.Reader, path string) (*COCO, error) {
	fail := func(format string, args ...any) error {
		return &Error{Kind: ErrTable, Path: path, Found: fmt.Sprintf(format, args...),
			Advice: "expected COCO's instances: an object with images, annotations and categories"}
	}
	c := &COCO{Path: path}
	var annotations []cocoAnnotation
	parts := map[string]func(*json.Decoder) error{
		"images":      func(d *json.Decoder) error { return elements(d, &c.Images) },
		"categories":  func(d *json.Decoder) error { return elements(d, &c.Categories) },
		"annotations": func(d *json.Decoder) error { return elements(d, &annotations) },
	}
	d := json.NewDecoder(r)
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, fail("is no JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, fail("%v", explainJSON(err))
		}
		name, _ := token.(string)
		read, known := parts[name]
		if !known {
			read = func(d *json.Decoder) error { return d.Decode(new(json.RawMessage)) }
		} else if seen[name] {
			return nil, fail("%s occurs twice", name)
		}
		seen[name] = true
		if err := read(d); err != nil {
			return nil, fail("%s: %v", name, explainJSON(err))
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, fail("%v", explainJSON(err))
	}
	for _, name := range []string{"images", "annotations"} {
		if !seen[name] {
			return nil, fail("%s is missing", name)
		}
	}
	if err := c.assemble(annotations); err != nil {
		return nil, fail("%v", err)
	}
	return c, nil
}

// elements reads an array one element at a time: the text of all of them is
// never held.
func elements[T any](d *json.Decoder, out *[]T) error {
	if token, err := d.Token(); err != nil || token != json.Delim('[') {
		return cmp.Or(err, errors.New("is no array"))
	}
	for d.More() {
		var e T
		if err := d.Decode(&e); err != nil {
			return fmt.Errorf("element %d: %w", len(*out), err)
		}
		*out = append(*out, e)
	}
	_, err := d.Token()
	return err
}

func explainJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file is truncated")
	}
	return err
}

// assemble gives each image its annotations, and checks what they say.
func (c *COCO) assemble(annotations []cocoAnnotation) error {
	slices.SortFunc(c.Categories, func(a, b COCOCategory) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(c.Images, func(a, b COCOImage) int { return cmp.Compare(a.File, b.File) })
	slices.SortFunc(annotations, func(a, b cocoAnnotation) int { return cmp.Compare(a.ID, b.ID) })
	category := map[int64]int{}
	names := map[string]bool{}
	for i, k := range c.Categories {
		if _, twice := category[k.ID]; twice || names[k.Name] || k.Name == "" {
			return fmt.Errorf("category %d, %q, is empty or occurs twice", k.ID, k.Name)
		}
		category[k.ID], names[k.Name] = i, true
	}
	image := map[int64]int{}
	for i, m := range c.Images {
		if !filepath.IsLocal(filepath.FromSlash(m.File)) {
			return fmt.Errorf("image %d: file_name %q leads out of the folder of images", m.ID, m.File)
		}
		if _, twice := image[m.ID]; twice || i > 0 && m.File == c.Images[i-1].File {
			return fmt.Errorf("image %d, %q, occurs twice", m.ID, m.File)
		}
		if err := checkMaskSize(m.W, m.H); err != nil {
			return fmt.Errorf("image %d: %w", m.ID, err)
		}
		image[m.ID] = i
	}
	for _, a := range annotations {
		i, known := image[a.Image]
		if !known {
			return fmt.Errorf("annotation %d belongs to image %d, which is not among the %d", a.ID, a.Image, len(c.Images))
		}
		k, known := category[a.Category]
		if len(c.Categories) == 0 {
			k = -1
		} else if !known {
			return fmt.Errorf("annotation %d has category %d, which is not among the %d", a.ID, a.Category, len(c.Categories))
		}
		out := COCOAnnotation{ID: a.ID, Category: k, Crowd: a.Crowd != 0, Segmentation: a.Segmentation}
		if n := len(a.Box); n != 0 && n != 4 {
			return fmt.Errorf("annotation %d has a box of %d numbers, expected left, top, width, height", a.ID, n)
		}
		copy(out.Box[:], a.Box)
		for _, v := range out.Box {
			if math.IsInf(v, 0) {
				return fmt.Errorf("annotation %d has a box of %v", a.ID, a.Box)
			}
		}
		m := &c.Images[i]
		m.Annotations = append(m.Annotations, out)
	}
	return nil
}
