package pipeline

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/passes"
)

// GraphOptions say how a model's graphs are derived. No number depends on them
// beyond rounding.
type GraphOptions struct {
	Lean bool     // compute cheap values again rather than hold them
	Off  []string // optimizations to leave out
}

func graphOptionsOf(c *configs.Config) GraphOptions {
	return GraphOptions{Lean: c.Memory == "lean", Off: c.Optimizations.Off}
}

// optimization is a pass that makes a graph cheaper.
type optimization struct {
	name string
	pass func(*onnx.Graph) error
}

// Optimizations in the order in which they are made: of the forward pass before
// anything is derived from it, and of each graph that is cut out in the end.
var (
	lowering  = []optimization{{"linear", passes.Linear}, {"patchify", passes.Patchify}, {"tidy", passes.Tidy}, {"reassociate", passes.Reassociate}}
	finishing = []optimization{{"broadcast", passes.Broadcast}, {"means", passes.Means}, {"order", passes.Order}}
)

// Optimizations that aren't passes of a whole graph.
const (
	narrowing = "narrow"    // see passes.Narrow
	sharing   = "sharing"   // see onnx.Builder
	oneQuery  = "one-query" // of the last map, see oneRow
	rows      = "rows"      // see passes.FuseRows and passes.FuseHeads
	products  = "products"  // see passes.FuseProducts
)

func optimizationNames() []string {
	names := []string{narrowing, sharing, oneQuery, rows, products}
	for _, o := range slices.Concat(lowering, finishing) {
		names = append(names, o.name)
	}
	slices.Sort(names)
	return names
}

func (o GraphOptions) check() error {
	for _, name := range o.Off {
		if all := optimizationNames(); !slices.Contains(all, name) {
			return &configs.Error{Key: "optimizations.off", Msg: fmt.Sprintf("found %q, want some of %s", name, strings.Join(all, ", "))}
		}
	}
	return nil
}

func (o GraphOptions) has(name string) bool { return !slices.Contains(o.Off, name) }

// do makes those of the optimizations that aren't off.
func (o GraphOptions) do(g *onnx.Graph, list []optimization) error {
	for _, opt := range list {
		if !o.has(opt.name) {
			continue
		}
		if err := opt.pass(g); err != nil {
			return fmt.Errorf("lowering the %s graph (%s): %w", g.Name, opt.name, err)
		}
	}
	return nil
}

// fused returns a graph as a session of its own runs it. On the CPU, unless that is
// off, nodes of it become operators of our own, on a copy: what a run's folder keeps
// is for any runtime.
func (o GraphOptions) fused(g *onnx.Graph, opt *ort.Options) (*onnx.Graph, error) {
	on, err := opt.Find()
	if err != nil {
		return nil, err
	}
	own := o.has(rows)
	multiplies := o.has(products) && ort.Products()
	if on.CUDA() || !own && !multiplies {
		return g, nil
	}
	opt.Rows = true
	g, _ = g.Clone()
	if multiplies {
		if err := passes.FuseProducts(g, cmp.Or(opt.Threads, runtime.GOMAXPROCS(0))); err != nil {
			return nil, fmt.Errorf("making products of the %s graph: %w", g.Name, err)
		}
	}
	if own {
		if err := passes.FuseHeads(g); err != nil {
			return nil, fmt.Errorf("joining heads of the %s graph: %w", g.Name, err)
		}
		if err := passes.FuseRows(g, o.Lean); err != nil {
			return nil, fmt.Errorf("gathering rows of the %s graph: %w", g.Name, err)
		}
	}
	return g, nil
}

// encodeFor encodes a graph as a session of its own runs it.
func (o GraphOptions) encodeFor(g *onnx.Graph, opt *ort.Options) ([]byte, error) {
	g, err := o.fused(g, opt)
	if err != nil {
		return nil, err
	}
	return Encode(g)
}
