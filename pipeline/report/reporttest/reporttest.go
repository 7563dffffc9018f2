// Package reporttest compares a report's page with its JSON.
package reporttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"math"
	"regexp"
	"strconv"
	"strings"
)

var (
	tables = regexp.MustCompile(`(?s)<tbody>(.*?)</tbody>`)
	lines  = regexp.MustCompile(`(?s)<tr>(.*?)</tr>`)
	cells  = regexp.MustCompile(`(?s)<t([hd])[^>]*>(.*?)</t[hd]>`)
	number = regexp.MustCompile(`[-+\x{2212}]?[0-9]+(\.[0-9]+)?`)
)

type cell struct {
	Text             string
	Value, Low, High *float64
	Unit             string
}

// Repeats checks that every number in the cells of the page's tables, but in the
// first column, stands in the JSON as a number at the same place, and rounds to
// what the page shows. It returns how many there are.
func Repeats(page, text []byte) (int, error) {
	var p struct {
		Sections []struct {
			Tables []struct{ Rows [][]cell }
		}
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return 0, err
	}
	var want [][][]cell
	for _, s := range p.Sections {
		for _, table := range s.Tables {
			want = append(want, table.Rows)
		}
	}
	shown := tables.FindAllSubmatch(page, -1)
	if len(shown) != len(want) {
		return 0, fmt.Errorf("the page has %d tables and its JSON %d", len(shown), len(want))
	}
	count := 0
	var faults []error
	for i, table := range shown {
		rows := lines.FindAllSubmatch(table[1], -1)
		if len(rows) != len(want[i]) {
			return 0, fmt.Errorf("table %d has %d rows and in JSON %d", i, len(rows), len(want[i]))
		}
		for j, row := range rows {
			for k, c := range cells.FindAllSubmatch(row[1], -1) {
				if string(c[1]) == "d" {
					n, err := compare(html.UnescapeString(string(c[2])), want[i][j][k])
					count, faults = count+n, append(faults, err)
				}
			}
		}
	}
	return count, errors.Join(faults...)
}

// compare holds the numbers of a cell's text against its figures.
func compare(shown string, c cell) (int, error) {
	if shown != c.Text {
		return 0, fmt.Errorf("the page says %q where its JSON says %q", shown, c.Text)
	}
	if c.Value == nil {
		return 0, nil
	}
	scale := 1.0
	if c.Unit == "%" || c.Unit == "points" {
		scale = 100
	}
	found := number.FindAllString(shown, -1)
	figures := []*float64{c.Value, c.Low, c.High}
	if c.Low == nil {
		figures = figures[:1]
	}
	if len(found) < len(figures) {
		return 0, fmt.Errorf("%q shows %d numbers and has %d figures", shown, len(found), len(figures))
	}
	for i, f := range figures {
		v, err := strconv.ParseFloat(strings.ReplaceAll(found[i], "\u2212", "-"), 64)
		if err != nil {
			return 0, err
		}
		_, decimals, _ := strings.Cut(found[i], ".")
		if math.Abs(v-*f*scale) > 0.5001*math.Pow(10, -float64(len(decimals))) {
			return 0, fmt.Errorf("%q shows %v, its figure is %v", shown, v, *f)
		}
	}
	return len(figures), nil
}
