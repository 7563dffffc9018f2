package onnx

import (
	"bytes"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sameModel compares everything that a model says, by value names.
func sameModel(t *testing.T, got, want *Model) {
	t.Helper()
	if d := cmp.Diff(want.Graph.String(), got.Graph.String()); d != "" {
		t.Errorf("graphs differ (-want +got):\n%s", d)
	}
	a, b := *got, *want
	a.Graph, b.Graph = nil, nil
	if d := cmp.Diff(b, a); d != "" {
		t.Errorf("models differ (-want +got):\n%s", d)
	}
	if len(got.Graph.Nodes) != len(want.Graph.Nodes) || len(got.Graph.Inits) != len(want.Graph.Inits) {
		return
	}
	for i, v := range want.Graph.Inits {
		if w := got.Graph.Inits[i]; v.Name != w.Name || !sameTensor(v.Data, w.Data) {
			t.Errorf("initializer %s differs", v.Name)
		}
	}
	for i, n := range want.Graph.Nodes {
		m := got.Graph.Nodes[i]
		if n.Name != m.Name || n.Doc != m.Doc || len(n.Captures) != len(m.Captures) {
			t.Errorf("nodes %s and %s differ", n.Label(), m.Label())
		}
		if !reflect.DeepEqual(n.Attrs, m.Attrs) {
			t.Errorf("attributes of %s differ:\n%s", n.Label(), cmp.Diff(n.Attrs, m.Attrs))
		}
	}
}

func sameTensor(a, b *Tensor) bool {
	return a.Type == b.Type && slices.Equal(a.Dims, b.Dims) && bytes.Equal(a.Raw, b.Raw) &&
		slices.EqualFunc(a.Strings, b.Strings, bytes.Equal)
}

func TestEncodedModelReadsBackEqual(t *testing.T) {
	for _, path := range oracleModels(t) {
		want, _, err := ReadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseDocument(data, "")
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Model()
		if err != nil {
			t.Fatal(err)
		}
		sameModel(t, got, want)
	}
}

func TestWriteModelReadsBackEqual(t *testing.T) {
	for _, path := range oracleModels(t) {
		want, _, err := ReadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []WriteOptions{{}, {External: "weights.bin"}, {External: "w.bin", ExternalThreshold: 1}} {
			out := filepath.Join(t.TempDir(), "model.onnx")
			if err := WriteModel(out, want, o); err != nil {
				t.Fatal(err)
			}
			got, _, err := ReadModel(out)
			if err != nil {
				t.Fatal(err)
			}
			sameModel(t, got, want)
		}
	}
}

func TestEveryAttributeKindReadsBackEqual(t *testing.T) {
	m := small(t)
	m.Producer, m.ProducerVersion, m.Domain, m.ModelVersion, m.Doc = "relevit", "1", "d", 3, "doc"
	m.Metadata = []KV{{"a", "b"}, {"", ""}}
	n := m.Graph.Nodes[0]
	n.Doc = "a node"
	n.Attrs = []Attr{
		{"f", float32(1.5)}, {"zero", float32(0)}, {"i", int64(-3)}, {"s", "text"}, {"empty", ""},
		{"fs", []float32{1, 2}}, {"is", []int64{-1, 1 << 40}}, {"none", []int64{}}, {"ss", []string{"a", ""}},
		{"t", &Tensor{Type: Int64, Dims: []int64{1}, Raw: make([]byte, 8)}},
		{"strings", &Tensor{Type: String, Dims: []int64{2}, Strings: [][]byte{[]byte("x"), {}}}},
		{"o", Opaque(fields(text(attrName, "o"), number(attrType, 13), sub(14)))},
	}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeFile(t, data)
	if err != nil {
		t.Fatal(err)
	}
	sameModel(t, got, m)
}

func TestModelsThatCannotBeWrittenSaySo(t *testing.T) {
	for _, c := range []struct {
		want   string
		damage func(*Model)
	}{
		{"no graph", func(m *Model) { m.Graph = nil }},
		{"model-local function f", func(m *Model) { m.Functions, m.Graph.Nodes[0].Domain, m.Graph.Nodes[0].Op = []string{"d.f"}, "d", "f" }},
		{"initializer w has no data", func(m *Model) { m.Graph.Inits[0].Data = nil }},
		{"initializer w: the tensor has 3 bytes", func(m *Model) { m.Graph.Inits[0].Data.Raw = make([]byte, 3) }},
		{"Go type int can't", func(m *Model) { m.Graph.Nodes[0].SetAttr("a", 1) }},
		{"attribute a", func(m *Model) { m.Graph.Nodes[0].SetAttr("a", Opaque{0xff}) }},
		{"has 0 strings", func(m *Model) { m.Graph.Nodes[0].SetAttr("a", &Tensor{Type: String, Dims: []int64{2}}) }},
	} {
		m := small(t)
		c.damage(m)
		if _, err := m.Encode(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, expected %q", err, c.want)
		}
	}
}

func TestIRVersionFollowsTheOpset(t *testing.T) {
	for _, c := range []struct{ own, opset, want int64 }{
		{0, 21, 10}, {0, 17, 8}, {0, 13, 7}, {3, 9, 4}, {12, 17, 12}, {4, 21, 10}, {0, 25, 13},
	} {
		m := &Model{IRVersion: c.own, Opsets: []Opset{{"", c.opset}}}
		if got := m.irVersion(); got != c.want {
			t.Errorf("IR version %d with opset %d is written as %d, expected %d", c.own, c.opset, got, c.want)
		}
	}
}
