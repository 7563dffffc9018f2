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
	problems []Problem
	given    map[*Value]bool   // values defined so far
	names    map[string]*Value // which value has a name
}

func (c *checker) add(where, format string, args ...any) {
	c.problems = append(c.problems, Problem{where, fmt.Sprintf(format, args...)})
}

// Check applies the structural rules of ONNX's own checker: imported operator
// sets, unique names, single assignment, order of nodes, defined inputs, data
// that fit their types, and, for models in the working dialect, types and
// shapes by inference.
func Check(m *Model) []Problem {
	c := &checker{given: map[*Value]bool{}, names: map[string]*Value{}}
	if m.Graph == nil {
		c.add("model", "it has no graph")
		return c.problems
	}
	c.opsets(m)
	g := m.Graph
	for _, v := range g.Inputs {
		if c.define(v, "graph input"); v.Type == Undefined {
			c.add("graph input "+v.Name, "it has no tensor type")
		}
	}
	for _, v := range g.Inits {
		c.init(v, slices.Contains(g.Inputs, v))
	}
	for _, n := range g.Nodes {
		c.node(n, m)
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
	if len(c.problems) == 0 && m.OpsetVersion("") == Dialect {
		c.infer(g)
	}
	return c.problems
}

func (c *checker) opsets(m *Model) {
	seen := map[string]bool{}
	for _, o := range m.Opsets {
		domain := o.Domain
		if domain == "ai.onnx" {
			domain = ""
		}
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

func (c *checker) node(n *Node, m *Model) {
	where := "node " + n.Label()
	if n.Op == "" {
		c.add(where, "it has no operator")
	}
	if m.OpsetVersion(n.Domain) == 0 {
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
