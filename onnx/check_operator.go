package onnx

import (
	"slices"
	"strings"
)

// attrKinds are the kinds of attributes that the IR carries as Opaque, by their
// number in AttributeProto and as the table of operators writes them.
var attrKinds = map[int64]string{attrIsFloat: "f", attrIsInt: "i", attrIsString: "s", attrIsTensor: "t", attrIsGraph: "g",
	attrIsFloats: "F", attrIsInts: "I", attrIsStrings: "S", 9: "T", 10: "G", 11: "p", 12: "P", 13: "y", 14: "Y"}

var attrKindNames = map[string]string{"f": "a float", "i": "an integer", "s": "a string", "t": "a tensor", "g": "a graph",
	"F": "floats", "I": "integers", "S": "strings", "T": "tensors", "G": "graphs", "p": "a sparse tensor",
	"P": "sparse tensors", "y": "a type", "Y": "types"}

// kind is the attribute's kind as the table writes it, "" if it isn't known.
func (a Attr) kind() string {
	switch v := a.Value.(type) {
	case float32:
		return "f"
	case int64:
		return "i"
	case string:
		return "s"
	case *Tensor:
		return "t"
	case []float32:
		return "F"
	case []int64:
		return "I"
	case []string:
		return "S"
	case Opaque:
		p := newParser(v, fileLimits)
		proto, err := p.message("AttributeProto", 0, uint64(len(v)), len(v), 1)
		if err != nil || proto.text(attrRef) != "" {
			return ""
		}
		return attrKinds[proto.attrKind()]
	}
	return ""
}

// operator checks a node against what its operator declares in the opset that
// opsets imports: that it exists, its inputs, outputs and attributes.
func (c *checker) operator(n *Node, opsets func(domain string) int64) {
	where := "node " + n.Label()
	if f := c.functions[[2]string{n.Domain, n.Op}]; f != nil {
		if len(n.Inputs) > len(f.Body.Inputs) || len(n.Outputs) > len(f.Body.Outputs) {
			c.add(where, "it has %d inputs and %d outputs, and the function %s has %d and %d",
				len(n.Inputs), len(n.Outputs), n.Op, len(f.Body.Inputs), len(f.Body.Outputs))
		}
		return
	}
	version := opsets(n.Domain)
	if version == 0 || n.Op == "" {
		return // said already
	}
	s, err := signatureOf(n.Domain, n.Op, version)
	if err != nil {
		c.add(where, "%v", err)
		return
	}
	if s == nil {
		return
	}
	c.places(where, "input", n.Op, n.Inputs, s.inputs)
	c.places(where, "output", n.Op, n.Outputs, s.outputs)
	for _, a := range n.Attrs {
		want, ok := s.attributes[a.Name]
		found := a.kind()
		switch want = strings.TrimSuffix(want, "!"); {
		case strings.HasPrefix(a.Name, "__") || a.Name == "": // internal to some tool, or said already
		case !ok:
			c.add(where, "%s has no attribute %s in opset %d", n.Op, a.Name, version)
		case found != "" && found != want:
			c.add(where, "attribute %s is %s, expected %s", a.Name, attrKindNames[found], attrKindNames[want])
		}
	}
	for name, kind := range s.attributes {
		if strings.HasSuffix(kind, "!") && !slices.ContainsFunc(n.Attrs, func(a Attr) bool { return a.Name == name }) {
			c.add(where, "%s needs the attribute %s", n.Op, name)
		}
	}
	if !c.bodies {
		c.types(n, s)
	}
}

// places checks how many inputs or outputs a node has, and which are left out.
func (c *checker) places(where, what, op string, values []*Value, formals []formal) {
	for i, v := range values {
		f, ok := formalAt(formals, i)
		switch {
		case !ok:
			c.add(where, "it has %s, and %s has at most %d", plural(len(values), what), op, len(formals))
			return
		case v == nil && !f.optional && !f.repeated:
			c.add(where, "%s %d is left out, and %s needs it", what, i, op)
		}
	}
	for i, f := range formals {
		need := i + 1
		if f.repeated {
			need = i + f.least
		}
		if !f.optional && len(values) < need {
			c.add(where, "it has %s, and %s needs at least %d", plural(len(values), what), op, need)
			return
		}
	}
}

// types checks the element types of a node's inputs and outputs as far as they
// are known, and finds those of the outputs.
func (c *checker) types(n *Node, s *signature) {
	where := "node " + n.Label()
	bound := map[string]*Value{}
	for i, v := range n.Inputs {
		t := c.typeOf(v)
		if t == Undefined {
			continue
		}
		f, _ := formalAt(s.inputs, i)
		first := bound[f.variable]
		switch {
		case f.types != 0 && !f.types.has(t):
			c.add(where, "input %d, %s, is %v, and %s takes %v", i, v.Name, t, n.Op, f.types)
			return
		case first != nil && c.typeOf(first) != t:
			c.add(where, "inputs %s and %s are %v and %v, and %s takes one type", first.Name, v.Name, c.typeOf(first), t, n.Op)
			return
		case f.variable != "" && first == nil:
			bound[f.variable] = v
		}
	}
	for i, v := range n.Outputs {
		f, ok := formalAt(s.outputs, i)
		if v == nil || !ok {
			continue
		}
		t := f.types.only()
		if first := bound[f.variable]; first != nil {
			t = c.typeOf(first)
		} else if t == Undefined {
			t = stated(n)
		}
		switch {
		case t == Undefined:
		case v.Type != Undefined && v.Type != t:
			c.add(where, "its output %s is said to be %v, and %s gives %v", v.Name, v.Type, n.Op, t)
		default:
			c.found[v] = t
		}
	}
}

func (c *checker) typeOf(v *Value) DType {
	if v == nil {
		return Undefined
	}
	if t := c.found[v]; t != Undefined {
		return t
	}
	return v.Type
}

// stated is the type that an attribute gives to a node's output.
func stated(n *Node) DType {
	switch n.Op {
	case "Cast":
		return DType(n.Int("to", 0))
	case "Constant", "ConstantOfShape":
		if t, ok := n.Attr("value").(*Tensor); ok {
			return t.Type
		}
	}
	return Undefined
}
