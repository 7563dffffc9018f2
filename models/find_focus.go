package models

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// Focus is how the ends of a graph were changed to the one form on which
// relevance and losses are emitted.
type Focus struct {
	Input        string   // the picture, which keeps its name
	ChannelsLast bool     // the file's is (B,rows,columns,channels)
	Size         [2]int64 // given to a picture whose size the file leaves open, else zeros
	Output       string   // the file's output that the logits lead to
	Behind       string   // operator between the two, such as Softmax; empty if there is none
	Changed      bool     // the graph's inputs or outputs aren't the file's
	Notes        []string
}

// FocusOn reduces a prepared graph to what leads from the picture, its first
// input, then (B,channels,rows,columns) of known size, to the logits, its only
// output, then (B,C): a last softmax is left out, and so are other outputs, the
// inputs that they alone need, and what a text tower computes. Where picture or
// logits aren't found the graph stays as it is, and Find says why. An error
// means that an option doesn't fit the graph, or that it can't have the size.
func FocusOn(g *onnx.Graph, opt FindOptions) (*Focus, error) {
	f := newFinder(g, opt)
	if err := f.ends(); err != nil {
		return nil, err
	}
	focus := &Focus{}
	if f.s.Image == nil {
		return focus, nil
	}
	focus.Input, focus.ChannelsLast = f.s.Image.Name, f.s.ChannelsLast
	if err := f.resolve(focus); err != nil {
		return nil, err
	}
	if f.s.ChannelsLast {
		f.channelsFirst()
		focus.Changed = true
		focus.note("pictures are (batch,rows,columns,channels) in the file")
	}
	if f.s.Logits == nil {
		return focus, nil
	}
	focus.Output, focus.Behind = f.s.Output.Name, f.behind
	if f.s.Output != f.s.Logits || len(f.g.Outputs) > 1 {
		focus.Changed = true
		focus.Notes = append(focus.Notes, f.s.Notes...)
	}
	logits := f.s.Logits
	if len(logits.Shape) == 4 {
		b := onnx.NewBuilder(g)
		logits = b.Op("Flatten", nil, logits)
		if err := b.Err(); err != nil {
			return nil, fmt.Errorf("flattening the logits: %w", err)
		}
		focus.Changed = true
	}
	g.Outputs = []*onnx.Value{logits}
	g.Prune()
	f.inputs()
	return focus, nil
}

// Options are those for the focused graph: a stated output is its only one now.
func (o *Focus) Options(opt FindOptions, g *onnx.Graph) FindOptions {
	opt.Image = o.Input
	if opt.Output != "" && o.Output != "" {
		opt.Output = g.Outputs[0].Name
	}
	return opt
}

func (o *Focus) note(format string, args ...any) {
	o.Notes = append(o.Notes, fmt.Sprintf(format, args...))
}

// inputs puts the picture first and leaves out inputs that nothing reads.
func (f *finder) inputs() {
	uses := f.g.Uses()
	image := f.g.Inputs[slices.IndexFunc(f.g.Inputs, func(v *onnx.Value) bool { return v.Name == f.s.Image.Name })]
	kept := []*onnx.Value{image}
	for _, v := range f.g.Inputs {
		if v != image && (len(uses[v]) > 0 || v.Data != nil) {
			kept = append(kept, v)
		}
	}
	f.g.Inputs = kept
}

// channelsFirst puts a Transpose behind a picture (B,rows,columns,channels), so
// that the graph takes (B,channels,rows,columns) under the same name.
func (f *finder) channelsFirst() {
	old := f.s.Image
	name, s := old.Name, old.Shape
	f.g.Rename(old, name+"/channels_last")
	image := f.g.AddInput(name, old.Type, onnx.Shape{s[0], s[3], s[1], s[2]})
	f.g.Inputs = slices.DeleteFunc(f.g.Inputs, func(v *onnx.Value) bool { return v == image })
	f.g.Inputs[slices.Index(f.g.Inputs, old)] = image
	n := &onnx.Node{Name: old.Name, Op: "Transpose", Attrs: []onnx.Attr{{Name: "perm", Value: []int64{0, 2, 3, 1}}},
		Inputs: []*onnx.Value{image}, Outputs: []*onnx.Value{old}}
	old.Node = n
	f.g.Nodes = slices.Insert(f.g.Nodes, 0, n)
	f.s.Image = image
}

