package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// documented is a row of docs/errors.md.
type documented struct {
	pattern string
	code    int
	atWork  bool // of the second table
	match   *regexp.Regexp
}

func (d documented) key() string { return fmt.Sprint(d.code, " ", d.pattern) }

var errorsPage = sync.OnceValues(func() ([]documented, error) {
	text, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		return nil, err
	}
	var rows []documented
	_, after, _ := strings.Cut(string(text), "While at work:")
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		row := documented{pattern: strings.Trim(cells[1], " `"), atWork: strings.Contains(after, line)}
		if row.code, err = strconv.Atoi(strings.TrimSpace(cells[2])); err != nil {
			return nil, err
		}
		row.match, err = regexp.Compile("^" + strings.ReplaceAll(regexp.QuoteMeta(row.pattern), "…", ".*") + "$")
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
})

// produced keeps which rows of the page a test has seen.
type produced struct {
	mu   sync.Mutex
	seen map[string]bool
}

// is finds an error on the page, and notes its rows as seen.
func (p *produced) is(t *testing.T, message string, code int) {
	t.Helper()
	rows, err := errorsPage()
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	found := false
	for _, row := range rows {
		if row.code == code && row.match.MatchString(strings.TrimSpace(message)) {
			found = true
			p.seen[row.key()] = true
		}
	}
	if !found {
		t.Errorf("docs/errors.md has no row of code %d for\n%s", code, message)
	}
}

// all reports rows of the first table that no command gave.
func (p *produced) all(t *testing.T) {
	t.Helper()
	rows, err := errorsPage()
	if err != nil || len(rows) < 40 {
		t.Fatalf("%d rows on the page: %v", len(rows), err)
	}
	for _, row := range rows {
		if rootMay := os.Getuid() == 0 && strings.Contains(row.pattern, "permission denied"); !row.atWork && !rootMay && !p.seen[row.key()] {
			t.Errorf("docs/errors.md tells of an error that no command gave:\n%s", row.pattern)
		}
	}
}

// atWork are the rows that tests of runs at work have seen.
var atWork = produced{seen: map[string]bool{}}

// isOnPage checks what a command said, once, against the page.
func isOnPage(t *testing.T, said string, code int) {
	t.Helper()
	for line := range strings.Lines(said) {
		if message, ok := strings.CutPrefix(line, "relevit: "); ok {
			atWork.is(t, message, code)
		}
	}
}

// untried is why a row of the second table may not be produced on this machine.
var untried atomic.Value

// wholePage runs the tests, and is an error where all have run, but left out a
// row of the page's second table.
type wholePage struct{ *testing.M }

func (m wholePage) Run() int {
	code := m.M.Run()
	set := func(name string) bool { f := flag.Lookup(name); return f != nil && f.Value.String() != f.DefValue }
	if code != 0 || runtime.GOOS != "linux" || testing.Short() || set("test.run") || set("test.skip") || set("test.list") || set("test.bench") || set("test.fuzz") || untried.Load() != nil {
		return code
	}
	rows, err := errorsPage()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, row := range rows {
		if row.atWork && !atWork.seen[row.key()] {
			fmt.Fprintf(os.Stderr, "docs/errors.md tells of an error that no test gave:\n%s\n", row.pattern)
			code = 1
		}
	}
	return code
}
