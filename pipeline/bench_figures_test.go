//go:build bench

package pipeline

import (
	"fmt"
	"os"
	"testing"
	"text/tabwriter"
)

// figures is what the bench prints of something, each with its limit where there
// is one.
type figures struct {
	*testing.T
	title string
	rows  []row
}

type row struct {
	what, figure, limit, holds string
}

// figure adds a row without a limit.
func (t *figures) figure(what, format string, values ...any) {
	t.rows = append(t.rows, row{what: what, figure: fmt.Sprintf(format, values...)})
}

// atMost adds a figure and its limit.
func (t *figures) atMost(limit float64, what, format string, figure float64) {
	t.limited(what, format, figure, "at most ", limit, figure <= limit)
}

// atLeast adds a figure and its limit.
func (t *figures) atLeast(limit float64, what, format string, figure float64) {
	t.limited(what, format, figure, "at least ", limit, figure >= limit)
}

func (t *figures) limited(what, format string, figure float64, bound string, limit float64, holds bool) {
	r := row{what, fmt.Sprintf(format, figure), bound + fmt.Sprintf(format, limit), "yes"}
	if !holds { // NaN too
		r.holds = "NO"
		if os.Getenv(benchShort) != "1" {
			t.Errorf("%s: %s: %s, expected %s", t.title, what, r.figure, r.limit)
		}
	}
	t.rows = append(t.rows, r)
}

func (t *figures) print() {
	fmt.Printf("\n%s\n\n", t.title)
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "\tfigure\tlimit\tholds")
	for _, r := range t.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.what, r.figure, r.limit, r.holds)
	}
	w.Flush()
}
