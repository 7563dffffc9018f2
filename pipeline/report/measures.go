package report

import "math"

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
	// Neutral is for figures of which neither more nor less is better.
	Neutral bool
	// Digits after the decimal point; 0 means 1 for percentages, else 3.
	Digits int
}

// Measures makes a table of figures before and after. It calls a change better
// or worse only where its interval leaves out zero.
func Measures(title, caption string, measures []Measure) Table {
	t := Table{Title: title, Caption: caption, Columns: []string{"Measure", "Before", "After", "Change"}}
	for _, m := range measures {
		t.Rows = append(t.Rows, []Cell{{Text: m.Name}, m.show(m.Before), m.show(m.After), m.change()})
	}
	return t
}

func (m Measure) show(v Interval) Cell {
	f := Figure{Interval: v, Digits: m.Digits}
	if m.Percent {
		f.Unit = Percent
	}
	return f.Cell()
}

func (m Measure) change() Cell {
	f := Figure{Interval: Exactly(m.After.Mean - m.Before.Mean), Digits: m.Digits, Signed: true}
	if m.Change != nil {
		f.Interval = *m.Change
	}
	if math.IsNaN(f.Mean) {
		return Cell{}
	}
	if m.Percent {
		f.Unit = Points
	}
	c := f.Cell()
	switch {
	case m.Change == nil:
	case m.Change.Low <= 0 && m.Change.High >= 0:
		c.Text += ": no clear change"
	case m.Neutral:
	case (m.Change.Mean > 0) != m.LowerIsBetter:
		c.Text += ": better"
	default:
		c.Text += ": worse"
	}
	return c
}
