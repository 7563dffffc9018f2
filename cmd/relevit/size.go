package main

import (
	"strconv"
	"strings"
)

// parseSize reads N or ROWSxCOLUMNS; nothing is no size.
func parseSize(s string) (size [2]int, err error) {
	if s == "" {
		return size, nil
	}
	rows, columns, two := strings.Cut(s, "x")
	if !two {
		columns = rows
	}
	for i, part := range []string{rows, columns} {
		if size[i], err = strconv.Atoi(part); err != nil || size[i] < 1 {
			return [2]int{}, usagef("--image-size %s: expected pixels, as in 224 or 224x320", s)
		}
	}
	return size, nil
}
