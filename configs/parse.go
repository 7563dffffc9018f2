package configs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxBytes bounds a configuration file: larger ones are a wrong path.
const maxBytes = 1 << 20

// place is where a key was last set.
type place struct {
	source string
	line   int
}

// layer decodes one source into a Config and remembers where keys were set.
// yaml.v3 is used for its node tree only: its own decoding turns 8.5 into 8.
type layer struct {
	source string
	set    map[string]place // by dotted key, shared between layers
}

func (l *layer) fail(n *yaml.Node, key, format string, args ...any) error {
	e := &Error{Source: l.source, Key: key, Msg: fmt.Sprintf(format, args...)}
	if n != nil {
		e.Line = n.Line
	}
	return e
}

// document parses text into its root mapping; nil when the text is empty.
func (l *layer) document(text io.Reader) (*yaml.Node, error) {
	dec := yaml.NewDecoder(text)
	var doc, rest yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, &Error{Source: l.source, Msg: "not valid YAML", Err: yamlCause(err)}
	}
	if err := dec.Decode(&rest); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, &Error{Source: l.source, Msg: "not valid YAML", Err: yamlCause(err)}
		}
		return nil, l.fail(&rest, "", "a second document starts here; a configuration is one document")
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, l.fail(&doc, "", "found no document")
	}
	root := doc.Content[0]
	if isNull(root) {
		return nil, nil
	}
	if err := l.plain(root); err != nil {
		return nil, err
	}
	if root.Kind != yaml.MappingNode {
		return nil, l.fail(root, "", "found %s, want key: value lines", describe(root))
	}
	return root, nil
}

// yamlCause drops the library's own prefix.
func yamlCause(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
}

// plain rejects the parts of YAML that a recipe has no use for and that can
// hide what a key is set to: anchors, aliases, merge keys and explicit tags.
func (l *layer) plain(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return l.fail(n, "", "anchors and aliases (& and *) are not supported; quote a value that starts with one")
	}
	if n.Style&yaml.TaggedStyle != 0 {
		return l.fail(n, "", "tags (%s) are not supported", n.Tag)
	}
	for _, c := range n.Content {
		if err := l.plain(c); err != nil {
			return err
		}
	}
	return nil
}

// mapping decodes a mapping node into the struct v; prefix is the dotted key
// of v with a dot at its end, or empty.
func (l *layer) mapping(n *yaml.Node, prefix string, v reflect.Value) error {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			return l.fail(k, strings.TrimSuffix(prefix, "."), "found %s where a key belongs", describe(k))
		}
		key := prefix + k.Value
		if line, ok := seen[k.Value]; ok {
			return l.fail(k, key, "set twice; first on line %d", line)
		}
		seen[k.Value] = k.Line
		field, ok := fieldByKey(v, k.Value)
		if !ok {
			return l.unknown(k, key)
		}
		if err := l.value(value, key, field); err != nil {
			return err
		}
	}
	return nil
}

func (l *layer) unknown(n *yaml.Node, key string) error {
	return l.fail(n, "", "unknown key %q; the nearest known one is %q", key, nearest(key, suggestions(reflect.TypeFor[Config](), "")))
}

// value decodes the node into the field v of the given dotted key.
func (l *layer) value(n *yaml.Node, key string, v reflect.Value) error {
	if isNull(n) {
		if isGroup(v.Type()) {
			return nil // a group whose keys are all commented out
		}
		return l.fail(n, key, "has no value; remove the key to keep what is already set")
	}
	l.set[key] = place{l.source, n.Line}
	switch {
	case v.Type() == sizeType:
		return l.size(n, key, v)
	case v.Kind() == reflect.Struct:
		if n.Kind != yaml.MappingNode {
			return l.fail(n, key, "found %s, want a group of keys: %s", describe(n), strings.Join(keysOf(v.Type(), ""), ", "))
		}
		return l.mapping(n, key+".", v)
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		return l.list(n, key, v)
	}
	return l.scalar(n, key, v)
}

