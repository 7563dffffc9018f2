package configs

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// MarshalRuns writes the runs of a batch as YAML. ParseRuns reads them back.
func MarshalRuns(runs []Named) ([]byte, error) {
	type entry struct {
		Name   string    `yaml:"name"`
		Config yaml.Node `yaml:"config"`
	}
	var file struct {
		Runs []entry `yaml:"runs"`
	}
	for _, r := range runs {
		e := entry{Name: r.Name}
		if err := e.Config.Encode(r.Config); err != nil {
			return nil, fmt.Errorf("writing the configuration of %s as YAML: %w", r.Name, err)
		}
		explain(&e.Config, &yaml.Node{}) // lists on one line
		file.Runs = append(file.Runs, e)
	}
	var b bytes.Buffer
	b.WriteString("# The runs of a batch, in their order, with their resolved configurations.\n\n")
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(file); err != nil {
		return nil, fmt.Errorf("writing a batch as YAML: %w", err)
	}
	return b.Bytes(), nil
}

// ParseRuns reads the runs of a batch. source stands for the text in errors,
// which are *Error.
func ParseRuns(source string, text []byte) ([]Named, error) {
	l := &layer{source: source, set: map[string]place{}}
	root, err := l.document(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, l.fail(nil, "runs", "is missing")
	}
	list := child(root, "runs")
	if list == nil || list.Kind != yaml.SequenceNode || len(list.Content) == 0 || len(list.Content) > maxRuns {
		return nil, l.fail(root, "runs", "want a list of 1 to %d runs", maxRuns)
	}
	var runs []Named
	seen := map[string]bool{}
	for _, n := range list.Content {
		name, config := child(n, "name"), child(n, "config")
		if name == nil || config == nil || name.Kind != yaml.ScalarNode || config.Kind != yaml.MappingNode {
			return nil, l.fail(n, "runs", "want a name and a config for each run")
		}
		if name.Value == "" || name.Value != folderName(name.Value) || !filepath.IsLocal(name.Value) || seen[name.Value] {
			return nil, l.fail(name, "name", "found %q, want a folder's name of its own", name.Value)
		}
		seen[name.Value] = true
		r, err := newResolver(nil)
		if err != nil {
			return nil, err
		}
		if err := (&layer{source: source, set: r.set}).mapping(config, "", reflect.ValueOf(&r.Config).Elem()); err != nil {
			return nil, err
		}
		c, err := r.resolved()
		if err != nil {
			return nil, err
		}
		runs = append(runs, Named{name.Value, c})
	}
	return runs, nil
}
