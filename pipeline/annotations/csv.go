package annotations

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

// csv reads a table with a row for each box and the columns image, xmin, ymin,
// xmax, ymax, or image, x, y, width, height, in any order, in pixels.
func (s *Set) csv() error {
	f, err := os.Open(s.Source)
	if err != nil {
		return &Error{Path: s.Source, Found: "it can't be read: " + reason(err)}
	}
	defer f.Close()
	c := csv.NewReader(f)
	header, err := c.Read()
	if err != nil {
		return &Error{Path: s.Source, Line: 1, Found: "no header line; expected the columns image, xmin, ymin, xmax, ymax"}
	}
	at := map[string]int{}
	for i, name := range header {
		at[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	corners := []string{"xmin", "ymin", "xmax", "ymax"}
	sizes := []string{"x", "y", "width", "height"}
	columns := corners
	if !has(at, corners) {
		columns = sizes
	}
	if _, ok := at["image"]; !ok || !has(at, columns) {
		return &Error{Path: s.Source, Line: 1, Found: fmt.Sprintf("columns %q; expected image, xmin, ymin, xmax, ymax, or image, x, y, width, height", strings.Join(header, ","))}
	}
	for {
		row, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			e := &Error{Path: s.Source, Found: err.Error()}
			if parse := (*csv.ParseError)(nil); errors.As(err, &parse) {
				e.Line, e.Found = parse.Line, parse.Err.Error()
			}
			return e
		}
		line, _ := c.FieldPos(0)
		var v [4]float64
		for i, name := range columns {
			text := strings.TrimSpace(row[at[name]])
			if v[i], err = strconv.ParseFloat(text, 64); err != nil || math.IsNaN(v[i]) || math.IsInf(v[i], 0) {
				return &Error{Path: s.Source, Line: line, Found: fmt.Sprintf("%s is %q, expected a number of pixels", name, text)}
			}
		}
		if !has(at, corners) {
			v[2], v[3] = v[0]+v[2], v[1]+v[3]
		}
		p := s.add(strings.TrimSpace(row[at["image"]]))
		p.Regions = append(p.Regions, Region{Box: &Box{v[0], v[1], v[2], v[3]}})
	}
}

func has(at map[string]int, names []string) bool {
	for _, n := range names {
		if _, ok := at[n]; !ok {
			return false
		}
	}
	return true
}
