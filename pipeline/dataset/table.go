package dataset

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// CSV reads a table with a header line and the columns image, mask and label
// in any order; others are ignored, mask and label may be absent or empty.
// Paths are relative to the table's folder. A label that is a number becomes
// Label (-1: unknown), any label becomes Class. The samples are sorted by image path.
func CSV(path string) ([]Sample, error) {
	f, err := openTable(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	samples, err := parseCSV(f, path)
	if err != nil {
		return nil, err
	}
	for _, s := range samples {
		for _, p := range []string{s.ImagePath, s.MaskPath} {
			if _, err := os.Stat(p); err != nil && p != "" {
				return nil, &Error{Kind: ErrMissing, Path: path, Line: s.line, Found: "no file " + p,
					Advice: "paths are relative to the table's folder"}
			}
		}
	}
	slices.SortStableFunc(samples, func(a, b row) int { return strings.Compare(a.ID, b.ID) })
	out := make([]Sample, len(samples))
	for i, s := range samples {
		out[i] = s.Sample
	}
	return out, nil
}

type row struct {
	Sample
	line int
}

func openTable(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{Kind: ErrMissing, Path: path, Found: "cannot be opened: " + errors.Unwrap(err).Error()}
	}
	return f, nil
}

// openLimited opens a regular file of at most so many bytes: waiting on a pipe,
// or filling memory, is not for a list.
func openLimited(path string, most int64) (f *os.File, size int64, err error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > most) {
		return nil, 0, &Error{Kind: ErrTable, Path: path, Found: fmt.Sprintf("is no file of at most %d MB", most>>20)}
	}
	if f, err = openTable(path); err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// readLimited reads such a file.
func readLimited(path string, most int64) ([]byte, error) {
	f, _, err := openLimited(path, most)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, &Error{Kind: ErrTable, Path: path, Found: errors.Unwrap(err).Error()}
	}
	return data, nil
}

// parseCSV reads the table without looking at the files that it names.
func parseCSV(r io.Reader, path string) ([]row, error) {
	fail := func(line int, format string, args ...any) error {
		return &Error{Kind: ErrTable, Path: path, Line: line, Found: fmt.Sprintf(format, args...)}
	}
	buffered := bufio.NewReader(r)
	if bom, err := buffered.Peek(3); err == nil && string(bom) == "\ufeff" {
		buffered.Discard(3)
	}
	c := csv.NewReader(buffered)
	c.ReuseRecord = true
	header, err := c.Read()
	switch {
	case err == io.EOF:
		return nil, fail(1, "no header line; expected the columns image, mask, label")
	case err != nil:
		return nil, fail(1, "%v", err)
	}
	columns := map[string]int{"image": -1, "mask": -1, "label": -1}
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if at, known := columns[name]; known {
			if at >= 0 {
				return nil, fail(1, "column %s occurs twice", name)
			}
			columns[name] = i
		}
	}
	if columns["image"] < 0 {
		return nil, fail(1, "no column image in the header %q; expected the columns image, mask, label", strings.Join(header, ","))
	}
	folder := filepath.Dir(path)
	lines := map[string]int{}
	var samples []row
	for {
		record, err := c.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			var parse *csv.ParseError
			if errors.As(err, &parse) {
				return nil, fail(parse.Line, "%v", parse.Err)
			}
			return nil, fail(0, "%v", err)
		}
		line, _ := c.FieldPos(0)
		cell := func(name string) string {
			if columns[name] < 0 {
				return ""
			}
			return strings.TrimSpace(record[columns[name]])
		}
		s := row{line: line, Sample: Sample{ID: filepath.ToSlash(cell("image")), Class: cell("label"), Label: NoLabel}}
		if s.ID == "" {
			return nil, fail(line, "the image cell is empty")
		}
		if first, ok := lines[s.ID]; ok {
			return nil, fail(line, "image %s is on line %d already", s.ID, first)
		}
		lines[s.ID] = line
		s.ImagePath, s.MaskPath = join(folder, cell("image")), join(folder, cell("mask"))
		if n, err := strconv.Atoi(s.Class); err == nil {
			if n < NoLabel {
				return nil, fail(line, "label %d is negative; -1 stands for an unknown one", n)
			}
			s.Label = n
		}
		samples = append(samples, s)
	}
	if len(samples) == 0 {
		return nil, &Error{Kind: ErrEmpty, Path: path, Found: "no rows below the header"}
	}
	return samples, nil
}

func join(folder, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}
