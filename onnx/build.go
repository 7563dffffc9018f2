package onnx

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// Builder appends nodes to a graph in the working dialect and infers what they
// give. It never emits the same computation twice: a node that equals an
// earlier one by operator, attributes and inputs is that earlier one, so that
// callers need not remember what they have already computed.
//
// The first failure sticks: later calls return placeholder values, and Err
// tells what went wrong. Check it once, after building.
type Builder struct {
	Graph  *Graph
	Repeat bool // emit the same computation as often as it is asked for

	scope  string
	err    error
	made   map[string]*Node
	consts map[string]*Value
	ids    map[*Value]int
	notes  map[*Value]any
}

// NewBuilder returns a builder that appends to g. Nodes already in g are not
// emitted again.
func NewBuilder(g *Graph) *Builder {
	b := &Builder{Graph: g, made: map[string]*Node{}, consts: map[string]*Value{}, ids: map[*Value]int{}, notes: map[*Value]any{}}
	for _, n := range g.Nodes {
		b.made[b.key(n, len(n.Outputs))] = n
	}
	return b
}

// Err returns the first failure since the builder was made.
func (b *Builder) Err() error { return b.err }

// Fail records a failure, unless an earlier one is recorded.
func (b *Builder) Fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// In sets the scope that prefixes the names of values emitted from now on, and
// returns the former one.
func (b *Builder) In(scope string) (former string) {
	former, b.scope = b.scope, scope
	return former
}

// Op emits a node with one output and returns it. Nil inputs are left out.
func (b *Builder) Op(op string, attrs []Attr, inputs ...*Value) *Value {
	return b.Ops(op, 1, attrs, inputs...)[0]
}

// Ops emits a node with the given number of outputs.
func (b *Builder) Ops(op string, outputs int, attrs []Attr, inputs ...*Value) []*Value {
	for len(inputs) > 0 && inputs[len(inputs)-1] == nil {
		inputs = inputs[:len(inputs)-1]
	}
	n := &Node{Op: op, Attrs: attrs, Inputs: inputs, Outputs: make([]*Value, outputs)}
	key := b.key(n, outputs)
	if twin, ok := b.made[key]; ok && !b.Repeat {
		return twin.Outputs
	}
	base := b.name(op)
	for i := range n.Outputs {
		name := base
		if i > 0 {
			name = fmt.Sprintf("%s.%d", base, i)
		}
		n.Outputs[i] = &Value{Name: b.Graph.Fresh(name), Node: n}
	}
	n.Name = n.Outputs[0].Name
	if b.err == nil {
		if err := Infer(n); err != nil {
			b.err = err
		}
	}
	b.made[key] = n
	b.Graph.Nodes = append(b.Graph.Nodes, n)
	return n.Outputs
}

// Note remembers of a value what its nodes don't tell.
func (b *Builder) Note(v *Value, note any) { b.notes[v] = note }

// Noted is what was noted of a value, or nil.
func (b *Builder) Noted(v *Value) any { return b.notes[v] }

// Named gives v the name (made unique in the graph) and returns it.
func (b *Builder) Named(name string, v *Value) *Value {
	b.Graph.Rename(v, name)
	if v.Node != nil && len(v.Node.Outputs) == 1 {
		v.Node.Name = v.Name
	}
	return v
}

// Const returns an initializer with that content; equal small tensors share one.
func (b *Builder) Const(t *Tensor) *Value {
	const shared = 1 << 14
	key := ""
	if len(t.Raw) <= shared && t.Type != String {
		key = fmt.Sprint(t.Type, t.Dims, " ") + string(t.Raw)
		if v, ok := b.consts[key]; ok {
			return v
		}
	}
	v := b.Graph.AddInit(b.name("const"), t)
	if key != "" {
		b.consts[key] = v
	}
	return v
}

func (b *Builder) name(op string) string {
	base := strings.ToLower(op)
	if b.scope != "" {
		base = b.scope + "/" + base
	}
	return base
}

// key identifies what a node computes.
func (b *Builder) key(n *Node, outputs int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s.%s:%d", n.Domain, n.Op, outputs)
	for _, v := range n.Inputs {
		fmt.Fprintf(&s, ",%d", b.id(v))
	}
	attrs := slices.Clone(n.Attrs)
	slices.SortFunc(attrs, func(x, y Attr) int { return strings.Compare(x.Name, y.Name) })
	for _, a := range attrs {
		if t, ok := a.Value.(*Tensor); ok {
			fmt.Fprintf(&s, ";%s=%v%v%x%q", a.Name, t.Type, t.Dims, sha256.Sum256(t.Raw), t.Strings)
		} else {
			fmt.Fprintf(&s, ";%s=%#v", a.Name, a.Value)
		}
	}
	if len(n.Captures) > 0 || n.Op == "RandomNormal" || n.Op == "RandomUniform" {
		fmt.Fprintf(&s, ";%p", n)
	}
	return s.String()
}

func (b *Builder) id(v *Value) int {
	if v == nil {
		return 0
	}
	if _, ok := b.ids[v]; !ok {
		b.ids[v] = len(b.ids) + 1
	}
	return b.ids[v]
}
