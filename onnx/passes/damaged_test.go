package passes

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/relevit/relevit/onnx"
)

// damage changes one thing about a graph that a broken or hostile file could
// have wrong.
func damage(g *onnx.Graph, rng *rand.Rand) {
	n := g.Nodes[rng.IntN(len(g.Nodes))]
	switch i := rng.IntN(9); {
	case i == 0 && len(n.Inputs) > 0:
		n.Inputs = n.Inputs[:len(n.Inputs)-1]
	case i == 1 && len(n.Inputs) > 0:
		n.Inputs[rng.IntN(len(n.Inputs))] = nil
	case i == 2 && len(n.Inputs) > 0:
		other := g.Nodes[rng.IntN(len(g.Nodes))]
		n.Inputs[rng.IntN(len(n.Inputs))] = other.Outputs[0]
	case i == 3:
		n.Attrs = nil
	case i == 4:
		n.SetAttr("axis", int64(rng.IntN(9)-4))
	case i == 5 && len(g.Inits) > 0:
		v := g.Inits[rng.IntN(len(g.Inits))]
		v.Shape, v.Type, v.Elems = shape(rng.IntN(5)), onnx.DType(rng.IntN(12)), nil
	case i == 6 && len(g.Inits) > 0:
		v := g.Inits[rng.IntN(len(g.Inits))]
		if v.Type == onnx.Int64 {
			v.Data = onnx.Int64Tensor([]int64{rng.Int64N(1<<40) - 1<<39, -1, 0}, 3)
			v.Shape, v.Elems = v.Data.Shape(), nil
		}
	case i == 7:
		n.Op = []string{"Reshape", "Softmax", "Attention", "Concat", "MatMul", "Conv", "Resize", "Transpose"}[rng.IntN(8)]
	default:
		n.Outputs[0] = nil
	}
}

func TestDamagedGraphsGiveErrorsNotPanics(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	failed := 0
	for i := range 3000 {
		if prepareDamaged(t, rng, i) != nil {
			failed++
		}
	}
	if failed < 500 {
		t.Errorf("only %d of 3000 damaged graphs gave an error", failed)
	}
}

func FuzzDamagedGraphs(f *testing.F) {
	for i := range 20 {
		f.Add(uint64(i), uint8(i))
	}
	f.Fuzz(func(t *testing.T, seed uint64, kind uint8) {
		rng := rand.New(rand.NewPCG(seed, 0))
		for range 20 {
			prepareDamaged(t, rng, int(kind))
		}
	})
}

// prepareDamaged prepares a damaged graph of one of 48 kinds.
func prepareDamaged(t *testing.T, rng *rand.Rand, kind int) error {
	g := attend(t, []any{"B", 1, 2}[kind%3])
	for range 1 + rng.IntN(2) {
		damage(g, rng)
	}
	shown := fmt.Sprint(g.Nodes)
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("panic %v on %s", p, shown)
		}
	}()
	p, err := Prepare(&onnx.Model{Graph: g, Opsets: []onnx.Opset{{Version: int64(9 + kind%16)}}})
	for _, pass := range []func(*onnx.Graph) error{Linear, Patchify, Tidy, func(g *onnx.Graph) error { return Specialize(g, 4) }} {
		if err == nil {
			err = pass(p)
		}
	}
	return err
}
