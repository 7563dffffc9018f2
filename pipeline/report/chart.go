package report

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Chart is a line chart.
type Chart struct {
	Title   string   `json:"title"`
	Caption string   `json:"caption,omitempty"`
	XLabel  string   `json:"x"`
	YLabel  string   `json:"y"`
	Series  []Series `json:"series"`
	// Reliability lets both axes run from 0 to 1, with the diagonal on which a
	// calibrated model lies.
	Reliability bool `json:"reliability,omitempty"`
}

// Series is one line. Points that are not finite leave a gap.
type Series struct {
	Name string  `json:"name"`
	X    Numbers `json:"x"` // rising
	Y    Numbers `json:"y"` // as many
	// Weights make the points' areas; nil: lines of few points have small ones.
	Weights Numbers `json:"weights,omitempty"`
}

// Numbers are values of which JSON writes those that are not finite as null.
type Numbers []float64

// MarshalJSON implements json.Marshaler.
func (n Numbers) MarshalJSON() ([]byte, error) {
	out := make([]*float64, len(n))
	for i := range n {
		if finite(n[i]) {
			out[i] = &n[i]
		}
	}
	return json.Marshal(out)
}

// The chart's own units; the page scales them. The letters stay legible on a
// phone because the chart is narrow.
const (
	chartWidth, chartHeight = 480.0, 300.0
	plotLeft, plotRight     = 76.0, 470.0
	plotTop, plotBottom     = 12.0, 250.0
)

// maxPoints is how many points a line is drawn with; longer series are
// averaged.
const maxPoints = 240

type drawnChart struct {
	ID                  int
	Title, Caption      string
	XLabel, YLabel      string
	Description         string
	Width, Height       float64
	Left, Right         float64
	Top, Bottom         float64
	MiddleX, MiddleY    float64
	AxisEnd             float64 // of the marks on the x axis
	Diagonal            string
	XTicks, YTicks      []tick
	Lines               []drawnLine
	XLabelY, TickLabelY float64
}

type tick struct {
	At    float64
	Label string
}

type drawnLine struct {
	Name, Summary string
	Class         int // colour and dashes
	Path          string
	Markers       []marker
}

type marker struct{ X, Y, R float64 }

// styles is how many lines differ in colour or dashes.
const styles = 8

// draw lays the chart out; id tells the page's charts apart.
func (c Chart) draw(id int) (drawnChart, error) {
	out := drawnChart{
		ID: id, Title: c.Title, Caption: c.Caption, XLabel: c.XLabel, YLabel: c.YLabel,
		Width: chartWidth, Height: chartHeight, Left: plotLeft, Right: plotRight, Top: plotTop, Bottom: plotBottom,
		MiddleX: (plotLeft + plotRight) / 2, MiddleY: (plotTop + plotBottom) / 2,
		AxisEnd: plotBottom + 5, TickLabelY: plotBottom + 19, XLabelY: chartHeight - 8,
	}
	var xs, ys span
	series := make([]Series, len(c.Series))
	for i, s := range c.Series {
		if len(s.X) != len(s.Y) || s.Weights != nil && len(s.Weights) != len(s.X) {
			return out, fmt.Errorf("report: chart %q, line %q: found %d x and %d y values, and %d weights", c.Title, s.Name, len(s.X), len(s.Y), len(s.Weights))
		}
		series[i] = s.thinned()
		for j := range s.X {
			if finite(s.X[j]) && finite(s.Y[j]) {
				xs.add(s.X[j])
			}
		}
		for j := range series[i].X {
			if finite(series[i].X[j]) && finite(series[i].Y[j]) {
				ys.add(series[i].Y[j])
			}
		}
	}
	if !xs.any {
		out.Description = "No values were recorded."
		return out, nil
	}
	if c.Reliability {
		xs, ys = span{high: 1, parts: true}, span{high: 1, parts: true}
		out.Diagonal = fmt.Sprintf("M%g %gL%g %g", plotLeft, plotBottom, plotRight, plotTop)
	} else {
		ys.roundOut()
		if xs.low > 0 && xs.low <= xs.high/2 {
			xs.low = 0
		}
		xs.widen()
	}
	toX := func(x float64) float64 { return plotLeft + (x-xs.low)/(xs.high-xs.low)*(plotRight-plotLeft) }
	toY := func(y float64) float64 { return plotBottom - (y-ys.low)/(ys.high-ys.low)*(plotBottom-plotTop) }
	out.XTicks, out.YTicks = xs.ticks(toX), ys.ticks(toY)
	said := make([]string, len(series))
	for i, s := range series {
		line := drawnLine{Name: s.Name, Class: i % styles, Summary: c.Series[i].summary()}
		line.Path, line.Markers = s.path(toX, toY)
		if c.Reliability {
			line.Summary = "" // where it starts and ends says nothing
		}
		out.Lines = append(out.Lines, line)
		if said[i] = s.Name; line.Summary != "" {
			said[i] += " " + line.Summary
		}
	}
	if c.Reliability {
		said = append(said, "the diagonal is perfect calibration")
	}
	out.Description = fmt.Sprintf("%s over %s: %s.", c.YLabel, c.XLabel, strings.Join(said, "; "))
	return out, nil
}

