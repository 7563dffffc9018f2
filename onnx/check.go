package onnx

import (
	"errors"
	"fmt"
	"slices"
)

// Problem is something wrong with a model.
type Problem struct {
	Where string // node, value or part of the model
	What  string
}

// String prints the problem as where: what.
func (p Problem) String() string { return p.Where + ": " + p.What }

type checker struct {
	problems  []Problem
	given     map[*Value]bool   // values defined so far
	names     map[string]*Value // which value has a name
	found     map[*Value]DType  // types that the operators imply
	functions map[[2]string]*Function
	bodies    bool // within a function, whose values have no types
}

func (c *checker) add(where, format string, args ...any) {
	c.problems = append(c.problems, Problem{where, fmt.Sprintf(format, args...)})
}

// Check applies the structural rules of ONNX's own checker: imported operator
// sets, unique names, single assignment, order of nodes, defined inputs,
// operators that exist in their opset and get the inputs, attributes and
// element types that they declare, data that fit their types, functions, and,
// for models in the working dialect, types and shapes by inference.
//
// Operators of domains other than ai.onnx and com.microsoft are not known.
func Check(m *Model) []Problem {
	c := &checker{functions: map[[2]string]*Function{}}
	if m.Graph == nil {
		c.add("model", "it has no graph")
		return c.problems
	}
	c.versions(m)
	for _, f := range m.Bodies {
		key := f.key()
		if c.functions[key] != nil {
			c.add("function "+qualified(f.Domain, f.Name), "there are two of that name")
		}
		c.functions[key] = f
	}
	for _, f := range m.Bodies {
		c.function(f)
	}
	c.bodies = false
	c.graph(m.Graph, m.OpsetVersion)
	if m.IRVersion < 4 {
		for _, v := range m.Graph.Inits {
			if !slices.Contains(m.Graph.Inputs, v) {
				c.add("initializer "+v.Name, "it is no input, as IR version %d wants it", m.IRVersion)
			}
		}
	}
	if len(c.problems) == 0 && m.OpsetVersion("") == Dialect && len(m.Bodies) == 0 {
		c.infer(m.Graph)
	}
	return c.problems
}

// graph checks a graph, or a function's body.
func (c *checker) graph(g *Graph, opsets func(domain string) int64) {
	c.given, c.names, c.found = map[*Value]bool{}, map[string]*Value{}, map[*Value]DType{}
	for _, v := range g.Inputs {
		if c.define(v, "graph input"); v.Type == Undefined && !c.bodies {
			c.add("graph input "+v.Name, "it has no tensor type")
		}
	}
	for _, v := range g.Inits {
		c.init(v, slices.Contains(g.Inputs, v))
	}
	named := map[string]bool{"": true}
	for _, n := range g.Nodes {
		if named[n.Name] && n.Name != "" {
			c.add("node "+n.Name, "another node has that name")
		}
		named[n.Name] = true
		c.node(n, opsets)
	}
	if len(g.Outputs) == 0 {
		c.add("graph", "it has no output")
	}
	for i, v := range g.Outputs {
		switch {
		case v == nil:
			c.add("graph", "output %d is nil", i)
		case !c.given[v]:
			c.add("graph output "+v.Name, "nothing in the graph gives it")
		}
	}
}

// newestIR is the last IR version that is known here.
const newestIR = 14

func (c *checker) versions(m *Model) {
	if m.IRVersion < 1 || m.IRVersion > newestIR {
		c.add("model", "its IR version is %d, and 1 to %d are known", m.IRVersion, newestIR)
	}
	seen := map[string]bool{}
	for _, o := range m.Opsets {
		domain := plainDomain(o.Domain)
		if seen[domain] {
			c.add("model", "the operator set %q is imported twice", o.Domain)
		}
		if seen[domain] = true; o.Version < 1 {
			c.add("model", "the operator set %q is imported in version %d", o.Domain, o.Version)
		}
	}
	if len(m.Opsets) == 0 {
		c.add("model", "it imports no operator set")
	}
}

// define notes that v has its value from here on.
func (c *checker) define(v *Value, where string) {
	switch {
	case c.given[v]:
		c.add(where+" "+v.Name, "the value is given twice")
	case v.Name == "":
		c.add(where, "the value has no name")
	case c.names[v.Name] != nil:
		c.add(where+" "+v.Name, "another value has that name")
	}
	c.given[v], c.names[v.Name] = true, v
}

func (c *checker) init(v *Value, input bool) {
	where := "initializer " + v.Name
	if !input {
		c.define(v, "initializer")
	}
	if v.Data == nil {
		c.add(where, "it has no data")
		return
	}
	if err := v.Data.Check(); err != nil {
		c.add(where, "%v", err)
	}
	if v.Data.Type != v.Type || !v.Data.Shape().fits(v.Shape) {
		c.add(where, "its data is %v%v, the value is said to be %v%v", v.Data.Type, v.Data.Shape(), v.Type, v.Shape)
	}
}

// fits reports whether sizes that are known in both shapes agree.
func (s Shape) fits(t Shape) bool {
	if s == nil || t == nil {
		return true
	}
	return slices.EqualFunc(s, t, func(a, b Dim) bool { return !a.Known() || !b.Known() || a == b })
}

func (c *checker) node(n *Node, opsets func(domain string) int64) {
	where := "node " + n.Label()
	if n.Op == "" {
		c.add(where, "it has no operator")
	}
	if opsets(n.Domain) == 0 {
		c.add(where, "operator %s is of domain %q, which the model doesn't import", n.Op, n.Domain)
	}
	for _, v := range slices.Concat(n.Inputs, n.Captures) {
		if v != nil && !c.given[v] {
			c.add(where, "it reads %s, which nothing before it gives", v.Name)
		}
	}
	seen := map[string]bool{}
	for _, a := range n.Attrs {
		if seen[a.Name] {
			c.add(where, "it has two attributes %s", a.Name)
		}
		if seen[a.Name] = true; a.Name == "" {
			c.add(where, "an attribute has no name")
		}
		if t, ok := a.Value.(*Tensor); ok {
			if err := t.Check(); err != nil {
				c.add(where, "attribute %s: %v", a.Name, err)
			}
		}
	}
	if err := n.checkCaptures(); err != nil {
		c.add(where, "%v", err)
	}
	c.operator(n, opsets)
	for _, v := range n.Outputs {
		if v == nil {
			continue
		}
		if v.Node != n {
			c.add(where, "its output %s belongs to another node", v.Name)
		}
		c.define(v, "output of "+n.Label())
	}
}

// infer compares what inference finds, on a copy, with the values' own types
// and shapes.
func (c *checker) infer(g *Graph) {
	inferred, _ := g.Clone()
	for _, n := range inferred.Nodes {
		if err := Infer(n); err != nil {
			c.add("node "+n.Label(), "%v", errors.Unwrap(err))
			return
		}
	}
}
