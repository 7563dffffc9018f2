package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// How the classifier reads the tokens.
const (
	PoolToken     = "token"     // the class token
	PoolAverage   = "avg"       // their mean
	PoolMax       = "max"       // their maximum
	PoolAttention = "attention" // a learned query over all tokens
	PoolUnknown   = "unknown"
)

// FindOptions name what a graph has more than one of. The zero value names
// nothing.
type FindOptions struct {
	Image  string // the input
	Output string // the output that holds the logits
}

// Structure is what relevance needs to know of a graph.
type Structure struct {
	Image        *onnx.Value // input (B,channels,rows,columns)
	Logits       *onnx.Value // output (B,C)
	Classes      int64
	Attention    []Attention // in order of execution
	Grid         [2]int64    // patches: rows, columns
	Patch        [2]int64    // pixels of one: rows, columns
	Width        int64       // of the patch embedding; 0 where it isn't a Conv
	PrefixTokens int64       // tokens before the patches
	Pool         string
	Batch        int64 // where the graph fixes it, otherwise 0

	Problems []string // what stands in the way of finetuning, each with reason and advice
	Notes    []string // what is worth knowing
}

// Attention is one self-attention's map.
type Attention struct {
	Value      *onnx.Value // after softmax, as it multiplies the values: (B,H,N,N) or (B*H,N,N)
	Block      int         // equal for attentions that don't depend on one another
	Heads      int64
	Tokens     int64
	Transposed bool // keys are the last axis but one, queries the last
}

// Err is nil if the graph can be finetuned, otherwise an *Error with all
// problems.
func (s *Structure) Err() error {
	if len(s.Problems) == 0 {
		return nil
	}
	return &Error{Problem: "the model can't be finetuned: " + strings.Join(s.Problems, "; ")}
}

// Find looks for self-attention between all tokens, the patch grid and the
// classifier in a graph of the working dialect whose shapes are inferred and
// whose constants are folded. It goes by structure, never by names. What it
// doesn't find is among the problems; an error means that an option names
// nothing.
func Find(g *onnx.Graph, opt FindOptions) (*Structure, error) {
	f := &finder{g: g, s: &Structure{Pool: PoolUnknown}, uses: g.Uses(), data: map[*onnx.Value]bool{}}
	if err := f.ends(opt); err != nil {
		return nil, err
	}
	if f.s.Image == nil {
		return f.s, nil
	}
	f.attentions()
	f.patches()
	if f.s.Logits != nil {
		f.head()
	}
	f.fixed()
	return f.s, nil
}

// finder is a structure on its way out of a graph.
type finder struct {
	g     *onnx.Graph
	s     *Structure
	uses  map[*onnx.Value][]*onnx.Node
	data  map[*onnx.Value]bool // values that depend on the picture's pixels
	needs map[*onnx.Value]bool // values on which the logits depend
	near  []nearMiss           // softmaxes that are no attention
}

func (f *finder) problem(format string, args ...any) {
	f.s.Problems = append(f.s.Problems, fmt.Sprintf(format, args...))
}

func (f *finder) note(format string, args ...any) {
	f.s.Notes = append(f.s.Notes, fmt.Sprintf(format, args...))
}

// ends finds the image input and the logits output.
func (f *finder) ends(opt FindOptions) error {
	var images []*onnx.Value
	for _, v := range f.g.Inputs {
		if opt.Image != "" && v.Name != opt.Image {
			continue
		}
		if v.Data == nil && v.Type.IsFloat() && len(v.Shape) == 4 && channels(v.Shape[1]) {
			images = append(images, v)
		}
	}
	switch {
	case opt.Image != "" && len(images) == 0:
		return &Error{Usage: true, Problem: fmt.Sprintf("the graph has no image input %q; inputs: %s", opt.Image, list(f.g.Inputs))}
	case len(images) == 0:
		f.problem("no input is a picture (batch,channels,rows,columns) of float type, found %s: export the model with such an input", list(f.g.Inputs))
		return nil
	}
	f.s.Image = images[0]
	f.spread(images[0])
	if len(images) > 1 {
		f.note("of the inputs %s the first is taken for the image", list(images))
	}
	return f.logits(opt)
}

func (f *finder) logits(opt FindOptions) error {
	var found []*onnx.Value
	for _, v := range f.g.Outputs {
		if opt.Output != "" && v.Name != opt.Output {
			continue
		}
		if v.Type.IsFloat() && len(v.Shape) == 2 && f.data[v] && !v.Shape[1].Is(1) {
			found = append(found, v)
		}
	}
	switch {
	case opt.Output != "" && len(found) == 0:
		return &Error{Usage: true, Problem: fmt.Sprintf("the graph has no output %q of shape (batch,classes); outputs: %s", opt.Output, list(f.g.Outputs))}
	case len(found) == 0:
		f.problem("no classifier: no output has shape (batch,classes), found %s: export the model with its classification head", list(f.g.Outputs))
		f.needs = ancestors(f.g.Outputs...)
		return nil
	}
	f.s.Logits = found[0]
	if d := found[0].Shape[1]; d.Known() {
		f.s.Classes = d.N
	}
	if len(found) > 1 {
		f.note("of the outputs %s the first is taken for the logits", list(found))
	}
	f.needs = ancestors(f.s.Logits)
	return nil
}

// channels reports whether a dimension can be that of a picture's channels.
func channels(d onnx.Dim) bool { return !d.Known() || (d.N >= 1 && d.N <= 4) }

// spread marks what depends on v's elements.
func (f *finder) spread(v *onnx.Value) {
	f.data[v] = true
	for _, n := range f.g.Nodes {
		if n.Op == "Shape" || n.Op == "Size" || !slices.ContainsFunc(n.Inputs, func(v *onnx.Value) bool { return v != nil && f.data[v] }) {
			continue
		}
		for _, o := range n.Outputs {
			if o != nil {
				f.data[o] = true
			}
		}
	}
}

// ancestors is what the values depend on, themselves included.
func ancestors(vs ...*onnx.Value) map[*onnx.Value]bool {
	seen := map[*onnx.Value]bool{}
	stack := slices.Clone(vs)
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if v == nil || seen[v] {
			continue
		}
		seen[v] = true
		if v.Node != nil {
			stack = append(stack, v.Node.Inputs...)
		}
	}
	return seen
}

// fixed reports a batch or image size that the graph fixes or leaves open.
func (f *finder) fixed() {
	shape := f.s.Image.Shape
	if shape[0].Known() {
		f.s.Batch = shape[0].N
		f.note("the batch size is fixed at %d: the model is used at that size; export it with a dynamic batch axis for another", f.s.Batch)
	}
	if !shape[2].Known() || !shape[3].Known() {
		f.problem("the image size is open (%v), so the patch grid isn't known: export the model with a fixed image size", shape)
	}
	if f.s.Pool == PoolAverage {
		f.note("the classifier reads the mean of the tokens: relevance starts from the mean over the patches' rows instead of the class token's")
	}
}

// list prints values for messages, the first few.
func list(vs []*onnx.Value) string {
	const most = 6
	var parts []string
	for i, v := range vs {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(vs)-most))
			break
		}
		parts = append(parts, v.String())
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}