// resolve fixes the size of a picture that is open in the graph.
func (f *finder) resolve(focus *Focus) error {
	size, shape := f.size(), f.s.Image.Shape
	if size[0].Known() && size[1].Known() {
		return nil
	}
	want, from := f.pictureSize()
	if want == [2]int64{} {
		return nil
	}
	sizes := map[string]int64{}
	for i, d := range size {
		switch {
		case d.Known() && d.N == want[i]:
		case d.Sym != "" && d.Sym != shape[0].Sym && want[i]%d.N == 0 && (sizes[d.Sym] == 0 || sizes[d.Sym] == want[i]/d.N):
			sizes[d.Sym] = want[i] / d.N
		default:
			return &Error{Usage: true, Problem: fmt.Sprintf("the picture %v can't be of %dx%d pixels", f.s.Image, want[0], want[1])}
		}
	}
	if c := shape[1]; !f.s.ChannelsLast && c.Sym != "" && c.N == 1 && sizes[c.Sym] == 0 && c.Sym != shape[0].Sym {
		sizes[c.Sym] = f.channels()
	}
	open := f.s.Image.String()
	if err := passes.Resolve(f.g, sizes); err != nil {
		return &Error{Problem: fmt.Sprintf("the picture %s can't be of %dx%d pixels", open, want[0], want[1]), Advice: "state another --image-size", Err: err}
	}
	focus.Size, focus.Changed = want, true
	focus.note("the size of pictures is open in the file: %dx%d is taken, %s", want[0], want[1], from)
	// what was found before may be folded away now
	fresh := newFinder(f.g, f.opt)
	fresh.opt.Image = f.s.Image.Name
	if err := fresh.ends(); err != nil {
		return err
	}
	*f = *fresh
	return nil
}

// pictureSize is the size that an open picture gets, and where it is from.
func (f *finder) pictureSize() (size [2]int64, from string) {
	stride := f.stride()
	switch {
	case f.opt.ImageSize != [2]int64{}:
		return f.opt.ImageSize, "as stated"
	case f.opt.Grid != [2]int64{} && stride[0] > 0:
		return [2]int64{f.opt.Grid[0] * stride[0], f.opt.Grid[1] * stride[1]}, "the stated grid's"
	case stride[0] > 0:
		if n := f.positions(); n > 0 {
			return [2]int64{n * stride[0], n * stride[1]}, "the position embedding's; state another by --image-size"
		}
	}
	return [2]int64{}, ""
}

// stride is that of the first Conv that reads the picture, zeros if none does.
func (f *finder) stride() [2]int64 {
	if conv := f.firstConv(); conv != nil {
		if s := conv.Ints("strides"); len(s) == 2 {
			return [2]int64{s[0], s[1]}
		}
	}
	return [2]int64{}
}

func (f *finder) firstConv() *onnx.Node {
	i := slices.IndexFunc(f.g.Nodes, func(n *onnx.Node) bool { return n.Op == "Conv" && f.data[n.In(0)] })
	if i < 0 {
		return nil
	}
	return f.g.Nodes[i]
}

// channels is the number of channels that the first Conv reads, 3 if unknown.
func (f *finder) channels() int64 {
	if conv := f.firstConv(); conv != nil {
		if w := conv.In(1); w != nil && len(w.Shape) == 4 && w.Shape[1].Known() {
			return w.Shape[1].N * conv.Int("group", 1)
		}
	}
	return 3
}

// positions is the side of the square grid for which the graph has a position
// embedding (1,N,D) or (N,D), D the patch embedding's width; 0 if it has none.
func (f *finder) positions() int64 {
	conv := f.firstConv()
	if conv == nil || len(conv.Out(0).Shape) != 4 || !conv.Out(0).Shape[1].Known() {
		return 0
	}
	prefixes := []int64{1, 0, 2, 3, 4, 5}
	if f.opt.PrefixTokens != nil {
		prefixes = []int64{*f.opt.PrefixTokens}
	}
	for _, v := range f.g.Inits {
		d := v.Data.Dims
		switch {
		case !v.Type.IsFloat():
			continue
		case len(d) == 3 && d[0] == 1:
			d = d[1:]
		case len(d) == 2 && slices.ContainsFunc(f.uses[v], func(n *onnx.Node) bool { return n.Op == "Add" || n.Op == "Gather" }):
		default:
			continue
		}
		if d[1] != conv.Out(0).Shape[1].N {
			continue
		}
		for _, prefix := range prefixes {
			for side := int64(2); side*side <= d[0]-prefix; side++ {
				if side*side == d[0]-prefix {
					return side
				}
			}
		}
	}
	return 0
}
