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

// Page is a report. As JSON it repeats every figure that the page shows.
type Page struct {
	Title    string    `json:"title"`
	Lead     string    `json:"lead,omitempty"` // one or two sentences: what came out
	Sections []Section `json:"sections"`
}

// Section is a part of a page, written in the order of its fields. Empty fields
// are left out, and so is a section of which nothing but the title is left.
type Section struct {
	Title   string   `json:"title"`
	Text    []string `json:"text,omitempty"` // a paragraph each
	Facts   []Fact   `json:"facts,omitempty"`
	Command string   `json:"command,omitempty"` // to type
	Tables  []Table  `json:"tables,omitempty"`
	Charts  []Chart  `json:"charts,omitempty"`
	Sheets  []Sheet  `json:"sheets,omitempty"`
}

func (s Section) empty() bool {
	return len(s.Text)+len(s.Facts)+len(s.Command)+len(s.Tables)+len(s.Charts)+len(s.Sheets) == 0
}

// Fact is one line of a list of properties.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Table is a table whose first column names its rows. Measures makes one from
// measured values.
type Table struct {
	Title   string   `json:"title,omitempty"` // empty where the section's says it
	Caption string   `json:"caption,omitempty"`
	Columns []string `json:"columns"`
	Rows    [][]Cell `json:"rows"` // as many cells each as there are columns
}

// Sheet is a table of pictures, such as original, mask, before, after.
type Sheet struct {
	Caption string     `json:"caption,omitempty"`
	Columns []string   `json:"columns"`
	Rows    []SheetRow `json:"rows"`
}

// SheetRow is one row of pictures.
type SheetRow struct {
	Label  string        `json:"label"` // what the row shows, such as "star on red lattice"
	Images []image.Image `json:"-"`     // one for each column; nil leaves the place empty
	Notes  []Cell        `json:"notes,omitempty"`
}

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"first": func(i int) bool { return i == 0 },
}).Parse(pageHTML))

// drawnSection is a section whose charts and sheets are drawn.
type drawnSection struct {
	Section
	Charts []drawnChart
	Sheets []drawnSheet
}

// Write writes the page as HTML. The same page gives the same bytes.
func Write(w io.Writer, p Page) error {
	view := struct {
		Page
		CSS      template.CSS
		Sections []drawnSection
	}{Page: p, CSS: template.CSS(pageCSS)} // our own file, not a user's text
	charts := 0
	for _, s := range p.Sections {
		if s.empty() {
			continue
		}
		drawn, err := s.draw(&charts)
		if err != nil {
			return err
		}
		view.Sections = append(view.Sections, drawn)
	}
	if err := pageTemplate.Execute(w, view); err != nil {
		return fmt.Errorf("report: writing the page: %w", err)
	}
	return nil
}

// draw draws a section; charts counts those of the page.
func (s Section) draw(charts *int) (drawnSection, error) {
	out := drawnSection{Section: s}
	for _, t := range s.Tables {
		for _, row := range t.Rows {
			if len(row) != len(t.Columns) {
				return out, fmt.Errorf("report: table %q of section %q: found a row of %d cells, want %d", t.Title, s.Title, len(row), len(t.Columns))
			}
		}
	}
	for _, c := range s.Charts {
		drawn, err := c.draw(*charts)
		if err != nil {
			return out, err
		}
		*charts++
		out.Charts = append(out.Charts, drawn)
	}
	for _, sheet := range s.Sheets {
		drawn, err := sheet.draw(s.Title)
		if err != nil {
			return out, err
		}
		out.Sheets = append(out.Sheets, drawn)
	}
	return out, nil
}
