package onnx

import (
	"fmt"
	"slices"
	"testing"

	onnxgo "github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/tensor"
)

// secondReader is a backend of onnx-go that only keeps what onnx-go has read:
// an independent account of what a file says.
type secondReader struct {
	*simple.WeightedDirectedGraph
	ops []onnxgo.Operation
}

type readNode struct {
	graph.Node
	name  string
	value tensor.Tensor
}

func (n *readNode) SetName(s string)                { n.name = s }
func (n *readNode) GetName() string                 { return n.name }
func (n *readNode) SetTensor(t tensor.Tensor) error { n.value = t; return nil }
func (n *readNode) GetTensor() tensor.Tensor        { return n.value }

func (r *secondReader) NewNode() graph.Node {
	return &readNode{Node: r.WeightedDirectedGraph.NewNode()}
}

func (r *secondReader) ApplyOperation(op onnxgo.Operation, _ ...graph.Node) error {
	r.ops = append(r.ops, op)
	return nil
}

// readersAgree compares a model with what onnx-go reads from its encoding.
func readersAgree(t *testing.T, m *Model, data []byte) {
	t.Helper()
	reader := &secondReader{WeightedDirectedGraph: simple.NewWeightedDirectedGraph(0, 0)}
	other := onnxgo.NewModel(reader)
	if err := other.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	for _, v := range m.Graph.Inits {
		n, ok := other.GetNodeByName(v.Name)
		if !ok {
			t.Errorf("the second reader finds no initializer %s", v.Name)
			continue
		}
		dense, ok := n.(*readNode).value.(*tensor.Dense)
		if !ok {
			t.Errorf("the second reader finds no data in initializer %s", v.Name)
			continue
		}
		got, err := FromDense(dense)
		if err != nil || !sameTensor(got, v.Data) {
			t.Errorf("the second reader reads initializer %s differently (%v)", v.Name, err)
		}
	}
	for _, v := range slices.Concat(m.Graph.Inputs, m.Graph.Outputs) {
		if _, ok := other.GetNodeByName(v.Name); !ok {
			t.Errorf("the second reader doesn't find %s", v.Name)
		}
	}
	if len(reader.ops) != len(m.Graph.Nodes) {
		t.Fatalf("the second reader finds %d nodes of %d", len(reader.ops), len(m.Graph.Nodes))
	}
	for i, n := range m.Graph.Nodes {
		op := reader.ops[i]
		if op.Name != n.Op || len(op.Attributes) != len(n.Attrs) {
			t.Errorf("the second reader takes %v for %s with %d attributes", n, op.Name, len(op.Attributes))
			continue
		}
		for _, a := range n.Attrs {
			got := op.Attributes[a.Name]
			if dense, ok := got.(*tensor.Dense); ok {
				if read, err := FromDense(dense); err != nil || !sameTensor(read, a.Value.(*Tensor)) {
					t.Errorf("the second reader reads %s of %s differently (%v)", a.Name, n.Label(), err)
				}
			} else if fmt.Sprint(got) != fmt.Sprint(a.Value) {
				t.Errorf("the second reader reads %s of %s as %v", a, n.Label(), got)
			}
		}
	}
}

func TestSecondReaderAgreesOnWhatWeWrite(t *testing.T) {
	m := small(t)
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	readersAgree(t, m, data)
	for _, path := range oracleModels(t) {
		m, _, err := ReadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		if data, err = m.Encode(); err != nil {
			t.Fatal(err)
		}
		readersAgree(t, m, data)
	}
}

func TestSecondReaderReadsEditedDocuments(t *testing.T) {
	for _, path := range oracleModels(t) {
		m, d, err := ReadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range m.Graph.Inits {
			if v.Type != Float {
				continue
			}
			data := make([]float32, v.Data.Count())
			for i := range data {
				data[i] = float32(i) / 8
			}
			if err := d.SetInitializer(v.Name, FloatTensor(data, v.Data.Dims...)); err != nil {
				t.Fatal(err)
			}
		}
		d.SetMetadata("relevit.recipe", "test")
		edited, err := d.Model()
		if err != nil {
			t.Fatal(err)
		}
		readersAgree(t, edited, d.Bytes())
	}
}
