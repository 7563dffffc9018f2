package onnx

import (
	"slices"
	"strings"
	"testing"
)

// functionFile holds a function of two nodes, out of order, one with an
// attribute of the caller's and one with its default.
func functionFile(extra ...func(*parts)) []byte {
	fields := slices.Concat([]func(*parts){
		text(functionName, "F"), text(functionDomain, "local"), text(functionInput, "x"), text(functionOutput, "z"),
		sub(functionDefaults, text(attrName, "alpha"), number(attrType, attrIsInt), number(attrI, 3)),
		sub(functionNode, text(nodeInput, "y"), text(nodeOutput, "z"), text(nodeOp, "Elu"),
			sub(nodeAttr, text(attrName, "alpha"), text(attrRef, "slope"))),
		sub(functionNode, text(nodeInput, "x"), text(nodeOutput, "y"), text(nodeOp, "Neg")),
	}, extra)
	var p parts
	sub(modelFunctions, fields...)(&p)
	return append(file(), p.join()...)
}

func TestModelDecodesFunctions(t *testing.T) {
	d, err := ParseDocument(functionFile(), "")
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Model()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Bodies) != 1 || m.Functions[0] != "local.F" {
		t.Fatalf("functions %v, %d bodies", m.Functions, len(m.Bodies))
	}
	f := m.Bodies[0]
	if len(f.Body.Nodes) != 2 || f.Body.Nodes[0].Op != "Neg" || f.Body.Nodes[1].Attr("alpha") != AttrRef("slope") ||
		f.Attrs[0].Value != int64(3) || f.Body.Outputs[0].Node != f.Body.Nodes[1] {
		t.Errorf("got %v with defaults %v", f.Body, f.Attrs)
	}
}

func TestModelRefusesBrokenFunctions(t *testing.T) {
	for says, extra := range map[string]func(*parts){
		"which nothing in the graph gives": sub(functionNode, text(nodeInput, "nowhere"), text(nodeOutput, "q"), text(nodeOp, "Neg")),
		"cycle":                            sub(functionNode, text(nodeInput, "q"), text(nodeOutput, "q"), text(nodeOp, "Neg")),
		"already that of another":          text(functionInput, "x"),
		"its output":                       text(functionOutput, "nowhere"),
	} {
		d, err := ParseDocument(functionFile(extra), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err = d.Model(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want an error that says %q", err, says)
		}
	}
}
