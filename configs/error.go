package configs

import (
	"fmt"
	"path"
	"strings"
)

// Error is a fault in a configuration: the user's to mend (exit code 2).
type Error struct {
	Source string // file, "preset NAME" or "--set"; empty for a Config built in Go
	Line   int    // 1-based; 0 where there is none
	Key    string // dotted key; empty where the fault is no key's
	Msg    string // what is wrong and what would be right
	Err    error  // the cause, or nil
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("configuration")
	if e.Source != "" {
		fmt.Fprintf(&b, ": %s", e.Source)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
	}
	if e.Key != "" {
		fmt.Fprintf(&b, ": %s", e.Key)
	}
	fmt.Fprintf(&b, ": %s", e.Msg)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// nearest returns the candidate that a misspelt key most probably means. The
// last parts of dotted keys are compared too, so that "images" finds
// "data.images".
func nearest(key string, candidates []string) string {
	best, bestDistance := "", 1<<30
	for _, c := range candidates {
		d := 2 * editDistance(key, c)
		// Slightly dearer than a full match, so that siblings win ties.
		if e := 2*editDistance(lastPart(key), lastPart(c)) + 1; e < d {
			d = e
		}
		if d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

func lastPart(key string) string {
	return strings.TrimPrefix(path.Ext("."+key), ".")
}

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (bytes, case ignored).
func editDistance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
