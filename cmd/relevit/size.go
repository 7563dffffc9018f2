package main

import (
	"strconv"
	"strings"
)

// parseSize reads N or ROWSxCOLUMNS, the value of a flag; nothing is no size.
func parseSize(flag, want, s string) (size [2]int, err error) {
	if s == "" {
		return size, nil
	}
	rows, columns, two := strings.Cut(s, "x")
	if !two {
		columns = rows
	}
	for i, part := range []string{rows, columns} {
		if size[i], err = strconv.Atoi(part); err != nil || size[i] < 1 {
			return [2]int{}, usagef("--%s %s: expected %s", flag, s, want)
		}
	}
	return size, nil
}
