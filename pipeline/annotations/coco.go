package annotations

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
)

type cocoFile struct {
	Images []struct {
		ID      json.Number `json:"id"`
		Name    string      `json:"file_name"`
		Rows    int         `json:"height"`
		Columns int         `json:"width"`
	} `json:"images"`
	Annotations []struct {
		Image json.Number     `json:"image_id"`
		Box   []float64       `json:"bbox"` // left, top, width, height
		Shape json.RawMessage `json:"segmentation"`
	} `json:"annotations"`
}

// coco reads COCO's instances.
func (s *Set) coco() error {
	f, err := os.Open(s.Source)
	if err != nil {
		return &Error{Path: s.Source, Found: "it can't be read: " + reason(err)}
	}
	defer f.Close()
	var c cocoFile
	if err := json.NewDecoder(f).Decode(&c); err != nil {
		return &Error{Path: s.Source, Found: "no COCO annotations: " + err.Error()}
	}
	byID := map[json.Number]*Picture{}
	for _, image := range c.Images {
		p := s.add(image.Name)
		p.Rows, p.Columns = image.Rows, image.Columns
		byID[image.ID] = p
	}
	for i, a := range c.Annotations {
		fail := func(format string, args ...any) error {
			return &Error{Path: s.Source, Found: fmt.Sprintf("annotation %d, counted from 0: ", i) + fmt.Sprintf(format, args...)}
		}
		p := byID[a.Image]
		if p == nil {
			return fail("its image %s isn't listed", a.Image)
		}
		var r Region
		switch len(a.Box) {
		case 0:
		case 4:
			r.Box = &Box{a.Box[0], a.Box[1], a.Box[0] + a.Box[2], a.Box[1] + a.Box[3]}
		default:
			return fail("bbox has %d numbers, expected left, top, width, height", len(a.Box))
		}
		if err := r.shape(a.Shape); err != nil {
			return fail("%v", err)
		}
		p.Regions = append(p.Regions, r)
	}
	return nil
}

// shape reads a segmentation: a list of polygons, or run lengths as numbers or
// compressed.
func (r *Region) shape(text json.RawMessage) error {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || string(text) == "null" {
		return nil
	}
	if text[0] == '[' {
		if err := json.Unmarshal(text, &r.Polygons); err != nil {
			return fmt.Errorf("segmentation: %w", err)
		}
		for _, p := range r.Polygons {
			if len(p)%2 != 0 || len(p) < 6 {
				return fmt.Errorf("segmentation: a polygon of %d numbers, expected x and y of three points or more", len(p))
			}
		}
		return nil
	}
	var runs struct {
		Counts json.RawMessage `json:"counts"`
		Size   []int           `json:"size"`
	}
	if err := json.Unmarshal(text, &runs); err != nil {
		return fmt.Errorf("segmentation: %w", err)
	}
	if len(runs.Size) != 2 || runs.Size[0] < 1 || runs.Size[1] < 1 || runs.Size[0] > math.MaxInt32/runs.Size[1] {
		return fmt.Errorf("segmentation: size %v, expected rows and columns", runs.Size)
	}
	r.Runs = &Runs{Rows: runs.Size[0], Columns: runs.Size[1]}
	var compressed string
	if err := json.Unmarshal(runs.Counts, &r.Runs.Counts); err != nil {
		if err := json.Unmarshal(runs.Counts, &compressed); err != nil {
			return errors.New("segmentation: counts are neither numbers nor a string")
		}
		if r.Runs.Counts, err = decompress(compressed); err != nil {
			return err
		}
	}
	sum := 0
	for _, n := range r.Runs.Counts {
		if n < 0 || n > math.MaxInt32 {
			return fmt.Errorf("segmentation: a run of %d pixels", n)
		}
		sum += n
	}
	if sum != r.Runs.Rows*r.Runs.Columns {
		return fmt.Errorf("segmentation: runs of %d pixels in all, %dx%d has %d", sum, r.Runs.Rows, r.Runs.Columns, r.Runs.Rows*r.Runs.Columns)
	}
	return nil
}

// decompress reads COCO's text form of run lengths: five bits a character from
// '0' on, the lowest first, a sixth where more follow; from the fourth number on
// the difference from the last but one.
func decompress(s string) ([]int, error) {
	var counts []int
	for i := 0; i < len(s); {
		x, shift := int64(0), 0
		for more := true; more; i++ {
			if i == len(s) || s[i] < 48 || s[i] > 48+63 || shift > 30 {
				return nil, fmt.Errorf("segmentation: compressed run lengths are damaged at character %d", i+1)
			}
			c := int64(s[i] - 48)
			x |= c & 0x1f << shift
			shift += 5
			if more = c&0x20 != 0; !more && c&0x10 != 0 {
				x |= -1 << shift
			}
		}
		if n := len(counts); n > 2 {
			x += int64(counts[n-2])
		}
		counts = append(counts, int(x))
	}
	return counts, nil
}

// rasterise is COCO's own way to paint a polygon, as run lengths column by
// column: its edges are walked on a grid five times as fine, and a pixel is
// inside where its centre is.
func rasterise(polygon []float64, h, w int) []int {
	const scale = 5
	k := len(polygon) / 2
	x, y := make([]int, k+1), make([]int, k+1)
	for j := range k {
		x[j], y[j] = int(scale*polygon[2*j]+0.5), int(scale*polygon[2*j+1]+0.5)
	}
	x[k], y[k] = x[0], y[0]
	var u, v []int
	for j := range k {
		xs, xe, ys, ye := x[j], x[j+1], y[j], y[j+1]
		dx, dy := max(xe-xs, xs-xe), max(ye-ys, ys-ye)
		flip := dx >= dy && xs > xe || dx < dy && ys > ye
		if flip {
			xs, xe, ys, ye = xe, xs, ye, ys
		}
		n := max(dx, dy)
		for d := range n + 1 {
			t := d
			if flip {
				t = n - d
			}
			switch {
			case n == 0:
				u, v = append(u, xs), append(v, ys)
			case dx >= dy:
				u, v = append(u, t+xs), append(v, int(float64(ys)+float64(ye-ys)/float64(dx)*float64(t)+0.5))
			default:
				u, v = append(u, int(float64(xs)+float64(xe-xs)/float64(dy)*float64(t)+0.5)), append(v, t+ys)
			}
		}
	}
	var ends []int // where the mask changes
	for j := 1; j < len(u); j++ {
		if u[j] == u[j-1] {
			continue
		}
		left := u[j] - 1
		if u[j] < u[j-1] {
			left = u[j]
		}
		xd := (float64(left)+0.5)/scale - 0.5
		if math.Floor(xd) != xd || xd < 0 || xd > float64(w-1) {
			continue
		}
		yd := (float64(min(v[j], v[j-1]))+0.5)/scale - 0.5
		ends = append(ends, int(xd)*h+int(math.Ceil(min(max(yd, 0), float64(h)))))
	}
	slices.Sort(ends)
	ends = append(ends, h*w)
	var counts []int
	last := 0
	for _, e := range ends {
		counts = append(counts, e-last)
		last = e
	}
	return counts
}
