package graphtest

import (
	"fmt"
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// Unit roundoffs.
const (
	Single = 0x1p-24
	Double = 0x1p-53
)

// A Bounded array is what package ref gives, and by how much an evaluation in
// arithmetic of a certain precision may be off, element by element. Where
// rounding alone may decide (the larger of two nearly equal numbers, a number
// near an integer that is rounded down), Undecided is set, and nothing is said
// about values that depend on it.
type Bounded struct {
	*ref.Array
	Error     []float64 // of floats
	Undecided bool
}

// Bounds evaluates a graph in float64 with a running bound of the error that
// an evaluation with unit roundoff u may have.
//
// What a node's inputs are off by reaches its outputs: each element in turn is
// moved by its error, and the changes are added up, which is exact to first
// order. What the node itself adds is a backward error: a sum of n terms is
// the exact sum of terms off by n u each (Higham, Accuracy and Stability of
// Numerical Algorithms, 3.1), so the change for moving each element by u is
// added n times, n being how many elements a result depends on.
func Bounds(g *onnx.Graph, inputs map[string]*ref.Array, u float64) (map[*onnx.Value]*Bounded, error) {
	all := map[*onnx.Value]*Bounded{}
	get := func(v *onnx.Value) (*Bounded, error) {
		if b := all[v]; b != nil {
			return b, nil
		}
		x := inputs[v.Name]
		if x == nil {
			var err error
			if x, err = ref.FromTensor(v.Data); err != nil {
				return nil, err
			}
		}
		all[v] = &Bounded{Array: x, Error: make([]float64, len(x.F))}
		if v.Data != nil && len(x.F) == 1 {
			settle(all[v], u)
		}
		return all[v], nil
	}
	for _, n := range g.Nodes {
		in := make([]*Bounded, len(n.Inputs))
		for i, v := range n.Inputs {
			if v == nil {
				continue
			}
			var err error
			if in[i], err = get(v); err != nil {
				return nil, err
			}
		}
		unit := u
		if slices.Contains(configured, n.Op) {
			unit = max(u, Single)
		}
		out, err := bound(n, in, unit)
		if err != nil {
			return nil, err
		}
		if n.Op == "Constant" && len(out[0].F) == 1 {
			settle(out[0], u)
		}
		for i, v := range n.Outputs {
			if v != nil {
				all[v] = out[i]
			}
		}
	}
	for _, v := range g.Outputs {
		if _, err := get(v); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// configured lists operators with float attributes, which are float32 in any
// graph: where a definition takes their place, or they that of a constant, that
// is rounding to float32.
var configured = []string{"BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization",
	"RMSNormalization", "Attention", "HardSwish", "HardSigmoid", "Elu", "LeakyRelu", "Gelu", "Gemm"}

// settle bounds a constant that an attribute may take the place of.
func settle(b *Bounded, u float64) {
	if u < Single && b.F[0] != float64(int(b.F[0]*4))/4 {
		b.Error[0] = Single * math.Abs(b.F[0])
	}
}

// exact lists operators that move, choose or count elements and round nothing.
var exact = []string{"Max", "Min", "Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "Clip", "Relu", "Dropout",
	"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf", "Where",
	"Cast", "CastLike", "Identity", "MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "TopK",
	"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Split", "Slice", "Expand", "Tile", "Pad",
	"Trilu", "DepthToSpace", "SpaceToDepth", "Shape", "Size", "Gather", "GatherElements", "GatherND", "OneHot",
	"NonZero", "Constant", "ConstantOfShape", "EyeLike"}

// arithmetic lists operators whose result is off by a few units of its own and
// of what each input element contributes. Others call functions that runtimes
// approximate by polynomials, or centre their input first: they are off by
// units of the largest input, or of one.
var arithmetic = []string{"Add", "Sub", "Mul", "Div", "Sum", "Mean", "Sqrt", "Reciprocal", "LeakyRelu", "PRelu",
	"MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose", "AveragePool", "GlobalAveragePool", "Range",
	"ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "CumSum", "ScatterElements",
	"ScatterND", "RotaryEmbedding", "BatchNormalization", "Mod"}

// multiplying lists operators that are linear in each input. What both factors
// of a product are off by counts where they are nearly nothing.
var multiplying = []string{"Mul", "MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose", "ReduceProd"}

// ulps is how many units of the result, or of the range, one operation may be
// off: correctly rounded ones by half a unit and fused chains of a handful of
// them by a few, polynomials of runtimes' exp, erf and tanh by up to eight.
const ulps = 8

func bound(n *onnx.Node, in []*Bounded, u float64) ([]*Bounded, error) {
	arrays := make([]*ref.Array, len(in))
	undecided := false
	for i, b := range in {
		if b != nil {
			arrays[i], undecided = b.Array, undecided || b.Undecided
		}
	}
	y, err := ref.Node(n, arrays)
	if err != nil {
		return nil, err
	}
	out, dependence, own := blank(y, undecided)
	if undecided {
		return out, nil
	}
	if n.Op == "Equal" {
		if out[0].Undecided, err = mayBeEqual(n, in); err != nil || out[0].Undecided {
			return out, err
		}
	}
	base, from := arrays, y
	if slices.Contains(multiplying, n.Op) {
		base = outermost(in)
		if from, err = ref.Node(n, base); err != nil {
			return nil, err
		}
	}
	rounds, largest := !slices.Contains(exact, n.Op), 1.0
	simple := slices.Contains(arithmetic, n.Op)
	for i, b := range in {
		if b == nil || len(b.F) == 0 || setting(n, i, b) {
			continue
		}
		top := 0.0
		for _, x := range b.F {
			top = max(top, math.Abs(x))
		}
		largest = max(largest, top)
		for j, x := range b.F {
			unit := u * math.Abs(x)
			if !simple {
				unit = u * top
			}
			if !rounds {
				unit = 0
			}
			step := b.Error[j] + unit
			if step == 0 {
				continue
			}
			m := movement{n: n, base: base, from: from, i: i, j: j, inherited: b.Error[j], unit: unit}
			for _, s := range stepsFrom(x, step, decides(n, y)) {
				if ok, err := m.spread(s, out, dependence, own); !ok {
					return out, err
				}
			}
		}
	}
	if !rounds {
		return out, nil
	}
	for k, a := range y {
		if a == nil {
			continue
		}
		for e, x := range a.F {
			out[k].Error[e] += own[k][e]*max(1, dependence[k][e]) + ulps*u*math.Abs(x)
			if !simple {
				out[k].Error[e] += ulps * u * largest
			}
		}
	}
	return out, special(n, arrays, out, u)
}

// movement is of one element of a node's inputs, element j of input i, by what it is off
// already and what the node itself may be off by it.
type movement struct {
	n               *onnx.Node
	base, from      []*ref.Array // inputs, and what the node makes of them
	i, j            int
	inherited, unit float64
}

// spread adds what the results change, if the element moves by s, to their errors. ok is
// false where that can't be told: a result jumps, and all are undecided then.
func (m movement) spread(s float64, out []*Bounded, dependence, own [][]float64) (ok bool, err error) {
	moved, err := nudge(m.n, m.base, m.i, m.j, s)
	if err != nil {
		return false, err
	}
	step := m.inherited + m.unit
	for k, o := range out {
		if o == nil {
			continue
		}
		if jumps(m.n, m.from[k], moved[k]) || slices.ContainsFunc(moved[k].F, math.IsNaN) { // the root of what may be negative
			for _, o := range out {
				if o != nil {
					o.Undecided = true
				}
			}
			return false, nil
		}
		for e := range o.F { // the mean of both directions
			change := math.Abs(moved[k].F[e]-m.from[k].F[e]) / 2 * step / math.Abs(s)
			if change == 0 {
				continue
			}
			o.Error[e] += change * m.inherited / step
			own[k][e] += change * m.unit / step
			dependence[k][e] += 0.5
		}
	}
	return true, nil
}

// blank is results without errors, how many elements each of theirs depends on, and
// what the node itself adds.
func blank(y []*ref.Array, undecided bool) (out []*Bounded, dependence, own [][]float64) {
	out = make([]*Bounded, len(y))
	dependence, own = make([][]float64, len(y)), make([][]float64, len(y))
	for i, a := range y {
		if a != nil {
			out[i] = &Bounded{Array: a, Error: make([]float64, len(a.F)), Undecided: undecided}
			dependence[i], own[i] = make([]float64, len(a.F)), make([]float64, len(a.F))
		}
	}
	return out, dependence, own
}

// stepsFrom is how far an element x that is off by a step is moved.
func stepsFrom(x, step float64, decides bool) []float64 {
	if !decides {
		return []float64{step, -step}
	}
	steps := []float64{4 * step, -4 * step} // the bound holds twice over, and of two nearly equal numbers both may be off
	if x != 0 && math.Abs(x) <= 4*step {
		steps = append(steps, -x) // it may be none at all, which is another truth value
	}
	return steps
}

// special adds what nodes are off by for reasons of their own.
func special(n *onnx.Node, in []*ref.Array, out []*Bounded, u float64) error {
	if n.Op == "ReduceL2" && u == Single { // squares below the least float32
		for e := range out[0].Error {
			out[0].Error[e] += 0x1p-70
		}
	}
	off, err := oneVariance(n, in, u)
	if err != nil || off == nil {
		return err
	}
	for k, b := range out {
		if b == nil {
			continue
		}
		for e, x := range b.F {
			b.Error[e] += math.Abs(off[k].F[e] - x)
		}
	}
	return nil
}

// outermost moves every element away from zero by its error, so that moving one
// more has the largest effect on a product.
func outermost(in []*Bounded) []*ref.Array {
	out := make([]*ref.Array, len(in))
	for i, b := range in {
		if b == nil {
			continue
		}
		moved := *b.Array
		moved.F = slices.Clone(b.F)
		for j, x := range b.F {
			moved.F[j] += math.Copysign(b.Error[j], x)
		}
		out[i] = &moved
	}
	return out
}

// mayBeEqual reports whether errors decide about the equality of two floats: no
// single one that is moved makes it.
func mayBeEqual(n *onnx.Node, in []*Bounded) (bool, error) {
	x, y := in[0], in[1]
	if len(x.F) == 0 || len(y.F) == 0 {
		return false, nil
	}
	less, greater := *n, *n
	less.Op, greater.Op = "Less", "Greater"
	below, err := ref.Node(&less, []*ref.Array{x.moved(-4), y.moved(4)})
	if err != nil {
		return false, err
	}
	above, err := ref.Node(&greater, []*ref.Array{x.moved(4), y.moved(-4)})
	if err != nil {
		return false, err
	}
	for i, under := range below[0].B {
		if under && above[0].B[i] {
			return true, nil
		}
	}
	return false, nil
}

// moved adds some errors to each element.
func (b *Bounded) moved(errors float64) *ref.Array {
	a := *b.Array
	a.F = slices.Clone(b.F)
	for j := range a.F {
		a.F[j] += errors * b.Error[j]
	}
	return &a
}

// oneVariance evaluates a normalisation with the variance that runtimes get in
// one pass, the mean square less the square of the mean: off by units of the
// largest square, as if epsilon were. It is nil for other nodes.
func oneVariance(n *onnx.Node, in []*ref.Array, u float64) ([]*ref.Array, error) {
	switch n.Op {
	case "LayerNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization":
	default:
		return nil, nil
	}
	most := 0.0
	for _, x := range in[0].F {
		most = max(most, x*x)
	}
	other := *n
	other.Attrs = slices.Clone(n.Attrs)
	other.SetAttr("epsilon", n.Float("epsilon", 1e-5)+float32(ulps*u*most))
	return ref.Node(&other, in)
}

// setting reports whether an input is no operand that rounding may change: the
// scales of Resize, a whole exponent.
func setting(n *onnx.Node, i int, b *Bounded) bool {
	switch {
	case n.Op == "Resize":
		return i > 0
	case n.Op == "Pow" && i == 1:
		return !slices.ContainsFunc(b.F, func(x float64) bool { return x != math.Trunc(x) }) &&
			!slices.ContainsFunc(b.Error, func(e float64) bool { return e > 0 })
	}
	return false
}

// decides reports whether a node's result jumps somewhere.
func decides(n *onnx.Node, y []*ref.Array) bool {
	switch n.Op {
	case "Floor", "Ceil", "Round", "Sign", "Mod":
		return true
	}
	return slices.ContainsFunc(y, func(a *ref.Array) bool { return a != nil && a.F == nil })
}

// jumps reports whether a result is another decision and not another number.
func jumps(n *onnx.Node, a, b *ref.Array) bool {
	if !slices.Equal(a.Shape, b.Shape) || !slices.Equal(a.I, b.I) || !slices.Equal(a.B, b.B) {
		return true
	}
	switch n.Op {
	case "Floor", "Ceil", "Round", "Sign":
		return !slices.Equal(a.F, b.F)
	case "Mod": // by half or more
		for i := range a.F {
			if math.Abs(a.F[i]-b.F[i]) > 0.25 {
				return true
			}
		}
	}
	return false
}

// nudge evaluates a node with one element of one input moved.
func nudge(n *onnx.Node, in []*ref.Array, i, j int, step float64) ([]*ref.Array, error) {
	x := in[i]
	moved := *x
	moved.F = slices.Clone(x.F)
	moved.F[j] += step
	in[i] = &moved
	defer func() { in[i] = x }()
	return ref.Node(n, in)
}

// Within says where another evaluation is further off than the bound allows:
// twice the bound, since it is exact to first order only.
func (b *Bounded) Within(got *ref.Array) error {
	if got == nil || got.Type != b.Type || !slices.Equal(got.Shape, b.Shape) {
		return fmt.Errorf("got %v, expected %v", got, b.Array)
	}
	if !slices.Equal(got.I, b.I) || !slices.Equal(got.B, b.B) {
		return fmt.Errorf("got %v%v, expected %v%v", got.I, got.B, b.I, b.B)
	}
	for i, x := range b.F {
		if y := got.F[i]; !(math.Abs(x-y) <= 2*b.Error[i]+0x1p-120) {
			return fmt.Errorf("element %d is %.9g, expected %.9g within %.2g", i, y, x, 2*b.Error[i])
		}
	}
	return nil
}
