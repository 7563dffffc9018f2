package pickle

import (
	"fmt"
	"strconv"
	"strings"
)

// runString reads what Python 2's repr writes.
func runString(m *machine) error {
	s, err := m.line()
	if err != nil {
		return err
	}
	s = strings.TrimSpace(s)
	if n := len(s); n < 2 || s[0] != s[n-1] || (s[0] != '\'' && s[0] != '"') {
		return fmt.Errorf("%s is no text in quotation marks", clip(s))
	}
	v, err := unescape(s[1 : len(s)-1])
	m.push(v)
	return err
}

// unescape undoes Python's escapes in a literal of bytes.
func unescape(s string) (string, error) {
	var b strings.Builder
	for len(s) > 0 {
		if s[0] != '\\' {
			n := strings.IndexByte(s, '\\')
			if n < 0 {
				n = len(s)
			}
			b.WriteString(s[:n])
			s = s[n:]
			continue
		}
		if len(s) > 1 && (s[1] == '\'' || s[1] == '"') {
			b.WriteByte(s[1])
			s = s[2:]
			continue
		}
		c, _, rest, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			return "", fmt.Errorf("the text has a wrong escape: %s", clip(s))
		}
		b.WriteByte(byte(c))
		s = rest
	}
	return b.String(), nil
}

// runUnicode reads Latin-1 with \uXXXX for what isn't in it.
func runUnicode(m *machine) error {
	s, err := m.line()
	if err != nil {
		return err
	}
	if err := m.spend(int64(len(s))); err != nil {
		return err
	}
	var b strings.Builder
	for len(s) > 0 {
		width := 0
		switch {
		case strings.HasPrefix(s, `\u`):
			width = 4
		case strings.HasPrefix(s, `\U`):
			width = 8
		default:
			b.WriteRune(rune(s[0]))
			s = s[1:]
			continue
		}
		u, err := strconv.ParseUint(s[2:min(2+width, len(s))], 16, 32)
		if err != nil || len(s) < 2+width {
			return fmt.Errorf("the text has a wrong escape: %s", clip(s))
		}
		b.WriteRune(rune(u))
		s = s[2+width:]
	}
	m.push(b.String())
	return nil
}

func runText(size int) func(*machine) error {
	return func(m *machine) error {
		n, err := m.r.number(size)
		if err != nil {
			return err
		}
		raw, err := m.text(n)
		m.push(string(raw))
		return err
	}
}

func runBytes(size int) func(*machine) error {
	return func(m *machine) error {
		n, err := m.r.number(size)
		if err != nil {
			return err
		}
		raw, err := m.text(n)
		m.push(Bytes(raw))
		return err
	}
}