func (l *layer) list(n *yaml.Node, key string, v reflect.Value) error {
	if n.Kind != yaml.SequenceNode {
		return l.fail(n, key, "found %s, want a list such as [a, b]", describe(n))
	}
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	} else if v.Len() != len(n.Content) {
		return l.fail(n, key, "found %d values, want %d", len(n.Content), v.Len())
	}
	for i, c := range n.Content {
		if err := l.scalar(c, key, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// size accepts 224 and [224, 320].
func (l *layer) size(n *yaml.Node, key string, v reflect.Value) error {
	var s Size
	if n.Kind == yaml.SequenceNode {
		var pair [2]int
		if err := l.list(n, key, reflect.ValueOf(&pair).Elem()); err != nil {
			return err
		}
		s = Size{Rows: pair[0], Cols: pair[1]}
	} else {
		if err := l.scalar(n, key, reflect.ValueOf(&s.Rows).Elem()); err != nil {
			return err
		}
		s.Cols = s.Rows
	}
	v.Set(reflect.ValueOf(s))
	return nil
}

var (
	wholeNumber   = regexp.MustCompile(`^[-+]?[0-9]+$`)
	decimalNumber = regexp.MustCompile(`^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
	specialNumber = regexp.MustCompile(`(?i)^[-+]?\.?(inf|infinity|nan)$`)
)

func (l *layer) scalar(n *yaml.Node, key string, v reflect.Value) error {
	wrong := func(want string) error { return l.fail(n, key, "found %s, want %s", describe(n), want) }
	if n.Kind != yaml.ScalarNode {
		return wrong("one value")
	}
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	switch v.Kind() {
	case reflect.String:
		if n.Tag != "!!str" {
			return wrong("a text (put it into quotes)")
		}
		return l.text(n, key, v)
	case reflect.Bool:
		if quoted || n.Value != "true" && n.Value != "false" {
			return wrong("true or false")
		}
		v.SetBool(n.Value == "true")
	case reflect.Int:
		if quoted || !wholeNumber.MatchString(n.Value) {
			return wrong("a whole number")
		}
		i, err := strconv.Atoi(n.Value)
		if err != nil || i > math.MaxInt32 || i < math.MinInt32 {
			return wrong("a whole number of at most 2147483647")
		}
		v.SetInt(int64(i))
	case reflect.Uint64:
		u, err := strconv.ParseUint(n.Value, 10, 64)
		if quoted || err != nil {
			return wrong("a whole number from 0 to 18446744073709551615")
		}
		v.SetUint(u)
	case reflect.Float64:
		if !quoted && specialNumber.MatchString(n.Value) {
			return wrong("a finite number")
		}
		if quoted || !decimalNumber.MatchString(n.Value) {
			return wrong("a number")
		}
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			return wrong("a finite number")
		}
		v.SetFloat(f)
	default:
		return l.fail(n, key, "the schema has no such type as %s", v.Type())
	}
	return nil
}

func (l *layer) text(n *yaml.Node, key string, v reflect.Value) error {
	if !utf8.ValidString(n.Value) {
		return l.fail(n, key, "found %q, want UTF-8 text", n.Value)
	}
	v.SetString(n.Value)
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// describe names what a node holds, as a message quotes it.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a group of keys"
	case yaml.SequenceNode:
		return fmt.Sprintf("a list of %d", len(n.Content))
	case yaml.ScalarNode:
		if isNull(n) {
			return "nothing"
		}
		value := n.Value
		if len(value) > 60 {
			value = value[:60] + "..."
		}
		if n.Tag == "!!str" {
			return fmt.Sprintf("%q", value)
		}
		return value
	}
	return "nothing"
}

var sizeType = reflect.TypeFor[Size]()

// isGroup tells a struct of keys from a value.
func isGroup(t reflect.Type) bool { return t.Kind() == reflect.Struct && t != sizeType }

func fieldByKey(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag; tag.Get("yaml") == key || key != "" && tag.Get("also") == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// fieldOf is the field of a dotted key.
func fieldOf(c *Config, key string) (reflect.Value, bool) {
	v := reflect.ValueOf(c).Elem()
	for part := range strings.SplitSeq(key, ".") {
		field, found := reflect.Value{}, false
		if isGroup(v.Type()) {
			field, found = fieldByKey(v, part)
		}
		if !found {
			return reflect.Value{}, false
		}
		v = field
	}
	return v, true
}

// Keys returns every key of the schema, dotted, in the order of the file.
func Keys() []string { return keysOf(reflect.TypeFor[Config](), "") }

func keysOf(t reflect.Type, prefix string) []string {
	var keys []string
	for i := range t.NumField() {
		key := prefix + t.Field(i).Tag.Get("yaml")
		if ft := t.Field(i).Type; isGroup(ft) {
			keys = append(keys, keysOf(ft, key+".")...)
		} else {
			keys = append(keys, key)
		}
	}
	return keys
}

// suggestions are the keys and the groups that hold them.
func suggestions(t reflect.Type, prefix string) []string {
	var all []string
	for i := range t.NumField() {
		key := prefix + t.Field(i).Tag.Get("yaml")
		all = append(all, key)
		if ft := t.Field(i).Type; isGroup(ft) {
			all = append(all, suggestions(ft, key+".")...)
		}
	}
	return all
}
