package configs

import (
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// sweepKey is the section of a configuration that makes it a batch of runs.
const sweepKey = "sweep"

// maxRuns bounds a batch: more are a slip.
const maxRuns = 1000

// Named is one run of a batch.
type Named struct {
	Name   string // for its folder: letters, digits and _ . + -
	Config *Config
}

// axis is a key and the values that it takes in turn.
type axis struct {
	key    string
	source string
	values []*yaml.Node
}

// sweep collects the axes of a batch, in the order in which they are stated.
type sweep struct{ axes []axis }

// settle lets a layer that sets a key win over an earlier layer's axis.
func (s *sweep) settle(set map[string]place, source string) {
	if s != nil {
		s.axes = slices.DeleteFunc(s.axes, func(a axis) bool { return a.source != source && set[a.key].source == source })
	}
}

// addSweep reads the section sweep, whose keys are dotted or in groups.
func (r *resolver) addSweep(l *layer, section *yaml.Node, prefix string) error {
	if section.Kind != yaml.MappingNode {
		return l.fail(section, sweepKey, "found %s, want keys with the values that they take, such as lr: [1e-6, 3e-6]", describe(section))
	}
	for i := 0; i+1 < len(section.Content); i += 2 {
		k, value := section.Content[i], section.Content[i+1]
		key := prefix + k.Value
		field, ok := fieldOf(&r.Config, key)
		if !ok || k.Kind != yaml.ScalarNode {
			return l.unknown(k, key)
		}
		var err error
		if value.Kind == yaml.MappingNode && isGroup(field.Type()) {
			err = r.addSweep(l, value, key+".")
		} else {
			err = r.addAxis(l, value, key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addAxis reads the values of one key, and checks that each can be set.
func (r *resolver) addAxis(l *layer, values *yaml.Node, key string) error {
	name := sweepKey + "." + key
	if r.sweep == nil {
		return l.fail(values, sweepKey, "it makes several runs, which only finetune takes")
	}
	field, ok := fieldOf(&r.Config, key)
	switch {
	case !ok:
		return l.unknown(values, key)
	case isGroup(field.Type()):
		return l.fail(values, name, "found %s, want a group of keys: %s", describe(values), strings.Join(keysOf(field.Type(), ""), ", "))
	case values.Kind != yaml.SequenceNode || len(values.Content) == 0:
		return l.fail(values, name, "found %s, want the list of values that it takes", describe(values))
	}
	scratch := &layer{source: l.source, set: map[string]place{}}
	var seen []string
	for _, n := range values.Content {
		v := reflect.New(field.Type()).Elem()
		if err := scratch.value(n, name, v); err != nil {
			return err
		}
		if slices.Contains(seen, written(v)) {
			return l.fail(n, name, "found %s twice", written(v))
		}
		seen = append(seen, written(v))
	}
	at := slices.IndexFunc(r.sweep.axes, func(a axis) bool { return a.key == key })
	if at >= 0 && r.sweep.axes[at].source == l.source {
		return l.fail(values, name, "set twice")
	}
	if at < 0 {
		at = len(r.sweep.axes)
		r.sweep.axes = append(r.sweep.axes, axis{})
	}
	r.sweep.axes[at] = axis{key, l.source, values.Content}
	return nil
}

// LoadRuns resolves the runs that sources and settings ask for, in their order.
// Where two or more sources are complete, which means that each names a model
// and data, every one of them makes a run of its own, and the other sources are
// layers of every run, in their place. Otherwise all are layers of one
// configuration, as for Load. A section sweep makes a run of every combination
// of the values that it lists, the last key's changing fastest. batch is false
// where there is one run that nothing of this has made.
func LoadRuns(sources, settings []string) (runs []Named, batch bool, err error) {
	var complete []int
	files := map[string][]byte{}
	for i, s := range sources {
		whole, err := isComplete(s, files)
		if err != nil {
			return nil, false, err
		}
		if whole {
			complete = append(complete, i)
		}
	}
	if len(complete) < 2 {
		complete = nil
	}
	add := func(name string, layers []string) error {
		r, err := newResolver(&sweep{})
		if err == nil {
			r.files = files
			err = r.add(layers, settings)
		}
		if err != nil {
			return err
		}
		batch = batch || len(r.sweep.axes) > 0
		more, err := r.grid(name)
		if runs = append(runs, more...); err == nil && len(runs) > maxRuns {
			err = &Error{Source: sweepKey, Msg: fmt.Sprintf("it makes more than %d runs", maxRuns)}
		}
		return err
	}
	if complete == nil {
		if err := add("", sources); err != nil {
			return nil, false, err
		}
	}
	for _, i := range complete {
		batch = true
		var layers []string
		for j, s := range sources {
			if j == i || !slices.Contains(complete, j) {
				layers = append(layers, s)
			}
		}
		stem := filepath.Base(sources[i])
		if err := add(strings.TrimSuffix(stem, filepath.Ext(stem)), layers); err != nil {
			return nil, false, err
		}
	}
	distinguish(runs)
	return runs, batch, nil
}

// isComplete reports whether a source names a model and data by itself.
func isComplete(source string, files map[string][]byte) (bool, error) {
	r := &resolver{set: map[string]place{}, sweep: &sweep{}, files: files}
	if err := r.addSource(source); err != nil {
		return false, err
	}
	d := r.Data
	model, data := r.Model != "", d.Images+d.CSV+d.Root != ""
	for _, a := range r.sweep.axes {
		model = model || a.key == "model"
		data = data || a.key == "data.images" || a.key == "data.csv" || a.key == "data.root"
	}
	return model && data, nil
}

// grid resolves every combination of the axes' values.
func (r *resolver) grid(name string) ([]Named, error) {
	total := 1
	for _, a := range r.sweep.axes {
		if total *= len(a.values); total > maxRuns {
			return nil, &Error{Source: a.source, Key: sweepKey, Msg: fmt.Sprintf("it makes more than %d runs", maxRuns)}
		}
	}
	runs := make([]Named, 0, total)
	for n := range total {
		run := &resolver{Config: r.Config, set: map[string]place{}}
		for k, at := range r.set {
			run.set[k] = at
		}
		parts := []string{}
		if name != "" {
			parts = append(parts, name)
		}
		left := total
		for _, a := range r.sweep.axes {
			left /= len(a.values)
			value := a.values[n/left%len(a.values)]
			field, _ := fieldOf(&run.Config, a.key)
			if err := (&layer{source: a.source, set: run.set}).value(value, a.key, field); err != nil {
				return nil, err
			}
			parts = append(parts, r.sweep.label(a.key)+"-"+nodeText(value))
		}
		c, err := run.resolved()
		if err != nil {
			return nil, err
		}
		runs = append(runs, Named{folderName(strings.Join(parts, "_")), c})
	}
	return runs, nil
}

// label is the last part of a key, or all of it where two axes share that.
func (s *sweep) label(key string) string {
	for _, a := range s.axes {
		if a.key != key && lastPart(a.key) == lastPart(key) {
			return key
		}
	}
	return lastPart(key)
}

// nodeText is a value for a folder's name: as it was written, of a path the end.
func nodeText(n *yaml.Node) string {
	if n.Kind != yaml.SequenceNode {
		return filepath.Base(n.Value)
	}
	var items []string
	for _, c := range n.Content {
		items = append(items, nodeText(c))
	}
	return strings.Join(items, "-")
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9_.+-]+`)

// folderName makes a text fit for a folder's name.
func folderName(text string) string {
	name := strings.TrimLeft(unfit.ReplaceAllString(text, "-"), ".-")
	return name[:min(len(name), 100)]
}

// distinguish numbers runs whose names are equal or empty.
func distinguish(runs []Named) {
	taken := map[string]bool{}
	for i := range runs {
		name := runs[i].Name
		if name == "" {
			name = "run"
		}
		for n := 2; taken[strings.ToLower(name)]; n++ {
			name = fmt.Sprintf("%s-%d", strings.TrimSuffix(runs[i].Name, "-"), n)
		}
		taken[strings.ToLower(name)] = true
		runs[i].Name = name
	}
}
