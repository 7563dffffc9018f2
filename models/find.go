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

// FindOptions say what a graph has more than one of, or what can't be told from
// it. The zero value says nothing.
type FindOptions struct {
	Image     string   // the input
	Output    string   // the output that holds the logits
	ImageSize [2]int64 // rows, columns of a picture whose size the graph leaves open

	Attention    []string // maps: names of values or nodes, with * and ? as in globs
	Grid         [2]int64 // patches: rows, columns
	PrefixTokens *int64   // tokens before the patches
}

// Structure is what relevance needs to know of a graph.
type Structure struct {
	Image        *onnx.Value // input (B,channels,rows,columns)
	ChannelsLast bool        // it is (B,rows,columns,channels) instead; see Focus
	Output       *onnx.Value // the graph's output that the logits lead to
	Logits       *onnx.Value // (B,C), or (B,C,1,1): that output, or what its softmax is of
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

	headless []string // problems that only the classifier has
	single   string   // the problem of an output of one number; empty if it has more
}

// Regression reports whether the output is one number a picture.
func (s *Structure) Regression() bool { return s.single != "" }

// FromMean reports whether the rollout starts from the mean over the patches'
// rows, since the classifier doesn't read a class token.
func (s *Structure) FromMean() bool {
	return s.Pool == PoolAverage || s.Pool == PoolMax || s.Pool == PoolAttention
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

// ExplainErr is nil if what the graph says of a picture can be explained, which
// includes an output of one number, otherwise an *Error with all problems.
func (s *Structure) ExplainErr() error {
	left := slices.DeleteFunc(slices.Clone(s.Problems), func(p string) bool { return p == s.single })
	if len(left) == 0 {
		return nil
	}
	return &Error{Problem: "the model can't be explained: " + strings.Join(left, "; ")}
}

// FeaturesErr is nil if features of the patches can be taken from the graph,
// with or without a classifier, otherwise an *Error with all problems.
func (s *Structure) FeaturesErr() error {
	var left []string
	for _, p := range s.Problems {
		if !slices.Contains(s.headless, p) {
			left = append(left, p)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return &Error{Problem: "no features can be taken from the model: " + strings.Join(left, "; ")}
}

// Find looks for self-attention between all tokens, the patch grid and the
// classifier in a graph of the working dialect whose shapes are inferred and
// whose constants are folded. It goes by structure, never by names, but for
// those that options give. What it doesn't find is among the problems; an error
// means that an option doesn't fit the graph.
func Find(g *onnx.Graph, opt FindOptions) (*Structure, error) {
	f := newFinder(g, opt)
	if err := f.ends(); err != nil {
		return nil, err
	}
	if f.s.Image == nil {
		return f.s, nil
	}
	if err := f.attentions(); err != nil {
		return nil, err
	}
	if err := f.patches(); err != nil {
		return nil, err
	}
	if f.uneven != "" && !f.merged {
		f.problem("%s", f.uneven)
	}
	if f.s.Logits != nil {
		before := len(f.s.Problems)
		f.head()
		f.s.headless = append(f.s.headless, f.s.Problems[before:]...)
	}
	f.fixed()
	return f.s, nil
}

// finder is a structure on its way out of a graph.
type finder struct {
	g      *onnx.Graph
	opt    FindOptions
	s      *Structure
	behind string // operator between logits and output that isn't undone by itself
	uses   map[*onnx.Value][]*onnx.Node
	data   map[*onnx.Value]bool // values that depend on the picture's pixels
	needs  map[*onnx.Value]bool // values on which the logits depend
	near   []nearMiss           // softmaxes that are no attention between all tokens
	pools  map[*onnx.Value]bool // maps of a few learned queries over all tokens
	uneven string               // which attentions are between different tokens; empty if none are
	merged bool                 // a problem says so already
}

func newFinder(g *onnx.Graph, opt FindOptions) *finder {
	return &finder{g: g, opt: opt, s: &Structure{Pool: PoolUnknown}, uses: g.Uses(),
		data: map[*onnx.Value]bool{}, pools: map[*onnx.Value]bool{}}
}

func (f *finder) problem(format string, args ...any) {
	f.s.Problems = append(f.s.Problems, fmt.Sprintf(format, args...))
}

// headless is a problem that only the classifier has.
func (f *finder) headless(format string, args ...any) {
	f.problem(format, args...)
	f.s.headless = append(f.s.headless, fmt.Sprintf(format, args...))
}

func (f *finder) note(format string, args ...any) {
	f.s.Notes = append(f.s.Notes, fmt.Sprintf(format, args...))
}

// spread marks what depends on v's elements.
func (f *finder) spread(v *onnx.Value) {
	f.data[v] = true
	for _, n := range f.g.Nodes {
		if n.Op == "Shape" || n.Op == "Size" || !slices.ContainsFunc(slices.Concat(n.Inputs, n.Captures), func(v *onnx.Value) bool { return v != nil && f.data[v] }) {
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
			stack = append(append(stack, v.Node.Inputs...), v.Node.Captures...)
		}
	}
	return seen
}

// size is the picture's, rows and columns.
func (f *finder) size() [2]onnx.Dim {
	shape := f.s.Image.Shape
	if f.s.ChannelsLast {
		return [2]onnx.Dim{shape[1], shape[2]}
	}
	return [2]onnx.Dim{shape[2], shape[3]}
}

// fixed reports a batch or image size that the graph fixes or leaves open.
func (f *finder) fixed() {
	if batch := f.s.Image.Shape[0]; batch.Known() {
		f.s.Batch = batch.N
		f.note("the batch size is fixed at %d: the file runs at that size, training on a copy for its own; where the copy is refused, export the model with a dynamic batch axis", f.s.Batch)
	}
	if size := f.size(); !size[0].Known() || !size[1].Known() {
		f.problem("the size of pictures %v is open and can't be told from the position embedding: state it by --image-size", f.s.Image)
	}
	if f.s.FromMean() {
		f.note("%s: relevance starts from the mean over the patches' rows instead of the class token's", map[string]string{
			PoolAverage: "the classifier reads the mean of the tokens", PoolMax: "the classifier reads the maximum over the tokens",
			PoolAttention: "the classifier reads the tokens by attention pooling, which isn't part of the rollout"}[f.s.Pool])
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
