package report

import (
	"fmt"
	"math"
)

// nbsp keeps a value and its unit, and the ends of an interval, on one line.
const nbsp = "\u00a0"

// Cell is what stands in one place of a table: a text, and the figures that it
// rounds.
type Cell struct {
	Text  string   `json:"text"`
	Value *float64 `json:"value,omitempty"` // nil: the text is all there is
	Low   *float64 `json:"low,omitempty"`   // of its interval; nil: none
	High  *float64 `json:"high,omitempty"`
	// Unit is what the text counts in: percent and points are hundredths of the
	// figures.
	Unit string `json:"unit,omitempty"`
}

// Texts makes a row of cells without figures.
func Texts(texts ...string) []Cell {
	row := make([]Cell, len(texts))
	for i, t := range texts {
		row[i].Text = t
	}
	return row
}

// Interval is a measured value and the interval around it; Low == High where
// none was measured.
type Interval struct{ Mean, Low, High float64 }

// Exactly is a value without an interval.
func Exactly(x float64) Interval { return Interval{x, x, x} }

// The units of shares and of their differences.
const (
	Percent = "%"
	Points  = "points"
)

// Figure is a number as it is to be written.
type Figure struct {
	Interval
	Unit   string // Percent and Points write a share in hundredths
	Digits int    // after the decimal point; 0 means 1 for Percent and Points, else 3
	Whole  bool   // no decimals
	Signed bool   // with a plus sign where it is above zero
}

// Count is a whole number.
func Count(n int) Figure { return Figure{Interval: Exactly(float64(n)), Whole: true} }

// Cell writes the figure, "not measured" where it is no number.
func (f Figure) Cell() Cell {
	if math.IsNaN(f.Mean) {
		return Cell{Text: "not measured"}
	}
	c := Cell{Text: f.number(f.Mean), Unit: f.Unit}
	if f.Unit != "" {
		c.Text += nbsp + f.Unit
	}
	if finite(f.Mean) {
		c.Value = &f.Mean
	}
	if f.Low != f.High && finite(f.Low) && finite(f.High) {
		c.Low, c.High = &f.Low, &f.High
		c.Text += fmt.Sprintf(" (%s"+nbsp+"to"+nbsp+"%s)", f.number(f.Low), f.number(f.High))
	}
	return c
}

func (f Figure) number(x float64) string {
	digits := f.Digits
	if f.Unit == Percent || f.Unit == Points {
		x *= 100
		if digits == 0 {
			digits = 1
		}
	} else if digits == 0 {
		digits = 3
	}
	if f.Whole {
		digits = 0
	}
	s := fmt.Sprintf("%.*f", digits, math.Abs(x))
	switch zero := fmt.Sprintf("%.*f", digits, 0.0); {
	case s == zero:
		return s
	case x < 0:
		return "\u2212" + s // a minus sign as wide as the plus sign
	case f.Signed:
		return "+" + s
	}
	return s
}
