package onnx

import (
	"bytes"
	"path/filepath"
	"reflect"
	"slices"
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
