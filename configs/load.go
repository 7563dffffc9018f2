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

// resolver is a configuration as its layers go over each other.
type resolver struct {
	Config
	set   map[string]place
	sweep *sweep            // nil: a section sweep is an error
	files map[string][]byte // read before: a pipe can't be read twice; may be nil
}

// newResolver begins with the defaults.
func newResolver(sweep *sweep) (*resolver, error) {
	r := &resolver{set: map[string]place{}}
	if err := r.addPreset(defaultsName); err != nil {
		return nil, err
	}
	clear(r.set)
	r.sweep = sweep
	return r, nil
}

// resolved is the configuration, checked.
func (r *resolver) resolved() (*Config, error) {
	if err := r.validate(r.set); err != nil {
		return nil, err
	}
	return &r.Config, nil
}

// Load resolves a configuration: the defaults, then each source in order, then
// each key=value setting. A source is the name of an embedded preset or the
// path of a YAML or JSON file. Errors are *Error.
func Load(sources, settings []string) (*Config, error) {
	r, err := newResolver(nil)
	if err == nil {
		err = r.add(sources, settings)
	}
	if err != nil {
		return nil, err
	}
	return r.resolved()
}

// Parse resolves the text of one configuration over the defaults. name stands
// for the text in errors, which are *Error.
func Parse(name string, text []byte) (*Config, error) {
	r, err := newResolver(nil)
	if err == nil {
		err = r.addText(name, text)
	}
	if err != nil {
		return nil, err
	}
	return r.resolved()
}

func (r *resolver) add(sources, settings []string) error {
	for _, s := range sources {
		if err := r.addSource(s); err != nil {
			return err
		}
	}
	for _, s := range settings {
		if err := r.addSetting(s); err != nil {
			return err
		}
	}
	return nil
}

func (r *resolver) addSource(source string) error {
	if slices.Contains(Presets(), source) || source == defaultsName {
		return r.addPreset(source)
	}
	text, known := r.files[source]
	var err error
	if !known {
		text, err = readFile(source)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(source, `/\.`):
		return &Error{Source: source, Msg: fmt.Sprintf("neither a file nor a preset; the nearest preset is %q (known: %s)",
			nearest(source, Presets()), strings.Join(Presets(), ", "))}
	case err != nil:
		return &Error{Source: source, Msg: "cannot read it", Err: err}
	}
	if r.files != nil {
		r.files[source] = text
	}
	return r.addText(source, text)
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

func (r *resolver) addPreset(name string) error {
	text, err := PresetText(name)
	if err != nil {
		return err
	}
	return r.addText("preset "+name, text)
}

func (r *resolver) addText(source string, text []byte) error {
	l := &layer{source: source, set: r.set}
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
		if err := r.addPreset(base); err != nil {
			return err
		}
	}
	root, axes := without(root, sweepKey)
	if err := l.mapping(root, "", reflect.ValueOf(&r.Config).Elem()); err != nil {
		return err
	}
	r.sweep.settle(r.set, source)
	if axes == nil {
		return nil
	}
	return r.addSweep(l, axes, "")
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
	rest, _ = without(root, "extends")
	return rest, value.Value, nil
}

// without splits the first key of that name off a mapping; value is nil where
// there is none.
func without(mapping *yaml.Node, key string) (rest, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			copied := *mapping
			copied.Content = slices.Delete(slices.Clone(mapping.Content), i, i+2)
			return &copied, mapping.Content[i+1]
		}
	}
	return mapping, nil
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
func (r *resolver) addSetting(setting string) error {
	l := &layer{source: "--set " + setting, set: r.set}
	key, value, ok := strings.Cut(setting, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || key == "" {
		return l.fail(nil, "", "want key=value")
	}
	if !utf8.ValidString(setting) {
		return l.fail(nil, key, "found %q, want UTF-8 text", value)
	}
	if axis, ok := strings.CutPrefix(key, sweepKey+"."); ok {
		values, err := l.yamlValue(key, value)
		if err != nil {
			return err
		}
		return r.addAxis(l, values, axis)
	}
	v, ok := fieldOf(&r.Config, key)
	if !ok {
		return l.unknown(nil, key)
	}
	defer func() { r.sweep.settle(r.set, l.source) }()
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
	n, err := l.yamlValue(key, value)
	if err != nil {
		return err
	}
	return l.value(n, key, v)
}

// yamlValue reads the value of a setting as YAML.
func (l *layer) yamlValue(key, value string) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(value), &doc); err != nil {
		return nil, &Error{Source: l.source, Key: key, Msg: "not a valid value", Err: yamlCause(err)}
	}
	if len(doc.Content) != 1 {
		return nil, l.fail(nil, key, "has no value")
	}
	n := doc.Content[0]
	if err := l.plain(n); err != nil {
		return nil, err
	}
	dropLines(n)
	return n, nil
}

// dropLines removes the line numbers of a value that stands in no file.
func dropLines(n *yaml.Node) {
	n.Line = 0
	for _, c := range n.Content {
		dropLines(c)
	}
}
