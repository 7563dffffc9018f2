package passes

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/graphtest"
	"github.com/relevit/relevit/onnx/ref"
)

// rewritings are passes that leave what a graph computes, each behind what it
// relies on.
var rewritings = []struct {
	name string
	run  func(g *onnx.Graph) (*onnx.Graph, error)
}{
	{"Fold", inPlace(Fold)},
	{"Fuse", inPlace(Fold, Fuse)},
	{"Linear", inPlace(Fold, Linear)},
	{"Patchify", inPlace(Fold, Patchify)},
	{"Tidy", inPlace(Fold, Tidy)},
	{"Narrow", inPlace(Fold, narrowAll)},
	{"Reassociate", inPlace(Fold, Linear, Reassociate)},
	{"Broadcast", inPlace(Broadcast)},
	{"Means", inPlace(Means)},
	{"Columns", inPlace(Columns)},
	{"ToFloat32", inPlace(ToFloat32)},
	{"all", inPlace(Fold, Fuse, narrowAll, Linear, Patchify, Tidy, Reassociate, Broadcast)},
	{"Prepare", func(g *onnx.Graph) (*onnx.Graph, error) {
		return Prepare(&onnx.Model{Graph: g, Opsets: []onnx.Opset{{Version: 23}}})
	}},
	{"a file between", func(g *onnx.Graph) (*onnx.Graph, error) {
		m, err := reread(&onnx.Model{IRVersion: 10, Graph: g, Opsets: []onnx.Opset{{Version: 23}}})
		if err != nil {
			return nil, err
		}
		return Prepare(m)
	}},
	{"opset 11", lowered(11)}, {"opset 13", lowered(13)}, {"opset 17", lowered(17)}, {"opset 20", lowered(20)}, {"opset 22", lowered(22)}, {"opset 24", lowered(24)},
}

func inPlace(passes ...func(*onnx.Graph) error) func(*onnx.Graph) (*onnx.Graph, error) {
	return func(g *onnx.Graph) (*onnx.Graph, error) {
		for _, pass := range passes {
			if err := pass(g); err != nil {
				return nil, err
			}
		}
		return g, nil
	}
}

func reread(m *onnx.Model) (*onnx.Model, error) {
	file, err := m.Encode()
	if err != nil {
		return nil, err
	}
	doc, err := onnx.ParseDocument(file, "random")
	if err != nil {
		return nil, err
	}
	return doc.Model()
}

// lowered writes a graph in an opset, as a file, and raises it again.
func lowered(opset int64) func(*onnx.Graph) (*onnx.Graph, error) {
	return func(g *onnx.Graph) (*onnx.Graph, error) {
		if err := Lower(g, opset); err != nil {
			var no *LowerError
			if errors.As(err, &no) {
				return nil, nil
			}
			return nil, err
		}
		m, err := reread(&onnx.Model{IRVersion: 10, Graph: g, Opsets: []onnx.Opset{{Version: opset}}})
		if err != nil {
			return nil, err
		}
		return Raised(m)
	}
}

// checkRewritings compares a random graph before and after every rewriting,
// within the error that rounding to its type may have.
func checkRewritings(data []byte) error {
	o := graphtest.Options{Type: onnx.Double}
	u := graphtest.Double
	if len(data) > 0 && data[len(data)-1]%2 == 0 {
		o.Type, u = onnx.Float, graphtest.Single
	}
	c, err := graphtest.Draw(graphtest.NewChoices(data), o)
	if err != nil || len(c.Graph.Outputs) == 0 {
		return err
	}
	bounds, err := graphtest.Bounds(c.Graph, c.Inputs, u)
	if err != nil {
		return err
	}
	for _, r := range rewritings {
		if r.name == "ToFloat32" && o.Type == onnx.Double {
			continue
		}
		g, _ := c.Graph.Clone()
		after, err := r.run(g)
		if err != nil {
			return fmt.Errorf("%s: %w\n%v", r.name, err, c.Graph)
		}
		if after == nil {
			continue
		}
		got, err := ref.Run(after, given(after, c.Inputs))
		if err != nil {
			return fmt.Errorf("%s: %w\n%v\nafter %v", r.name, err, c.Graph, after)
		}
		for _, v := range c.Graph.Outputs {
			if bounds[v].Undecided {
				continue
			}
			if err := bounds[v].Within(got[v.Name]); err != nil {
				return fmt.Errorf("%s: %v: %w\n%v\nafter %v", r.name, v, err, c.Graph, after)
			}
		}
	}
	return nil
}

// given are the inputs that a graph still has.
func given(g *onnx.Graph, inputs map[string]*ref.Array) map[string]*ref.Array {
	out := map[string]*ref.Array{}
	for name, x := range inputs {
		if slices.ContainsFunc(g.Inputs, func(v *onnx.Value) bool { return v.Name == name }) {
			out[name] = x
		}
	}
	return out
}

// seeds is how many graphs a test draws: with -short, as under the race
// detector, a tenth.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return n / 10
	}
	return n
}

func TestPassesLeaveRandomGraphsWhatTheyCompute(t *testing.T) {
	for seed := range seeds(300) {
		if err := checkRewritings(graphtest.Bytes(seed)); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func FuzzPasses(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(graphtest.Bytes(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := checkRewritings(data); err != nil {
			t.Error(err)
		}
	})
}

func narrowAll(g *onnx.Graph) error {
	_, err := Narrow(g)
	return err
}
