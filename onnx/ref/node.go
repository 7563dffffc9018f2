package ref

import (
	"fmt"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// A kernel computes a node's outputs. Its inputs have been checked against the
// table's entry: those that the operator needs are there.
type kernel func(c *call) ([]*Array, error)

// An entry of the table. Takes says what inputs the operator has, a letter
// each: f floats, i integers, b booleans, n floats or integers, x any. Capital
// letters must agree in element type. A question mark follows an input that
// may be left out, a star the last one where it repeats.
type entry struct {
	takes string
	run   kernel
}

// call is one application of an operator. in has an element for each input
// that the operator knows, nil where it is left out.
type call struct {
	node *onnx.Node
	in   []*Array
}

// Supports reports whether the evaluator knows the node's operator.
func Supports(n *onnx.Node) bool {
	_, ok := table[key(n)]
	return ok
}

func key(n *onnx.Node) string {
	if n.Domain == "ai.onnx" {
		return ":" + n.Op
	}
	return n.Domain + ":" + n.Op
}

// Node evaluates one node on the given inputs, nil for those left out, and
// returns an array for each of its outputs. It never writes into inputs, but
// outputs may share their elements.
func Node(n *onnx.Node, in []*Array) (out []*Array, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("node %s (%s) on %v: %v", n.Label(), n.Op, in, p)
		}
	}()
	e, ok := table[key(n)]
	if !ok {
		return nil, fmt.Errorf("node %s: the evaluator doesn't know operator %s", n.Label(), strings.TrimPrefix(key(n), ":"))
	}
	if out, err = e.apply(n, in); err != nil {
		return nil, fmt.Errorf("node %s (%s) on %v: %w", n.Label(), n.Op, in, err)
	}
	return out, nil
}

// apply checks the inputs, runs the kernel and matches what it gives with the
// node's outputs.
func (e *entry) apply(n *onnx.Node, in []*Array) ([]*Array, error) {
	c := &call{node: n, in: in}
	if err := c.admit(e.takes); err != nil {
		return nil, err
	}
	out, err := e.run(c)
	if err != nil {
		return nil, err
	}
	for i := len(out); i < len(n.Outputs); i++ {
		if n.Outputs[i] != nil {
			return nil, fmt.Errorf("output %d isn't evaluated", i)
		}
		out = append(out, nil)
	}
	return out[:len(n.Outputs)], nil
}

// admit checks the inputs against an entry's description and lengthens in to it.
func (c *call) admit(takes string) error {
	var same onnx.DType
	known := 0
	for p := 0; p < len(takes); {
		letter, mark := takes[p], byte(0)
		p++
		if p < len(takes) && (takes[p] == '?' || takes[p] == '*') {
			mark = takes[p]
			p++
		}
		until := known + 1
		if mark == '*' {
			until = max(until, len(c.in))
		}
		for ; known < until; known++ {
			if known >= len(c.in) || c.in[known] == nil {
				if mark != '?' {
					return fmt.Errorf("input %d is missing", known)
				}
				if known >= len(c.in) {
					c.in = append(c.in[:known:known], nil)
				}
				continue
			}
			x := c.in[known]
			if err := admits(letter, x); err != nil {
				return fmt.Errorf("input %d: %w", known, err)
			}
			if letter < 'a' {
				if same != onnx.Undefined && x.Type != same {
					return fmt.Errorf("input %d is %v, another input is %v", known, x.Type, same)
				}
				same = x.Type
			}
		}
	}
	if len(c.in) > known {
		return fmt.Errorf("%d inputs are given, the operator has %d", len(c.in), known)
	}
	return nil
}

func admits(letter byte, x *Array) error {
	if err := x.check(); err != nil {
		return err
	}
	k, want := kindOf(x.Type), ""
	switch letter | 0x20 {
	case 'f':
		if k != floating {
			want = "floats"
		}
	case 'i':
		if k != integer {
			want = "integers"
		}
	case 'b':
		if k != boolean {
			want = "booleans"
		}
	case 'n':
		if k == boolean {
			want = "numbers"
		}
	}
	if want != "" {
		return fmt.Errorf("%v, expected %s", x, want)
	}
	return nil
}

// one wraps the result of an operator with one output.
func one(y *Array, err error) ([]*Array, error) {
	if err != nil {
		return nil, err
	}
	return []*Array{y}, nil
}

// axis resolves an axis attribute.
func (c *call) axis(def int64, rank int) (int, error) { return axisOf(c.node.Int("axis", def), rank) }

// vector reads input i as a list of integers; nil where it is left out.
func (c *call) vector(i int) ([]int64, error) {
	x := c.in[i]
	switch {
	case x == nil:
		return nil, nil
	case len(x.Shape) > 1:
		return nil, fmt.Errorf("input %d is %v, expected a vector", i, x)
	}
	return x.I, nil
}

// scalar reads input i as one integer.
func (c *call) scalar(i int) (int64, error) {
	x := c.in[i]
	if len(x.I) != 1 {
		return 0, fmt.Errorf("input %d is %v, expected one integer", i, x)
	}
	return x.I[0], nil
}
