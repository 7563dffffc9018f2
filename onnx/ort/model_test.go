package ort_test

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/relevit/relevit/onnx"
)

// The tests write their models by hand, so that a fault in our writer can't
// hide one here. Field numbers are those of onnx.proto.

type testPort struct {
	name  string
	dtype onnx.DType
	dims  []any // int64, or string for a named size
}

type testNode struct {
	op      string
	in, out []string
	attrs   []byte
}

func modelBytes(inputs, outputs []testPort, nodes ...testNode) []byte {
	var graph []byte
	for _, n := range nodes {
		graph = message(graph, 1, nodeBytes(n))
	}
	graph = text(graph, 2, "test")
	for _, p := range inputs {
		graph = message(graph, 11, portBytes(p))
	}
	for _, p := range outputs {
		graph = message(graph, 12, portBytes(p))
	}
	model := number(nil, 1, 8)
	model = message(model, 7, graph)
	return message(model, 8, number(nil, 2, 17))
}

func nodeBytes(n testNode) []byte {
	var b []byte
	for _, s := range n.in {
		b = text(b, 1, s)
	}
	for _, s := range n.out {
		b = text(b, 2, s)
	}
	b = text(b, 4, n.op)
	return append(b, n.attrs...)
}

func portBytes(p testPort) []byte {
	var shape []byte
	for _, d := range p.dims {
		var dim []byte
		switch d := d.(type) {
		case int:
			dim = number(nil, 1, uint64(d))
		case string:
			dim = text(nil, 2, d)
		}
		shape = message(shape, 1, dim)
	}
	tensor := number(nil, 1, uint64(p.dtype))
	if p.dims != nil {
		tensor = message(tensor, 2, shape)
	}
	return message(text(nil, 1, p.name), 2, message(nil, 1, tensor))
}

// castTo is the attribute of a Cast.
func castTo(t onnx.DType) []byte {
	attr := text(nil, 1, "to")
	attr = number(attr, 3, uint64(t))
	attr = number(attr, 20, 2)
	return message(nil, 5, attr)
}

func message(b []byte, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
}

func text(b []byte, field protowire.Number, s string) []byte { return message(b, field, []byte(s)) }

func number(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}
