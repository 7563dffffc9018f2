package pipeline

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// mostDifferences bounds each list of differences between two models.
const mostDifferences = 20

// differences is a list that stops growing and counts on.
type differences struct {
	list []string
	more int
}

func (d *differences) add(format string, args ...any) {
	if len(d.list) == mostDifferences {
		d.more++
		return
	}
	d.list = append(d.list, fmt.Sprintf(format, args...))
}

func (d *differences) all() []string {
	if d.more > 0 {
		return append(d.list, fmt.Sprintf("and %d more", d.more))
	}
	return d.list
}

// structureDifferences tells how two models differ in anything but the numbers
// in their initializers and their metadata.
func structureDifferences(a, b *onnx.Model) []string {
	var d differences
	if a.IRVersion != b.IRVersion {
		d.add("IR version %d, then %d", a.IRVersion, b.IRVersion)
	}
	if !slices.Equal(a.Opsets, b.Opsets) {
		d.add("operator sets %v, then %v", a.Opsets, b.Opsets)
	}
	if !slices.Equal(a.Functions, b.Functions) {
		d.add("functions %v, then %v", a.Functions, b.Functions)
	}
	compareValues(&d, "input", a.Graph.Inputs, b.Graph.Inputs)
	compareValues(&d, "output", a.Graph.Outputs, b.Graph.Outputs)
	compareValues(&d, "initializer", a.Graph.Inits, b.Graph.Inits)
	if x, y := len(a.Graph.Nodes), len(b.Graph.Nodes); x != y {
		d.add("%d nodes, then %d", x, y)
		return d.all()
	}
	for i, n := range a.Graph.Nodes {
		if what := nodeDifference(n, b.Graph.Nodes[i]); what != "" {
			d.add("node %d, %s: %s", i, n.Label(), what)
		}
	}
	return d.all()
}

func compareValues(d *differences, what string, a, b []*onnx.Value) {
	if len(a) != len(b) {
		d.add("%d %ss, then %d", len(a), what, len(b))
		return
	}
	for i, v := range a {
		if w := b[i]; v.Name != w.Name || v.Type != w.Type || v.Shape.String() != w.Shape.String() {
			d.add("%s %d is %v, then %v", what, i, v, w)
		}
	}
}

// nodeDifference says in what two nodes differ, "" if in nothing.
func nodeDifference(a, b *onnx.Node) string {
	switch {
	case a.Op != b.Op || a.Domain != b.Domain:
		return fmt.Sprintf("operator %s%s, then %s%s", a.Domain, a.Op, b.Domain, b.Op)
	case a.Name != b.Name:
		return fmt.Sprintf("name %q, then %q", a.Name, b.Name)
	case !slices.Equal(valueNames(a.Inputs), valueNames(b.Inputs)):
		return fmt.Sprintf("inputs %v, then %v", valueNames(a.Inputs), valueNames(b.Inputs))
	case !slices.Equal(valueNames(a.Outputs), valueNames(b.Outputs)):
		return fmt.Sprintf("outputs %v, then %v", valueNames(a.Outputs), valueNames(b.Outputs))
	case !reflect.DeepEqual(a.Attrs, b.Attrs):
		return "attributes differ"
	}
	return ""
}

func valueNames(values []*onnx.Value) []string {
	out := make([]string, len(values))
	for i, v := range values {
		if v != nil {
			out[i] = v.Name
		}
	}
	return out
}

// metadataDifferences tells how two models differ in what they say of themselves.
func metadataDifferences(a, b *onnx.Model) []string {
	var d differences
	for _, f := range []struct{ what, x, y string }{
		{"producer", a.Producer + " " + a.ProducerVersion, b.Producer + " " + b.ProducerVersion},
		{"domain", a.Domain, b.Domain},
		{"model version", fmt.Sprint(a.ModelVersion), fmt.Sprint(b.ModelVersion)},
		{"description", a.Doc, b.Doc},
	} {
		if f.x != f.y {
			d.add("%s %q, then %q", f.what, f.x, f.y)
		}
	}
	for _, kv := range a.Metadata {
		if value, ok := b.Meta(kv.Key); !ok {
			d.add("%s is only in the first", kv.Key)
		} else if value != kv.Value {
			d.add("%s differs", kv.Key)
		}
	}
	for _, kv := range b.Metadata {
		if _, ok := a.Meta(kv.Key); !ok {
			d.add("%s is only in the second", kv.Key)
		}
	}
	return d.all()
}
