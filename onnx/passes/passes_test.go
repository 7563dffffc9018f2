package passes

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// The batch size that tests give to dimensions named B.
const testBatch = 3

// sketch is a graph under construction with an input x and random weights.
type sketch struct {
	*onnx.Builder
	g   *onnx.Graph
	rng *rand.Rand
}

func draw(t *testing.T) *sketch {
	t.Helper()
	g := onnx.NewGraph(t.Name())
	return &sketch{onnx.NewBuilder(g), g, rand.New(rand.NewPCG(1, 2))}
}

// shape reads dimensions: numbers and names.
func shape(dims ...any) onnx.Shape {
	s := onnx.Shape{}
	for _, d := range dims {
		if name, ok := d.(string); ok {
			s = append(s, onnx.Dim{N: 1, Sym: name})
		} else {
			s = append(s, onnx.D(int64(d.(int))))
		}
	}
	return s
}

func (s *sketch) input(name string, dims ...any) *onnx.Value {
	return s.g.AddInput(name, onnx.Float, shape(dims...))
}

// weight adds an initializer with random elements.
func (s *sketch) weight(name string, dims ...int64) *onnx.Value {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(s.rng.NormFloat64())
	}
	return s.g.AddInit(name, onnx.FloatTensor(v, dims...))
}

// node emits an operator of any opset, without inference.
func (s *sketch) node(op string, outputs int, attrs []onnx.Attr, in ...*onnx.Value) []*onnx.Value {
	n := &onnx.Node{Name: s.g.Fresh(op), Op: op, Attrs: attrs, Inputs: in}
	for range outputs {
		n.Outputs = append(n.Outputs, &onnx.Value{Name: s.g.Fresh(op + "_out"), Node: n})
	}
	s.g.Nodes = append(s.g.Nodes, n)
	return n.Outputs
}

func (s *sketch) done(t *testing.T, outputs ...*onnx.Value) *onnx.Graph {
	t.Helper()
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	s.g.Outputs = outputs
	return s.g
}

func attrs(pairs ...any) []onnx.Attr {
	var out []onnx.Attr
	for i := 0; i < len(pairs); i += 2 {
		v := pairs[i+1]
		if k, ok := v.(int); ok {
			v = int64(k)
		}
		out = append(out, onnx.Attr{Name: pairs[i].(string), Value: v})
	}
	return out
}

// evaluate runs a graph on random inputs that depend only on their names, with
// a batch of testBatch.
func evaluate(t *testing.T, g *onnx.Graph) map[string]*ref.Array {
	t.Helper()
	in := map[string]*ref.Array{}
	for _, v := range g.Inputs {
		if v.Data != nil {
			continue
		}
		a := &ref.Array{Type: v.Type}
		n := 1
		for _, d := range v.Shape {
			if !d.Known() {
				d = onnx.D(testBatch)
			}
			a.Shape = append(a.Shape, int(d.N))
			n *= int(d.N)
		}
		rng := rand.New(rand.NewPCG(uint64(len(v.Name)), uint64(v.Name[0])))
		switch v.Type {
		case onnx.Int64:
			a.I = make([]int64, n)
		case onnx.Bool:
			a.B = make([]bool, n)
			for i := range a.B {
				a.B[i] = rng.IntN(3) > 0
			}
		default:
			a.F = make([]float64, n)
			for i := range a.F {
				a.F[i] = rng.NormFloat64()
			}
		}
		in[v.Name] = a
	}
	out, err := ref.Run(g, in)
	if err != nil {
		t.Fatalf("%v\n%v", err, g)
	}
	return out
}

// sameOutputs fails unless both graphs give outputs of the same names, shapes
// and, to rounding, values.
func sameOutputs(t *testing.T, before, after *onnx.Graph) {
	t.Helper()
	nearOutputs(t, before, after, 1e-12)
}

