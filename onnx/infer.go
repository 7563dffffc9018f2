package onnx

import "fmt"

// Infer sets the types, shapes and known elements of a node's outputs from
// those of its inputs, in the working dialect. Where an output already has a
// known type or size (a file's value_info), the two must agree. An operator
// without an inference rule leaves its outputs as they are.
//
// The error names node and operator and says which shapes don't fit.
func Infer(n *Node) error {
	rule, ok := inferRules[n.Domain+":"+n.Op]
	if !ok {
		return nil
	}
	if err := rule(n); err != nil {
		return fmt.Errorf("node %s (%s): %w", n.Label(), n.Op, err)
	}
	return nil
}

// InferAll runs Infer over the graph's nodes in order.
func (g *Graph) InferAll() error {
	for _, n := range g.Nodes {
		if err := Infer(n); err != nil {
			return err
		}
	}
	return nil
}

// An inferRule reads a node's inputs and attributes and sets its outputs.
type inferRule func(n *Node) error

// maxElems bounds the vectors whose elements are followed.
const maxElems = 1024

// countable reports whether elements of the type are followed: integers that
// shapes are made of, and truth values as 0 and 1.
func countable(t DType) bool { return t == Int64 || t == Int32 || t == Bool }

// elemsOf lists the elements of a small integer scalar or vector.
func elemsOf(t *Tensor) []Dim {
	if len(t.Dims) > 1 || t.Count() > maxElems || !countable(t.Type) {
		return nil
	}
	v, err := t.Int64s()
	if err != nil {
		return nil
	}
	out := make([]Dim, len(v))
	for i, x := range v {
		out[i] = Dim{N: max(x, Unknown.N+1)} // the lowest number only ever means "before the start"
	}
	return out
}
