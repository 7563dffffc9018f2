package onnx

import "fmt"

// subgraphs are the graphs that a node's attributes hold. They are decoded when
// they are asked for: most are only carried.
type subgraphs struct {
	doc    *Document
	protos map[string]*message // by attribute
	names  []string            // of the values in them
}

// Branch decodes the graph that an attribute of the node holds, nil where there
// is none. Its inputs are the values of the graphs around it that it reads.
func (n *Node) Branch(attr string) (*Graph, error) {
	if n.inner == nil || n.inner.protos[attr] == nil {
		return nil, nil
	}
	d := n.inner.doc
	g, err := d.branch(n.inner.protos[attr])
	if err != nil {
		return nil, d.fail(fmt.Errorf("node %s, attribute %s: %w", n.Label(), attr, err))
	}
	return g, nil
}

func (d *Document) branch(proto *message) (*Graph, error) {
	if own := proto.subs(graphInput); len(own) > 0 {
		return nil, faultAt(own[0], "graph.input", "a branch takes no inputs of its own")
	}
	return d.decode(proto, proto.captured(nil))
}

// enclose notes a graph that an attribute of n holds.
func (n *Node) enclose(d *Document, attr string, proto *message) {
	if n.inner == nil {
		n.inner = &subgraphs{doc: d, protos: map[string]*message{}}
	}
	n.inner.protos[attr] = proto
	n.inner.names = append(n.inner.names, proto.names()...)
}
