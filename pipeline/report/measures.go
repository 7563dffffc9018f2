package report

import (
	"fmt"
	"math"
)

// nbsp keeps a value and its unit, and the ends of an interval, on one line.
const nbsp = "\u00a0"

// Interval is a measured value and the interval around it; Low == High where
// none was measured.
type Interval struct{ Mean, Low, High float64 }

// Exactly is a value without an interval.
func Exactly(x float64) Interval { return Interval{x, x, x} }

// Measure is one figure before and after.
type Measure struct {
	Name          string
	Before, After Interval
	// Change is the paired difference with its interval. It decides whether
	// the table says better or worse. nil: only the plain difference is shown.
	Change *Interval
	// Percent shows shares as percentages, their change in points.
	Percent bool
	// LowerIsBetter is for losses and errors.
	LowerIsBetter bool
	// Digits after the decimal point; 0 means 1 for percentages, else 3.
	Digits int
}

// Measures makes a table of figures before and after. It calls a change better
// or worse only where its interval leaves out zero.
func Measures(title, caption string, measures []Measure) Table {
	t := Table{Title: title, Caption: caption, Columns: []string{"", "Before", "After", "Change"}}
	for _, m := range measures {
		t.Rows = append(t.Rows, []string{m.Name, m.show(m.Before), m.show(m.After), m.change()})
	}
	return t
}

func (m Measure) number(x float64, sign bool) string {
	digits := m.Digits
	if digits == 0 {
		digits = 3
		if m.Percent {
			digits = 1
		}
	}
	if m.Percent {
		x *= 100
	}
	s := fmt.Sprintf("%.*f", digits, math.Abs(x))
	switch zero := fmt.Sprintf("%.*f", digits, 0.0); {
	case s == zero:
		return s
	case x < 0:
		return "\u2212" + s // a minus sign as wide as the plus sign
	case sign:
		return "+" + s
	}
	return s
}

func (m Measure) show(v Interval) string {
	if math.IsNaN(v.Mean) {
		return "not measured"
	}
	s := m.number(v.Mean, false)
	if m.Percent {
		s += nbsp + "%"
	}
	if v.Low != v.High {
		s += fmt.Sprintf(" (%s"+nbsp+"to"+nbsp+"%s)", m.number(v.Low, false), m.number(v.High, false))
	}
	return s
}

func (m Measure) change() string {
	difference := m.After.Mean - m.Before.Mean
	if m.Change != nil {
		difference = m.Change.Mean
	}
	if math.IsNaN(difference) {
		return ""
	}
	s := m.number(difference, true)
	if m.Percent {
		s += nbsp + "points"
	}
	c := m.Change
	if c == nil {
		return s
	}
	s += fmt.Sprintf(" (%s"+nbsp+"to"+nbsp+"%s)", m.number(c.Low, true), m.number(c.High, true))
	switch {
	case c.Low <= 0 && c.High >= 0:
		return s + ": no clear change"
	case (c.Mean > 0) != m.LowerIsBetter:
		return s + ": better"
	}
	return s + ": worse"
}
