package pipeline

import (
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// lossProducts lists the products of the loss's way back, with their work: two
// operations for every multiplication. Those that only sum rows up are left out.
func lossProducts(gs *Graphs) map[string]int64 {
	out := map[string]int64{}
	for _, n := range gs.Training.Nodes {
		name := n.Name
		if n.Op != "Gemm" && n.Op != "MatMul" || !strings.HasPrefix(name, "dloss/") && !strings.HasPrefix(name, "grad/") {
			continue
		}
		y := n.Outputs[0].Shape
		if y[:len(y)-1].Count().Is(1) {
			continue
		}
		x := n.Inputs[0].Shape
		summands := x[len(x)-1].N
		if n.Op == "Gemm" {
			summands = x[1-n.Int("transA", 0)].N
		}
		out[name] = 2 * y.Count().N * summands
	}
	return out
}

// TestFrozenParametersCostNothing freezes a layer and then all that lies up to
// the first block's end, and looks for what is left of them.
func TestFrozenParametersCostNothing(t *testing.T) {
	orttest.Need(t)
	c := openOracle(t, "micro")
	usual, _ := graphsOf(t, c, GraphOptions{})
	for name, freeze := range map[string][]string{
		"a layer":          {"blocks.1.mlp.fc1.*"},
		"a bias":           {"*.bias"},
		"the beginning":    {"patch_embed.*", "cls_token", "pos_embed", "blocks.0.*"},
		"all but the head": {"[^h]*"},
	} {
		t.Run(name, func(t *testing.T) {
			frozen := c
			cfg := *c.config
			cfg.Freeze = freeze
			frozen.config = &cfg
			gs, in := graphsOf(t, frozen, GraphOptions{})
			if len(gs.Params) == 0 || len(gs.Params) == len(usual.Params) {
				t.Fatalf("%d of %d parameters are trained", len(gs.Params), len(usual.Params))
			}
			var numbers int64
			for _, p := range gs.Params {
				if cfg.Freezes(p.Name) {
					t.Errorf("%s is trained", p.Name)
				}
				numbers += p.Shape.Count().N
			}
			fewer := len(usual.Optimizer.Nodes) - len(gs.Optimizer.Nodes)
			if want := (len(usual.Params) - len(gs.Params)) * adamNodes(t, usual); fewer != want {
				t.Errorf("the optimizer has %d nodes fewer, expected %d", fewer, want)
			}
			ends := slices.Concat(gs.Training.Inputs, gs.Training.Outputs, gs.Optimizer.Inputs, gs.Optimizer.Outputs)
			for _, p := range usual.Params {
				for _, v := range ends {
					if cfg.Freezes(p.Name) && slices.Contains([]string{p.Name, p.Grad, p.Moment, p.Square, p.Next}, v.Name) {
						t.Errorf("%s is an input or output", v.Name)
					}
				}
			}
			s, err := NewStepper(gs, in.batch(), ort.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			held := int64(0)
			for _, list := range [][]*ort.Buffer{s.Weights, s.Moments, s.Squares} {
				for _, b := range list {
					held += int64(b.Len())
				}
			}
			if held != 3*numbers {
				t.Errorf("%d numbers are held, expected three for each of %d", held, numbers)
			}
			compareFrozenWork(t, usual, gs, name)
		})
	}
}

// compareFrozenWork says which products of the loss's way back must be gone.
func compareFrozenWork(t *testing.T, usual, frozen *Graphs, name string) {
	t.Helper()
	before, after := lossProducts(usual), lossProducts(frozen)
	for name, work := range after {
		if was, ok := before[name]; ok && was != work {
			t.Errorf("%s takes %d operations, before %d", name, work, was)
		}
	}
	var gone []string
	for name := range before {
		if _, ok := after[name]; !ok {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	switch name {
	case "a layer":
		if len(gone) != 1 || gone[0] != "grad/blocks.1.mlp.fc1.weight" {
			t.Errorf("products %v are gone, expected that of the layer's weight", gone)
		}
	case "a bias":
		for _, name := range gone {
			if strings.HasPrefix(name, "grad/") {
				t.Errorf("%s is gone, and its weight is trained", name)
			}
		}
	case "the beginning":
		for name := range after {
			if strings.Contains(name, "blocks.0.") || strings.Contains(name, "patch_embed") {
				t.Errorf("%s goes below the lowest trained parameter", name)
			}
		}
		for _, n := range frozen.Training.Nodes {
			if n.Name == "blocks.0.attn/A/gradient" {
				return
			}
		}
		t.Error("the relevance's walk doesn't reach block 0")
	case "all but the head":
		for name := range after {
			if strings.HasPrefix(name, "dloss/blocks.") {
				t.Errorf("%s goes below the head", name)
			}
		}
	}
}

// adamNodes is how many nodes of the optimizer are of one parameter.
func adamNodes(t *testing.T, gs *Graphs) int {
	t.Helper()
	n := 0
	prefix := "adamw/" + gs.Params[0].Name + "/"
	own := map[*onnx.Node]bool{}
	for _, name := range []string{gs.Params[0].Next, gs.Params[0].NextMoment, gs.Params[0].NextSquare} {
		own[gs.Optimizer.Find(name).Node] = true
	}
	for _, node := range gs.Optimizer.Nodes {
		if strings.HasPrefix(node.Name, prefix) || own[node] {
			n++
		}
	}
	return n
}