// sound fails unless the graph is what every pass may rely on: sorted, linked
// both ways, and with one value to a name.
func sound(t *testing.T, g *onnx.Graph) {
	t.Helper()
	known := map[*onnx.Value]bool{}
	names := map[string]bool{}
	g.Each(func(v *onnx.Value) {
		if names[v.Name] {
			t.Errorf("two values are called %s", v.Name)
		}
		names[v.Name] = true
	})
	for _, list := range [][]*onnx.Value{g.Inputs, g.Inits} {
		for _, v := range list {
			known[v] = true
			if v.Node != nil {
				t.Errorf("input or initializer %v has a node", v)
			}
		}
	}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			if v != nil && !known[v] {
				t.Errorf("node %v reads %v before it is there", n, v)
			}
		}
		for _, v := range n.Outputs {
			if v != nil && v.Node != n {
				t.Errorf("%v isn't linked to its node", v)
			}
			known[v] = true
		}
	}
	for _, v := range g.Outputs {
		if !known[v] {
			t.Errorf("output %v is nowhere made", v)
		}
	}
}

// nearOutputs is sameOutputs for passes that round to float32 on the way.
func nearOutputs(t *testing.T, before, after *onnx.Graph, tolerance float64) {
	t.Helper()
	sound(t, after)
	compare(t, evaluate(t, before), evaluate(t, after), tolerance)
	if t.Failed() {
		t.Log(after)
	}
}

func compare(t *testing.T, want, got map[string]*ref.Array, tolerance float64) {
	t.Helper()
	for name, w := range want {
		g := got[name]
		if g == nil {
			t.Errorf("output %s is gone", name)
			continue
		}
		if g.String() != w.String() {
			t.Errorf("output %s is %v, was %v", name, g, w)
			continue
		}
		worst, top := 0.0, 1e-30
		for i := range w.F {
			if math.IsNaN(w.F[i]) && math.IsNaN(g.F[i]) {
				continue
			}
			worst, top = math.Max(worst, math.Abs(w.F[i]-g.F[i])), math.Max(top, math.Abs(w.F[i]))
			if math.IsNaN(g.F[i]) != math.IsNaN(w.F[i]) {
				worst = math.Inf(1)
			}
		}
		for i := range w.I {
			worst = math.Max(worst, math.Abs(float64(w.I[i]-g.I[i])))
		}
		for i := range w.B {
			if w.B[i] != g.B[i] {
				worst = 1
			}
		}
		if worst > tolerance*top {
			t.Errorf("output %s differs by %g (largest value %g)", name, worst, top)
		}
	}
}

// twin clones a graph, so that a pass leaves the original to compare with.
func twin(g *onnx.Graph) *onnx.Graph {
	c, _ := g.Clone()
	return c
}

// ops lists the operators of a graph in order.
func ops(g *onnx.Graph) string {
	var list []string
	for _, n := range g.Nodes {
		list = append(list, n.Op)
	}
	return strings.Join(list, " ")
}

// must fails the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// oracle returns the folder of a reference case beside the project, or skips.
func oracle(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	must(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no go.mod above the package")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "oracle", name)
	if _, err := os.Stat(filepath.Join(path, "model.onnx")); err != nil {
		t.Skipf("the reference vectors (../shared/oracle/%s) aren't there", name)
	}
	return path
}

// readTensor reads one float tensor of a safetensors file.
func readTensor(t *testing.T, path, key string) *ref.Array {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	size := binary.LittleEndian.Uint64(data)
	var header map[string]struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	must(t, json.Unmarshal(data[8:8+size], &header))
	h, ok := header[key]
	if !ok {
		t.Fatalf("%s has no %s", path, key)
	}
	raw := data[8+int(size)+h.Offsets[0] : 8+int(size)+h.Offsets[1]]
	a := &ref.Array{Type: onnx.Float, Shape: h.Shape}
	for len(raw) > 0 {
		if h.DType == "F64" {
			a.F = append(a.F, math.Float64frombits(binary.LittleEndian.Uint64(raw)))
			raw = raw[8:]
		} else {
			a.F = append(a.F, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
			raw = raw[4:]
		}
	}
	return a
}
