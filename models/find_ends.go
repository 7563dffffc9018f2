package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// ends finds the picture and the logits.
func (f *finder) ends() error {
	var images []*onnx.Value
	for _, v := range f.g.Inputs {
		if f.opt.Image != "" && v.Name != f.opt.Image {
			continue
		}
		if _, ok := pictureLayout(v.Shape); ok && v.Data == nil && v.Type.IsFloat() {
			images = append(images, v)
		}
	}
	switch {
	case f.opt.Image != "" && len(images) == 0:
		return &Error{Usage: true, Problem: fmt.Sprintf("the graph has no image input %q; inputs: %s", f.opt.Image, list(f.g.Inputs))}
	case len(images) == 0:
		f.problem("%s", noPicture(f.g.Inputs))
		return nil
	}
	f.control()
	f.s.Image = images[0]
	f.s.ChannelsLast, _ = pictureLayout(images[0].Shape)
	f.spread(images[0])
	if len(images) > 1 {
		f.note("of the inputs %s the first is taken for the picture", list(images))
	}
	return f.logits()
}

// control reports the first node whose work is hidden in a graph of its own.
func (f *finder) control() {
	for _, n := range f.g.Nodes {
		for _, a := range n.Attrs {
			if _, ok := a.Value.(onnx.Opaque); ok {
				f.problem("node %s (%s) holds a subgraph (%s), into which relevit doesn't look: export the model without control flow, by static shapes, or simplify it with onnxsim", n.Label(), n.Op, a.Name)
				return
			}
		}
	}
}

// noPicture says why no input is a picture.
func noPicture(inputs []*onnx.Value) string {
	for _, v := range inputs {
		if _, ok := pictureLayout(v.Shape); ok && v.Type == onnx.Uint8 {
			return fmt.Sprintf("the picture %v holds bytes, which the graph scales itself: export the model with a float input and leave scaling and normalization outside", v)
		}
		if len(v.Shape) == 5 {
			return fmt.Sprintf("input %v has five dimensions, as videos and volumes have: relevit works on pictures (batch,channels,rows,columns)", v)
		}
	}
	return fmt.Sprintf("no input is a picture (batch,channels,rows,columns) of float type, found %s: export the model with such an input", list(inputs))
}

// pictureLayout reports whether a shape can be that of pictures, and whether
// channels come last.
func pictureLayout(s onnx.Shape) (last, ok bool) {
	if len(s) != 4 {
		return false, false
	}
	channels := func(d onnx.Dim) bool { return d.Known() && d.N >= 1 && d.N <= 4 }
	if !channels(s[1]) && channels(s[3]) {
		return true, true
	}
	return false, channels(s[1]) || !s[1].Known()
}

// candidate is an output that may hold the logits.
type candidate struct {
	output *onnx.Value
	logits *onnx.Value // the output, or what a last softmax or reshape is of
	behind string      // operator between the two that isn't undone by itself
	reason string      // why it is no linear layer's; empty if it is
}

// logits chooses the output that holds the logits: one of a linear layer before
// others, and one whose name says so before equals.
func (f *finder) logits() error {
	var found []candidate
	for _, v := range f.g.Outputs {
		if f.opt.Output != "" && v.Name != f.opt.Output {
			continue
		}
		if v.Type.IsFloat() && f.data[v] && classes(v.Shape) != nil {
			found = append(found, f.candidate(v))
		}
	}
	switch {
	case f.opt.Output != "" && len(found) == 0:
		return &Error{Usage: true, Problem: fmt.Sprintf("the graph has no output %q of shape (batch,classes); outputs: %s", f.opt.Output, list(f.g.Outputs))}
	case len(found) == 0:
		f.headless("no classifier: no output has shape (batch,classes), found %s: export the model with its classification head", list(f.g.Outputs))
		f.needs = ancestors(f.g.Outputs...)
		return nil
	}
	best := slices.MaxFunc(found, func(a, b candidate) int { return a.rank() - b.rank() })
	f.s.Output, f.s.Logits, f.behind = best.output, best.logits, best.behind
	f.needs = ancestors(best.logits)
	switch stated := f.opt.Output != ""; {
	case best.reason != "" && stated && len(f.g.Outputs) == 1:
		f.note("%s: its numbers are taken for logits, as stated", best.reason)
	case best.reason != "" && !stated:
		f.headless("no classifier: %s: it seems to hold features; export the model with its classification head", best.reason)
	}
	switch c := classes(best.logits.Shape); {
	case c.Is(1):
		f.s.single = fmt.Sprintf("output %v has one number a picture, as a regression has: finetuning is of classes; export a classifier of two or more", best.output)
		f.headless("%s", f.s.single)
	case c.Known() && (best.reason == "" || f.opt.Output != ""):
		f.s.Classes = c.N
	}
	if len(f.g.Outputs) > 1 && f.opt.Output == "" {
		f.note("of the outputs %s, %s is taken for the logits", list(f.g.Outputs), best.output.Name)
	}
	if best.behind != "" {
		f.note("output %s is behind a %s: relevance and losses are of the logits before it", best.output.Name, best.behind)
	}
	f.others()
	return nil
}

