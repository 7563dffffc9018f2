package dataset

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// ImageBox is a row of a table of boxes.
type ImageBox struct {
	Image string
	Box   [4]float64 // left, top, right, bottom in pixels from 0, right and bottom exclusive
}

// maxBoxes bounds the size of a table of boxes; ten million take half of it.
const maxBoxes = 1 << 30

// ReadBoxes reads a CSV with a row for each box and the columns image, xmin,
// ymin, xmax, ymax, or image, x, y, width, height, in any order, in pixels.
func ReadBoxes(path string) ([]ImageBox, error) {
	f, _, err := openLimited(path, maxBoxes)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseBoxes(f, path)
}

func parseBoxes(r io.Reader, path string) ([]ImageBox, error) {
	fail := func(line int, format string, args ...any) error {
		return &Error{Kind: ErrTable, Path: path, Line: line, Found: fmt.Sprintf(format, args...)}
	}
	c := csv.NewReader(r)
	c.ReuseRecord = true
	header, err := c.Read()
	switch {
	case err == io.EOF:
		return nil, fail(1, "no header line; expected the columns image, xmin, ymin, xmax, ymax")
	case err != nil:
		return nil, fail(1, "%v", err)
	}
	at := map[string]int{}
	for i, name := range header {
		at[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	columns := []string{"xmin", "ymin", "xmax", "ymax"}
	corners := hasColumns(at, columns)
	if !corners {
		columns = []string{"x", "y", "width", "height"}
	}
	if !hasColumns(at, columns) || !hasColumns(at, []string{"image"}) {
		return nil, fail(1, "columns %q; expected image, xmin, ymin, xmax, ymax, or image, x, y, width, height", strings.Join(header, ","))
	}
	var out []ImageBox
	for {
		record, err := c.Read()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			var parse *csv.ParseError
			if errors.As(err, &parse) {
				return nil, fail(parse.Line, "%v", parse.Err)
			}
			return nil, fail(0, "%v", err)
		}
		line, _ := c.FieldPos(0)
		b := ImageBox{Image: strings.Clone(strings.TrimSpace(record[at["image"]]))} // not the whole line
		for i, name := range columns {
			text := strings.TrimSpace(record[at[name]])
			if b.Box[i], err = strconv.ParseFloat(text, 64); err != nil || math.IsNaN(b.Box[i]) || math.IsInf(b.Box[i], 0) {
				return nil, fail(line, "%s is %q, expected a number of pixels", name, text)
			}
		}
		if !corners {
			b.Box[2], b.Box[3] = b.Box[0]+b.Box[2], b.Box[1]+b.Box[3]
		}
		out = append(out, b)
	}
}

func hasColumns(at map[string]int, names []string) bool {
	for _, n := range names {
		if _, ok := at[n]; !ok {
			return false
		}
	}
	return true
}
