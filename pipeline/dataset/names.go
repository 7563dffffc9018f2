package dataset

import (
	"bufio"
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
)

// maxNames bounds the size of a list of names.
const maxNames = 64 << 20

// readNames reads a data set's own list of pictures: on each line a name
// without extension and, with it, so many further columns. Blank lines and
// those that begin with # are passed over.
func readNames(path string, columns int) ([][]string, error) {
	data, err := readLimited(path, maxNames)
	if err != nil {
		return nil, err
	}
	return parseNames(data, path, columns)
}

func parseNames(data []byte, path string, columns int) ([][]string, error) {
	var out [][]string
	first := map[string]int{}
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for line := 1; scanner.Scan(); line++ {
		fields := strings.Fields(scanner.Text())
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		fail := func(format string, args ...any) error {
			return &Error{Kind: ErrTable, Path: path, Line: line, Found: fmt.Sprintf(format, args...)}
		}
		if len(fields) != columns+1 {
			return nil, fail("found %d columns, expected %d", len(fields), columns+1)
		}
		name := fields[0]
		if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) {
			return nil, fail("%q is no name of a picture", name)
		}
		if at, twice := first[name]; twice {
			return nil, fail("%s is on line %d already", name, at)
		}
		first[name] = line
		out = append(out, fields)
	}
	if err := scanner.Err(); err != nil {
		return nil, &Error{Kind: ErrTable, Path: path, Found: err.Error()}
	}
	if len(out) == 0 {
		return nil, &Error{Kind: ErrEmpty, Path: path, Found: "no names in it"}
	}
	return out, nil
}