// path is the SVG path of a series; short series and lone points get markers.
func (s Series) path(toX, toY func(float64) float64) (d string, markers []marker) {
	var b strings.Builder
	heaviest := 0.0
	for _, w := range s.Weights {
		heaviest = max(heaviest, w)
	}
	pen := "M"
	for i := range s.X {
		if !finite(s.X[i]) || !finite(s.Y[i]) {
			pen = "M"
			continue
		}
		x, y := round1(toX(s.X[i])), round1(toY(s.Y[i]))
		fmt.Fprintf(&b, "%s%g %g", pen, x, y)
		next := i+1 < len(s.X) && finite(s.X[i+1]) && finite(s.Y[i+1])
		if len(s.X) <= 25 || pen == "M" && !next {
			m := marker{X: x, Y: y, R: 3.5}
			if heaviest > 0 {
				m.R = round1(2.5 + 9*math.Sqrt(s.Weights[i]/heaviest))
			}
			markers = append(markers, m)
		}
		pen = "L"
	}
	return b.String(), markers
}

// summary says where a line starts and ends.
func (s Series) summary() string {
	first, last := -1, -1
	for i := range s.X {
		if finite(s.X[i]) && finite(s.Y[i]) {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	switch {
	case first < 0:
		return "no values"
	case first == last:
		return short(s.Y[first])
	}
	return fmt.Sprintf("from %s to %s", short(s.Y[first]), short(s.Y[last]))
}

// thinned averages neighbouring points so that at most maxPoints are left.
func (s Series) thinned() Series {
	n := len(s.X)
	if n <= maxPoints {
		return s
	}
	out := Series{Name: s.Name}
	for k := range maxPoints {
		from, to := k*n/maxPoints, (k+1)*n/maxPoints
		x, y, count := 0.0, 0.0, 0.0
		for i := from; i < to; i++ {
			if finite(s.X[i]) && finite(s.Y[i]) {
				x, y, count = x+s.X[i], y+s.Y[i], count+1
			}
		}
		out.X, out.Y = append(out.X, x/count), append(out.Y, y/count) // NaN, a gap, where all are missing
	}
	return out
}

// span is the range of an axis.
type span struct {
	low, high float64
	any       bool
	parts     bool // not all values are whole
}

func (s *span) add(x float64) {
	if !s.any {
		s.low, s.high, s.any = x, x, true
	}
	s.low, s.high = min(s.low, x), max(s.high, x)
	s.parts = s.parts || x != math.Trunc(x)
}

func (s *span) widen() {
	if s.high > s.low {
		return
	}
	room := max(math.Abs(s.low)*0.1, 1e-12)
	s.low, s.high = s.low-room, s.high+room
}

// roundOut starts at zero where that costs less than half of the height, and
// ends at ticks.
func (s *span) roundOut() {
	if s.low >= 0 && s.low <= s.high/2 {
		s.low = 0
	}
	s.widen()
	step := s.step()
	s.low, s.high = math.Floor(s.low/step+1e-9)*step, math.Ceil(s.high/step-1e-9)*step
}

// step is 1, 2 or 5 times a power of ten, and gives four to nine ticks. Between
// whole values, such as epochs, there are no ticks.
func (s *span) step() float64 {
	raw := (s.high - s.low) / 5
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 5} {
		if raw <= f*power {
			return s.whole(f * power)
		}
	}
	return s.whole(10 * power)
}

func (s *span) whole(step float64) float64 {
	if !s.parts && s.high-s.low >= 2 {
		return max(step, 1)
	}
	return step
}

func (s *span) ticks(to func(float64) float64) []tick {
	var ticks []tick
	step := s.step()
	first := math.Ceil(s.low/step - 1e-9)
	for k := first; k*step <= s.high+step*1e-9; k++ {
		v := k * step
		ticks = append(ticks, tick{At: round1(to(v)), Label: short(v)})
		if len(ticks) > 20 {
			break // a range so narrow that v no longer grows
		}
	}
	return ticks
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func round1(x float64) float64 { return math.Round(10*x) / 10 }

// short writes a number in three significant digits, or all of a whole number.
func short(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1e6 {
		return strconv.FormatFloat(x+0, 'f', 0, 64)
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 3, 64), 64)
	if err != nil {
		rounded = x
	}
	if a := math.Abs(rounded); a < 1e-4 || a >= 1e6 {
		return strconv.FormatFloat(rounded, 'g', -1, 64)
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}
