package gradients

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// ruleCase applies one operator to trained inputs of the given shapes.
type ruleCase struct {
	name   string
	op     string // the rule under test, and with it those that its gradient emits
	shapes [][]int64
	low    float64 // inputs are drawn from [low, high); zero values mean [-1, 1)
	high   float64
	batch  bool // the first input's first dimension is dynamic
	apply  func(b *onnx.Builder, x []*onnx.Value) *onnx.Value
}

// op applies an operator with attributes and constant inputs behind the
// trained ones.
func op(name string, attrs []onnx.Attr, consts ...*onnx.Tensor) func(*onnx.Builder, []*onnx.Value) *onnx.Value {
	return func(b *onnx.Builder, x []*onnx.Value) *onnx.Value {
		in := slices.Clone(x)
		for _, t := range consts {
			if t == nil {
				in = append(in, nil)
			} else {
				in = append(in, b.Const(t))
			}
		}
		return b.Op(name, attrs, in...)
	}
}

func at(name string, value any) onnx.Attr { return onnx.Attr{Name: name, Value: value} }

func ints(v ...int64) *onnx.Tensor { return onnx.Int64Tensor(v, int64(len(v))) }

func scalar(v float64) *onnx.Tensor { return onnx.DoubleTensor([]float64{v}) }

// probe is a graph s = <y, w> for random w with its gradient, and the gradient
// of <grad, d> for random d: enough to check first and second derivatives.
type probe struct {
	g       *onnx.Graph
	inputs  []*onnx.Value
	s       *onnx.Value
	grads   []*onnx.Value // nil where nothing flows
	second  []*onnx.Value
	values  map[string]*ref.Array
	dirs    [][]float64
	project *onnx.Value // <grad, d>
}

func newProbe(t *testing.T, c ruleCase, rng *rand.Rand) *probe {
	t.Helper()
	p := &probe{g: onnx.NewGraph(c.name), values: map[string]*ref.Array{}}
	b := onnx.NewBuilder(p.g)
	if c.low == 0 && c.high == 0 {
		c.low, c.high = -1, 1
	}
	draw := func(shape []int64, low, high float64) *ref.Array {
		n, dims := int64(1), []int{}
		for _, d := range shape {
			n, dims = n*d, append(dims, int(d))
		}
		v := make([]float64, n)
		for i := range v {
			v[i] = low + (high-low)*rng.Float64()
		}
		return ref.Floats(v, dims...)
	}
	for i, shape := range c.shapes {
		s := onnx.ShapeOf(shape...)
		if c.batch && i == 0 {
			s[0] = onnx.Dim{N: 1, Sym: "batch"}
		}
		v := p.g.AddInput(fmt.Sprintf("x%d", i), onnx.Double, s)
		p.inputs = append(p.inputs, v)
		p.values[v.Name] = draw(shape, c.low, c.high)
	}
	y := c.apply(b, p.inputs)
	if b.Err() != nil {
		t.Fatalf("building: %v", b.Err())
	}
	out, err := ref.Eval(p.g, p.values, []*onnx.Value{y})
	if err != nil {
		t.Fatalf("evaluating: %v", err)
	}
	weights := make([]int64, len(out[0].Shape))
	for i, d := range out[0].Shape {
		weights[i] = int64(d)
	}
	w := p.g.AddInput("w", onnx.Double, y.Shape.Clone())
	p.values["w"] = draw(weights, -1, 1)
	p.s = b.Reduce("ReduceSum", b.Mul(y, w), false)
	p.grads, err = Walk(b, "first", map[*onnx.Value]*onnx.Value{p.s: b.Scalar(1, p.s)}, p.inputs, nil)
	if err != nil {
		t.Fatalf("differentiating: %v", err)
	}
	for i, g := range p.grads {
		d := draw(c.shapes[i], -1, 1)
		p.dirs = append(p.dirs, d.F)
		if g == nil {
			continue
		}
		dir := p.g.AddInput(fmt.Sprintf("d%d", i), onnx.Double, p.inputs[i].Shape.Clone())
		p.values[dir.Name] = d
		part := b.Reduce("ReduceSum", b.Mul(g, dir), false)
		if p.project == nil {
			p.project = part
		} else {
			p.project = b.Add(p.project, part)
		}
	}
	if p.project == nil {
		t.Fatal("no input has a gradient")
	}
	p.second, err = Walk(b, "second", map[*onnx.Value]*onnx.Value{p.project: b.Scalar(1, p.s)}, p.inputs, nil)
	if err != nil {
		t.Fatalf("differentiating twice: %v", err)
	}
	return p
}

