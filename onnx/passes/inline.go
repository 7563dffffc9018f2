package passes

import (
	"errors"
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// The largest graph and the deepest nesting that functions may unfold to.
const (
	inlineNodes = 1 << 17
	inlineDepth = 64
	inlineName  = 200 // bytes of a name within an inlined body
)

// Inline puts the bodies of model-local functions in place of the nodes that
// call them, and those of the functions that they call. The graph, of that
// ai.onnx opset, isn't inferred. Functions that have no end or unfold without
// measure are an *onnx.FormatError, those that hold control flow a *RaiseError.
func Inline(g *onnx.Graph, functions []*onnx.Function, opset int64) error {
	if len(functions) == 0 {
		return nil
	}
	in := &inlining{g: g, opset: opset, functions: map[[2]string]*onnx.Function{}}
	for _, f := range functions {
		key := functionKey(f.Domain, f.Name)
		if in.functions[key] != nil {
			return &RaiseError{Opset: opset, Reason: "there are two functions " + f.Name +
				"; overloads aren't understood: inline them on export"}
		}
		in.functions[key] = f
	}
	nodes := g.Nodes
	g.Nodes = make([]*onnx.Node, 0, len(nodes))
	for _, n := range nodes {
		err := in.node(n, nil)
		if beyond := (*onnx.FormatError)(nil); errors.As(err, &beyond) {
			return err
		}
		if err != nil {
			return &RaiseError{Node: n.Label(), Op: n.Op, Opset: opset, Reason: err.Error()}
		}
	}
	return nil
}

type inlining struct {
	g         *onnx.Graph
	functions map[[2]string]*onnx.Function
	opset     int64
	visited   int
}

func functionKey(domain, name string) [2]string {
	if domain == "ai.onnx" {
		domain = ""
	}
	return [2]string{domain, name}
}

// node appends n to the graph, or what it calls. Stack are the functions that
// n lies in.
func (in *inlining) node(n *onnx.Node, stack []*onnx.Function) error {
	in.visited++
	if in.visited > inlineNodes {
		return beyondMeasure("node "+n.Label(), fmt.Sprintf("the functions unfold to more than %d nodes", inlineNodes))
	}
	f := in.functions[functionKey(n.Domain, n.Op)]
	if f == nil {
		in.g.Nodes = append(in.g.Nodes, n)
		return nil
	}
	if slices.Contains(stack, f) || len(stack) >= inlineDepth {
		return beyondMeasure("node "+n.Label(), fmt.Sprintf("function %s calls itself, or functions are nested deeper than %d", f.Name, inlineDepth))
	}
	if err := in.fits(n, f); err != nil {
		return err
	}
	return in.body(n, f, append(slices.Clip(stack), f))
}

// fits checks a call against its function.
func (in *inlining) fits(n *onnx.Node, f *onnx.Function) error {
	if len(n.Inputs) > len(f.Body.Inputs) || len(n.Outputs) > len(f.Body.Outputs) {
		return fmt.Errorf("node %s has %d inputs and %d outputs, but function %s has %d and %d",
			n.Label(), len(n.Inputs), len(n.Outputs), f.Name, len(f.Body.Inputs), len(f.Body.Outputs))
	}
	for _, o := range f.Opsets {
		if o.Domain != "" && o.Domain != "ai.onnx" {
			continue
		}
		for _, b := range f.Body.Nodes {
			for _, r := range raisings[b.Op] {
				here, there := in.opset >= r.from && in.opset < r.below, o.Version >= r.from && o.Version < r.below
				if b.Domain == "" && here != there {
					return fmt.Errorf("function %s is of opset %d, the graph of %d, and %s differs between them: inline functions on export",
						f.Name, o.Version, in.opset, b.Op)
				}
			}
		}
	}
	return nil
}

// body appends a copy of f's body that takes and gives what n does.
func (in *inlining) body(n *onnx.Node, f *onnx.Function, stack []*onnx.Function) error {
	now := map[*onnx.Value]*onnx.Value{}
	for i, v := range f.Body.Inputs {
		now[v] = n.In(i)
	}
	var copies []*onnx.Node // outputs that are inputs, or each other
	for i, v := range f.Body.Outputs {
		out := n.Out(i)
		if out == nil {
			continue
		}
		if _, taken := now[v]; taken {
			out.Node = &onnx.Node{Name: out.Name, Op: "Identity", Inputs: []*onnx.Value{now[v]}, Outputs: []*onnx.Value{out}}
			copies = append(copies, out.Node)
			continue
		}
		now[v] = out
	}
	prefix := n.Label()
	for _, b := range f.Body.Nodes {
		c := &onnx.Node{Name: inlinedName(prefix, b.Label()), Op: b.Op, Domain: b.Domain, Inputs: make([]*onnx.Value, len(b.Inputs))}
		for i, v := range b.Inputs {
			c.Inputs[i] = now[v]
		}
		for _, v := range b.Outputs {
			if v != nil && now[v] == nil {
				now[v] = &onnx.Value{Name: in.g.Fresh(inlinedName(prefix, v.Name)), Type: v.Type, Shape: v.Shape.Clone()}
			}
			out := now[v]
			if v == nil {
				out = nil
			} else {
				out.Node = c
			}
			c.Outputs = append(c.Outputs, out)
		}
		var err error
		if c.Attrs, err = bound(n, f, b); err != nil {
			return err
		}
		if err := in.node(c, stack); err != nil {
			return err
		}
	}
	for _, c := range copies {
		if c.Inputs[0] == nil {
			return fmt.Errorf("node %s: function %s passes on an input that the node doesn't give", n.Label(), f.Name)
		}
		if err := in.node(c, stack); err != nil {
			return err
		}
	}
	return nil
}

// inlinedName is the name of what lies in the body of node prefix.
func inlinedName(prefix, name string) string {
	name = prefix + "/" + name
	return name[:min(len(name), inlineName)]
}

// bound are a body node's attributes with the calling node's in place of
// references; one that neither the call nor a default gives is left out.
func bound(n *onnx.Node, f *onnx.Function, b *onnx.Node) ([]onnx.Attr, error) {
	var out []onnx.Attr
	for _, a := range b.Attrs {
		switch ref := a.Value.(type) {
		case onnx.Opaque:
			return nil, fmt.Errorf("node %s of function %s holds a subgraph (%s); export without control flow", b.Label(), f.Name, a.Name)
		case onnx.AttrRef:
			a.Value = n.Attr(string(ref))
			for _, d := range f.Attrs {
				if a.Value == nil && d.Name == string(ref) {
					a.Value = d.Value
				}
			}
		}
		if a.Value != nil {
			out = append(out, a)
		}
	}
	return out, nil
}
