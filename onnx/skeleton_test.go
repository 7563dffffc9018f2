package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestLargeTensorsAreReadWhole compares what is read in two goes with what is
// parsed from the bytes, in the types of data that tensors come in.
func TestLargeTensorsAreReadWhole(t *testing.T) {
	numbers := func(seed byte) string {
		b := make([]byte, 3<<20)
		for i := range b {
			b[i] = byte(i)*7 + byte(i>>11) + seed
		}
		return string(b)
	}
	large := func(name string, more func(*parts)) func(*parts) {
		return sub(graphInit, number(tensorDims, 3<<18), number(tensorType, 1), text(tensorName, name), more)
	}
	constant := sub(graphNode, text(nodeOutput, "c"), text(nodeOp, "Constant"),
		sub(nodeAttr, text(attrName, "value"), number(attrType, 4), sub(attrT, number(tensorDims, 3<<18), number(tensorType, 1), text(tensorRaw, numbers(3)))))
	data := file(large("a", text(tensorRaw, numbers(1))), large("b", text(tensorFloats, numbers(2))), constant, large("d", text(tensorRaw, numbers(4))))
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	m, d, err := ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := ReadDocument(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(d.Bytes(), data) || !bytes.Equal(alone.Bytes(), data) {
		t.Error("the documents are not the file")
	}
	for i, seed := range []byte{1, 2, 4} {
		if string(m.Graph.Inits[i].Data.Raw) != numbers(seed) {
			t.Errorf("initializer %d holds other numbers", i)
		}
	}
	if value, _ := m.Graph.Nodes[1].Attr("value").(*Tensor); value == nil || string(value.Raw) != numbers(3) {
		t.Error("the constant holds other numbers")
	}
}
