package configs

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

//go:embed *.yaml
var presets embed.FS

// defaultsName is the embedded file that holds every key and its default.
const defaultsName = "defaults"

// Presets returns the names of the embedded presets, sorted.
func Presets() []string {
	entries, _ := presets.ReadDir(".") // reading an embedded folder cannot fail
	var names []string
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), ".yaml"); name != defaultsName {
			names = append(names, name)
		}
	}
	return names
}

// PresetText returns the YAML of an embedded preset, or of the defaults under
// the name "defaults".
func PresetText(name string) ([]byte, error) {
	text, err := presets.ReadFile(name + ".yaml")
	if err != nil || strings.ContainsAny(name, `/\`) {
		return nil, &Error{Msg: fmt.Sprintf("no preset %q; the nearest is %q (known: %s)",
			name, nearest(name, Presets()), strings.Join(Presets(), ", "))}
	}
	return text, nil
}

// Load resolves a configuration: the defaults, then each source in order, then
// each key=value setting. A source is the name of an embedded preset or the
// path of a YAML or JSON file. Errors are *Error.
func Load(sources, settings []string) (*Config, error) {
	var c Config
	set := map[string]place{}
	if err := c.addPreset(defaultsName, set); err != nil {
		return nil, err
	}
	clear(set)
	for _, s := range sources {
		if err := c.addSource(s, set); err != nil {
			return nil, err
		}
	}
	for _, s := range settings {
		if err := c.addSetting(s, set); err != nil {
			return nil, err
		}
	}
	if err := c.validate(set); err != nil {
		return nil, err
	}
	return &c, nil
}

// Parse resolves the text of one configuration over the defaults. name stands
// for the text in errors, which are *Error.
func Parse(name string, text []byte) (*Config, error) {
	var c Config
	set := map[string]place{}
	if err := c.addPreset(defaultsName, set); err != nil {
		return nil, err
	}
	clear(set)
	if err := c.addText(name, text, set); err != nil {
		return nil, err
	}
	if err := c.validate(set); err != nil {
		return nil, err
	}
	return &c, nil
}

func (c *Config) addSource(source string, set map[string]place) error {
	if slices.Contains(Presets(), source) || source == defaultsName {
		return c.addPreset(source, set)
	}
	text, err := readFile(source)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(source, `/\.`):
		return &Error{Source: source, Msg: fmt.Sprintf("neither a file nor a preset; the nearest preset is %q (known: %s)",
			nearest(source, Presets()), strings.Join(Presets(), ", "))}
	case err != nil:
		return &Error{Source: source, Msg: "cannot read it", Err: err}
	}
	return c.addText(source, text, set)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxBytes {
		return nil, fmt.Errorf("larger than %d bytes, which no configuration is", maxBytes)
	}
	return text, nil
}

func (c *Config) addPreset(name string, set map[string]place) error {
	text, err := PresetText(name)
	if err != nil {
		return err
	}
	return c.addText("preset "+name, text, set)
}

func (c *Config) addText(source string, text []byte, set map[string]place) error {
	l := &layer{source: source, set: set}
	root, err := l.document(bytes.NewReader(text))
	if err != nil || root == nil {
		return err
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		// An oracle's case.json carries the configuration as one member.
		if member := child(root, "config"); member != nil && member.Kind == yaml.MappingNode {
			root = member
		}
	}
	root, base, err := l.takeExtends(root)
	if err != nil {
		return err
	}
	if base != "" {
		if err := c.addPreset(base, set); err != nil {
			return err
		}
	}
	return l.mapping(root, "", reflect.ValueOf(c).Elem())
}

// takeExtends splits the key "extends" off a root mapping.
func (l *layer) takeExtends(root *yaml.Node) (rest *yaml.Node, preset string, err error) {
	value := child(root, "extends")
	if value == nil {
		return root, "", nil
	}
	if value.Kind != yaml.ScalarNode || !slices.Contains(Presets(), value.Value) || "preset "+value.Value == l.source {
		return nil, "", l.fail(value, "extends", "found %s, want the name of a preset: %s", describe(value), strings.Join(Presets(), ", "))
	}
	copied := *root
	for i := 0; i < len(root.Content); i += 2 {
		if root.Content[i+1] == value {
			copied.Content = slices.Delete(slices.Clone(root.Content), i, i+2)
		}
	}
	return &copied, value.Value, nil
}

// child returns the value of the first key of that name, or nil.
func child(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// addSetting applies one --set argument, key=value. A text is taken as it
// stands; a list of texts is [a, b] in YAML or a,b; anything else is YAML.
func (c *Config) addSetting(setting string, set map[string]place) error {
	l := &layer{source: "--set " + setting, set: set}
	key, value, ok := strings.Cut(setting, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || key == "" {
		return l.fail(nil, "", "want key=value")
	}
	if !utf8.ValidString(setting) {
		return l.fail(nil, key, "found %q, want UTF-8 text", value)
	}
	v := reflect.ValueOf(c).Elem()
	for part := range strings.SplitSeq(key, ".") {
		field, found := reflect.Value{}, false
		if v.Kind() == reflect.Struct {
			field, found = fieldByKey(v, part)
		}
		if !found {
			return l.unknown(nil, key)
		}
		v = field
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	switch v.Interface().(type) {
	case string:
	case []string:
		if strings.HasPrefix(value, "[") {
			return l.yamlSetting(key, value, v)
		}
		node = &yaml.Node{Kind: yaml.SequenceNode}
		for item := range strings.SplitSeq(value, ",") {
			node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.TrimSpace(item)})
		}
	default:
		return l.yamlSetting(key, value, v)
	}
	return l.value(node, key, v)
}

func (l *layer) yamlSetting(key, value string, v reflect.Value) error {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(value), &doc); err != nil {
		return &Error{Source: l.source, Key: key, Msg: "not a valid value", Err: yamlCause(err)}
	}
	if len(doc.Content) != 1 {
		return l.fail(nil, key, "has no value")
	}
	n := doc.Content[0]
	if err := l.plain(n); err != nil {
		return err
	}
	dropLines(n)
	return l.value(n, key, v)
}

// dropLines removes the line numbers of a value that stands in no file.
func dropLines(n *yaml.Node) {
	n.Line = 0
	for _, c := range n.Content {
		dropLines(c)
	}
}