func (p *probe) eval(t *testing.T, v ...*onnx.Value) []*ref.Array {
	t.Helper()
	out, err := ref.Eval(p.g, p.values, v)
	if err != nil {
		t.Fatalf("evaluating: %v", err)
	}
	return out
}

// check compares the gradient of f along a random direction with a central
// difference, for every input, and returns the worst relative error.
func (p *probe) check(t *testing.T, f *onnx.Value, grads []*onnx.Value) float64 {
	const h = 1e-5
	worst := 0.0
	for i, x := range p.inputs {
		array := p.values[x.Name]
		origin := slices.Clone(array.F)
		move := func(step float64) float64 {
			for j := range origin {
				array.F[j] = origin[j] + step*p.dirs[i][j]
			}
			defer copy(array.F, origin)
			return p.eval(t, f)[0].F[0]
		}
		numeric := (move(h) - move(-h)) / (2 * h)
		symbolic, scale := 0.0, 1.0
		if grads[i] != nil {
			g := p.eval(t, grads[i])[0]
			if len(g.F) != len(origin) {
				t.Fatalf("gradient of x%d has %d elements, x%d has %d", i, len(g.F), i, len(origin))
			}
			for j, v := range g.F {
				symbolic += v * p.dirs[i][j]
				scale += math.Abs(v * p.dirs[i][j])
			}
		}
		worst = math.Max(worst, math.Abs(symbolic-numeric)/scale)
	}
	return worst
}

// tolerance of central differences in float64 with h = 1e-5: h^2 from the
// third derivative, eps/h from rounding.
const tolerance = 1e-8

func TestEveryRuleMatchesFiniteDifferences(t *testing.T) {
	checked := map[string]bool{}
	for _, c := range ruleCases() {
		t.Run(c.name, func(t *testing.T) {
			p := newProbe(t, c, rand.New(rand.NewPCG(1, 2)))
			if e := p.check(t, p.s, p.grads); !(e < tolerance) {
				t.Errorf("first derivative is off by %.2g", e)
			}
			if e := p.check(t, p.project, p.second); !(e < 10*tolerance) {
				t.Errorf("second derivative is off by %.2g", e)
			}
		})
		checked[":"+c.op] = true
	}
	for key := range rules {
		if !checked[key] {
			t.Errorf("rule %s has no case in ruleCases", key)
		}
	}
}

func TestWrongRuleIsCaught(t *testing.T) {
	right := rules[":Tanh"]
	defer func() { rules[":Tanh"] = right }()
	rules[":Tanh"] = func(c *call) { c.give(0, c.b.Mul(c.dy[0], c.b.Sub(c.b.Scalar(1, c.y(0)), c.y(0)))) }
	for _, c := range ruleCases() {
		if c.op != "Tanh" {
			continue
		}
		p := newProbe(t, c, rand.New(rand.NewPCG(1, 2)))
		if e := p.check(t, p.s, p.grads); e < 1000*tolerance {
			t.Errorf("the derivative 1 - y passes for 1 - y^2: off by only %.2g", e)
		}
		return
	}
	t.Fatal("no case for Tanh")
}

func TestMissingRuleNamesNodeOperatorAndParameter(t *testing.T) {
	g := onnx.NewGraph("g")
	b := onnx.NewBuilder(g)
	x := g.AddInput("weight", onnx.Float, onnx.ShapeOf(3))
	y := b.Sum(b.Named("odd", b.Op("Acosh", nil, x)))
	y.Type = onnx.Float
	for _, n := range g.Nodes {
		n.Outputs[0].Type = onnx.Float
	}
	_, err := Walk(b, "d", map[*onnx.Value]*onnx.Value{y: b.Scalar(1, x)}, []*onnx.Value{x}, nil)
	missing, ok := err.(*MissingRuleError)
	if !ok || missing.Op != "Acosh" || missing.Node != "odd" || missing.Parameter != "weight" {
		t.Fatalf("got %#v", err)
	}
	if !strings.Contains(err.Error(), "Acosh") {
		t.Errorf("message %q does not name the operator", err)
	}
}
