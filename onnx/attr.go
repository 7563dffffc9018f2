package onnx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Attr is a node's attribute. Value is an int64, float32, string, []int64,
// []float32, []string, *Tensor, an AttrRef in the body of a function, or Opaque for
// kinds that relevit only carries.
type Attr struct {
	Name  string
	Value any
}

// Opaque is the encoded AttributeProto of a subgraph, sparse tensor, type or
// function reference.
type Opaque []byte

// Attr returns the value of the attribute of that name, nil if it isn't set.
func (n *Node) Attr(name string) any {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a.Value
		}
	}
	return nil
}

// Int returns an integer attribute, or def where it isn't set.
func (n *Node) Int(name string, def int64) int64 {
	if v, ok := n.Attr(name).(int64); ok {
		return v
	}
	return def
}

// Float returns a float attribute, or def where it isn't set.
func (n *Node) Float(name string, def float32) float32 {
	if v, ok := n.Attr(name).(float32); ok {
		return v
	}
	return def
}

// Decimal is Float in float64. What its float32 stands for is the shortest
// decimal that rounds to it: an epsilon of 1e-6 is 1e-6 in float64 too.
func (n *Node) Decimal(name string, def float32) float64 {
	v, _ := strconv.ParseFloat(strconv.FormatFloat(float64(n.Float(name, def)), 'g', -1, 32), 64)
	return v
}

// Ints returns a list attribute, nil where it isn't set.
func (n *Node) Ints(name string) []int64 {
	v, _ := n.Attr(name).([]int64)
	return v
}

// Str returns a string attribute, or def where it isn't set.
func (n *Node) Str(name, def string) string {
	if v, ok := n.Attr(name).(string); ok {
		return v
	}
	return def
}

// SetAttr sets or replaces an attribute.
func (n *Node) SetAttr(name string, value any) {
	for i := range n.Attrs {
		if n.Attrs[i].Name == name {
			n.Attrs[i].Value = value
			return
		}
	}
	n.Attrs = append(n.Attrs, Attr{name, value})
}

// DropAttr removes an attribute if it is set.
func (n *Node) DropAttr(name string) {
	n.Attrs = slices.DeleteFunc(n.Attrs, func(a Attr) bool { return a.Name == name })
}

// String prints the attribute as axis=-1; tensors by their type and shape.
func (a Attr) String() string {
	switch v := a.Value.(type) {
	case *Tensor:
		if v.Count() <= 8 && v.Type.Size() > 0 {
			if f, err := v.Float64s(); err == nil {
				return fmt.Sprintf("%s=%v%v", a.Name, v.Type, f)
			}
		}
		return fmt.Sprintf("%s=%v%v", a.Name, v.Type, v.Shape())
	case Opaque:
		return fmt.Sprintf("%s=<%d bytes>", a.Name, len(v))
	case string:
		return fmt.Sprintf("%s=%q", a.Name, v)
	case []string:
		return fmt.Sprintf("%s=[%s]", a.Name, strings.Join(v, ","))
	}
	return fmt.Sprintf("%s=%v", a.Name, a.Value)
}