// others reports inputs besides the picture that the logits need.
func (f *finder) others() {
	var inputs []*onnx.Value
	advice := "export the model with the picture as its only input"
	for _, v := range f.g.Inputs {
		if v == f.s.Image || v.Data != nil || !f.needs[v] {
			continue
		}
		if inputs = append(inputs, v); v.Type == onnx.Int64 || v.Type == onnx.Int32 {
			advice = "export the image tower with its classifier, the embeddings of the classes' prompts as a constant, " +
				"or state an output that the picture alone gives (--logits)"
		}
	}
	if len(inputs) > 0 {
		f.headless("the logits %s need %s besides the picture: %s", f.s.Output.Name, list(inputs), advice)
	}
}

// classes is the dimension of classes in a shape (B,C) or (B,C,1,1), nil if it
// is neither.
func classes(s onnx.Shape) *onnx.Dim {
	if len(s) == 2 || (len(s) == 4 && s[2].Is(1) && s[3].Is(1)) {
		return &s[1]
	}
	return nil
}

// rank orders candidates; MaxFunc takes the first of equals.
func (c candidate) rank() int {
	rank := 0
	if c.reason == "" {
		rank += 4
	}
	if !classes(c.logits.Shape).Is(1) {
		rank += 2
	}
	if strings.Contains(strings.ToLower(c.output.Name), "logit") {
		rank++
	}
	return rank
}

// candidate walks back from an output to the logits.
func (f *finder) candidate(v *onnx.Value) candidate {
	c := candidate{output: v, logits: v}
	for at := v; at.Node != nil && c.behind == ""; {
		n := at.Node
		in, _, soft := softmax(n)
		switch {
		case n.Domain != "":
		case n.Op == "Identity" || n.Op == "Cast" || reshapes(n):
			at = n.In(0)
			if classes(at.Shape) != nil && n.Op != "Cast" {
				c.logits = at
			}
			continue
		case soft:
			c.behind = "Softmax"
		case n.Op == "LogSoftmax" || n.Op == "Sigmoid":
			c.behind, in = n.Op, n.In(0)
		}
		if c.behind == "" || classes(in.Shape) == nil {
			c.behind = ""
			break
		}
		c.logits = in
	}
	c.reason = f.features(c.output, c.logits)
	return c
}

// reshapes reports whether a node only changes the shape.
func reshapes(n *onnx.Node) bool {
	return n.Domain == "" && slices.Contains([]string{"Reshape", "Flatten", "Squeeze", "Unsqueeze"}, n.Op)
}

// featureNames are parts of the names that exporters give to outputs which
// aren't logits, though a linear layer may give them.
var featureNames = []string{"embed", "hidden_state", "pooler", "feature"}

// features says why the values of an output are no linear layer's, empty if
// they are.
func (f *finder) features(output, v *onnx.Value) string {
	for _, name := range featureNames {
		if f.opt.Output == "" && strings.Contains(strings.ToLower(output.Name), name) {
			return fmt.Sprintf("output %s has the name of features", output.Name)
		}
	}
	for v.Node != nil {
		n := v.Node
		i := slices.IndexFunc(n.Inputs, func(in *onnx.Value) bool { return f.data[in] })
		switch n.Op {
		case "MatMul", "Gemm", "Conv", "Einsum":
			return ""
		case "Add", "Sub", "Mul", "Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Sum", "Mean", "Clip", "Transpose":
			v = n.Inputs[i]
			continue
		case "Div":
			if i == 0 && !f.data[n.In(1)] {
				v = n.Inputs[0]
				continue
			}
			return fmt.Sprintf("output %s is divided by what depends on the picture (node %s)", output.Name, n.Label())
		}
		return fmt.Sprintf("output %s comes from node %s (%s), not from a linear layer", output.Name, n.Label(), n.Op)
	}
	return fmt.Sprintf("output %s is the picture", output.Name)
}

// softmax reads a node that ends a softmax, the operator or its spelling
// Exp(x) / ReduceSum(Exp(x)): what it is of, and along which axis.
func softmax(n *onnx.Node) (in *onnx.Value, axis int, ok bool) {
	out := n.Out(0)
	if n.Domain != "" || out == nil || out.Shape == nil {
		return nil, 0, false
	}
	rank := len(out.Shape)
	if n.Op == "Softmax" {
		axis = int(n.Int("axis", -1))
		return n.In(0), (axis + rank) % max(rank, 1), axis >= -rank && axis < rank
	}
	if n.Op != "Div" || !n.In(0).Is("Exp") || !n.In(1).Is("ReduceSum") {
		return nil, 0, false
	}
	sum := n.In(1).Node
	axes, known := constants(sum.In(1))
	if sum.In(0) != n.In(0) || !known || len(axes) != 1 || sum.Int("keepdims", 1) != 1 {
		return nil, 0, false
	}
	axis = int(axes[0])
	return n.In(0).Node.In(0), (axis + rank) % max(rank, 1), axis >= -rank && axis < rank
}
