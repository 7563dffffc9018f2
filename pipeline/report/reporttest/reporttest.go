// Package reporttest compares a report's page with its JSON.
package reporttest

import (
	"encoding/json"
	"html"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	tables = regexp.MustCompile(`(?s)<tbody>(.*?)</tbody>`)
	lines  = regexp.MustCompile(`(?s)<tr>(.*?)</tr>`)
	cells  = regexp.MustCompile(`(?s)<t([hd])[^>]*>(.*?)</t[hd]>`)
	number = regexp.MustCompile(`[-+\x{2212}]?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?`)
)

type cell struct {
	Text             string
	Value, Low, High *float64
	Unit             string
}

// Repeats checks that every number in the cells of the page's tables, but in the
// first column, stands in the JSON as a number at the same place, and rounds to
// what the page shows. It returns how many there are.
func Repeats(t *testing.T, page, text []byte) int {
	t.Helper()
	var p struct {
		Sections []struct {
			Tables []struct{ Rows [][]cell }
		}
	}
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	var want [][][]cell
	for _, s := range p.Sections {
		for _, table := range s.Tables {
			want = append(want, table.Rows)
		}
	}
	shown := tables.FindAllSubmatch(page, -1)
	if len(shown) != len(want) {
		t.Fatalf("the page has %d tables and its JSON %d", len(shown), len(want))
	}
	count := 0
	for i, table := range shown {
		rows := lines.FindAllSubmatch(table[1], -1)
		if len(rows) != len(want[i]) {
			t.Fatalf("table %d has %d rows and in JSON %d", i, len(rows), len(want[i]))
		}
		for j, row := range rows {
			for k, c := range cells.FindAllSubmatch(row[1], -1) {
				if string(c[1]) == "d" {
					count += compare(t, html.UnescapeString(string(c[2])), want[i][j][k])
				}
			}
		}
	}
	return count
}

// compare holds the numbers of a cell's text against its figures.
func compare(t *testing.T, shown string, c cell) int {
	t.Helper()
	if shown != c.Text {
		t.Errorf("the page says %q where its JSON says %q", shown, c.Text)
	}
	if c.Value == nil {
		return 0
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
		t.Errorf("%q shows %d numbers and has %d figures", shown, len(found), len(figures))
		return 0
	}
	for i, f := range figures {
		v, err := strconv.ParseFloat(strings.ReplaceAll(found[i], "\u2212", "-"), 64)
		if err != nil {
			t.Fatal(err)
		}
		digits := 0
		if mantissa, _, _ := strings.Cut(found[i], "e"); strings.Contains(mantissa, ".") {
			digits = len(mantissa) - strings.Index(mantissa, ".") - 1
		}
		if math.Abs(v-*f*scale) > 0.5001*math.Pow(10, -float64(digits)) {
			t.Errorf("%q shows %v, its figure is %v", shown, v, *f)
		}
	}
	return len(figures)
}
