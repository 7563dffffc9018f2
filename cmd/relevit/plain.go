package main

import (
	"strconv"
	"strings"
	"unicode"
)

// longestMessage is how many bytes of an error are told. Names from a file may
// be in it, and they may be long.
const longestMessage = 2000

// oneLine makes a line of what an error says. Errors that are joined have a
// line each.
func oneLine(message string) string {
	if n := len(message); n > longestMessage {
		message = strings.ToValidUTF8(message[:longestMessage*3/4], "") + " ... " + strings.ToValidUTF8(message[n-longestMessage/4:], "")
	}
	return plain(strings.ReplaceAll(message, "\n", "; "))
}

// plain spells out what a terminal would act on: a text may hold names from a
// file.
func plain(text string) string {
	odd := func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }
	if !strings.ContainsFunc(text, odd) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if odd(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
