// Package report writes what a run did as one HTML page that needs no other
// file: tables, charts as inline SVG, pictures as data URIs. The page follows
// the reader's light or dark setting, and can be read on a phone and on paper.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"image"
	"io"
)

// Page is a report, written in the order of its fields. Empty parts are left
// out.
type Page struct {
	Title   string
	Lead    string   // one or two sentences: what came out
	Command string   // the command that repeats the run
	Facts   []Fact   // what was trained from what
	Tables  []Table  // figures
	Charts  []Chart  // how they came about
	Sheets  []Sheet  // what it looks like
	Notes   []string // what a reader should know to judge the figures, a paragraph each
}

// Fact is one line of the list at the head of the page.
type Fact struct{ Name, Value string }

// Table is a table whose first column names its rows. Measures makes one from
// measured values.
type Table struct {
	Title, Caption string
	Columns        []string
	Rows           [][]string // as many cells each as there are columns
}

// Sheet is a table of pictures, such as original, mask, before, after.
type Sheet struct {
	Title, Caption string
	Columns        []string
	Rows           []SheetRow
}

// SheetRow is one row of pictures.
type SheetRow struct {
	Label  string        // what the row shows, such as "star on red lattice"
	Images []image.Image // one for each column; nil leaves the place empty
	Notes  []string      // a line under each picture; nil for none
}

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"first": func(i int) bool { return i == 0 },
}).Parse(pageHTML))

// Write writes the page as HTML. The same page gives the same bytes.
func Write(w io.Writer, p Page) error {
	view := struct {
		Page
		CSS    template.CSS
		Charts []drawnChart
		Sheets []drawnSheet
	}{Page: p, CSS: template.CSS(pageCSS)} // our own file, not a user's text
	for _, t := range p.Tables {
		for _, row := range t.Rows {
			if len(row) != len(t.Columns) {
				return fmt.Errorf("report: table %q: found a row of %d cells, want %d", t.Title, len(row), len(t.Columns))
			}
		}
	}
	for i, c := range p.Charts {
		drawn, err := c.draw(i)
		if err != nil {
			return err
		}
		view.Charts = append(view.Charts, drawn)
	}
	for _, s := range p.Sheets {
		drawn, err := s.draw()
		if err != nil {
			return err
		}
		view.Sheets = append(view.Sheets, drawn)
	}
	if err := pageTemplate.Execute(w, view); err != nil {
		return fmt.Errorf("report: writing the page: %w", err)
	}
	return nil
}
