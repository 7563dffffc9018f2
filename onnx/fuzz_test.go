package onnx

import (
	"bytes"
	"errors"
	"testing"
)

func seed(f *testing.F) {
	for _, data := range nasty() {
		f.Add(data)
	}
	whole := file(sub(graphInit, number(tensorDims, 4), number(tensorType, 1), text(tensorName, "w"), text(tensorRaw, "1234123412341234")),
		externalTensor("v", "w.bin", "0", "16"))
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(file(sub(graphNode, text(nodeInput, "x"), text(nodeOutput, "z"), text(nodeOp, "If"), sub(nodeAttr,
		text(attrName, "then_branch"), number(attrType, attrIsGraph), sub(attrG, sub(graphNode, text(nodeInput, "x"),
			text(nodeOutput, "q"), text(nodeOp, "Neg")))))))
	f.Add(functionFile())
}

// FuzzParseDocument looks for a file that doesn't come back as it was.
func FuzzParseDocument(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDocument(data, "")
		var fe *FormatError
		switch {
		case err == nil && !bytes.Equal(d.Bytes(), data):
			t.Errorf("%x came back as %x", data, d.Bytes())
		case err != nil && !errors.As(err, &fe):
			t.Errorf("%v is no FormatError", err)
		}
	})
}

// FuzzModel looks for a file that decodes, but doesn't encode and decode to
// the same graph.
func FuzzModel(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDocument(data, "")
		if err != nil {
			return
		}
		m, err := d.Model()
		if err != nil {
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Errorf("%v is no FormatError", err)
			}
			return
		}
		Check(m)
		again, err := m.Encode()
		if err != nil {
			return // what can't be written says so
		}
		if d, err = ParseDocument(again, ""); err != nil {
			t.Fatal(err)
		}
		back, err := d.Model()
		if err != nil {
			t.Fatal(err)
		}
		if m.Graph.Name == "" {
			m.Graph.Name = back.Graph.Name
		}
		if got, want := back.Graph.String(), m.Graph.String(); got != want {
			t.Errorf("%s\ncame back as\n%s", want, got)
		}
	})
}
