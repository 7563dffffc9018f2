package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// row is one line of a list of properties.
type row struct{ name, value string }

// rows prints properties below each other, leaving out empty ones.
func rows(w io.Writer, list []row) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range list {
		if r.value != "" {
			fmt.Fprintf(t, "%s\t%s\n", r.name, strings.ReplaceAll(r.value, "\n", "\n\t"))
		}
	}
	t.Flush()
}

// table prints lines of cells under a heading.
func table(w io.Writer, heading []string, lines [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, cells := range append([][]string{heading}, lines...) {
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush()
}

// count groups a number's digits: 5,717,416.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// wrap puts words into lines of at most so many characters, separated by commas.
func wrap(words []string, width int) string {
	var s strings.Builder
	column := 0
	for i, word := range words {
		if i < len(words)-1 {
			word += ","
		}
		switch {
		case column > 0 && column+1+len(word) > width:
			s.WriteString("\n")
			column = 0
		case column > 0:
			s.WriteString(" ")
			column++
		}
		s.WriteString(word)
		column += len(word)
	}
	return s.String()
}
