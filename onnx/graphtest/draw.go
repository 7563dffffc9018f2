// Package graphtest draws random small graphs of the working dialect, for
// tests which compare two ways to compute one.
package graphtest

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

const (
	maxElements = 160 // of a value
	maxValue    = 1e3 // of an element's magnitude
)

// A Case is a graph with inputs for it. Every value of Values has the array
// that package ref gives.
type Case struct {
	Graph  *onnx.Graph
	Inputs map[string]*ref.Array
	Values map[*onnx.Value]*ref.Array
	Opset  int64 // the lowest that has all operators
}

// Options of Draw.
type Options struct {
	Type  onnx.DType // of floats
	Only  []string   // operators to draw; nil means all
	Nodes int        // at most, or so; 0 means 14
	Free  bool       // every float number is an input, and no two are equal
}

// Operators lists what Draw can draw, as package ref's table calls it.
func Operators() []string { return slices.Sorted(maps.Keys(makers)) }

// makers draw one node of an operator each. One that finds nothing fit to
// apply its operator to may draw none.
var makers = collect(elementwise, products, windows, reductions, normalizations, layout, indices)

type table map[string]func(*drawing)

func collect(families ...func(table)) table {
	all := table{}
	for _, f := range families {
		f(all)
	}
	return all
}

// each gives several operators one maker.
func (t table) each(f func(d *drawing, op string), ops ...string) {
	for _, op := range ops {
		t[":"+op] = func(d *drawing) { f(d, op) }
	}
}

// Draw makes a graph from decisions. An error is a finding: inference or
// package ref refuses a valid node, or they disagree about it.
func Draw(c *Choices, o Options) (*Case, error) {
	g := onnx.NewGraph("random")
	d := &drawing{Choices: c, b: onnx.NewBuilder(g), g: g, float: o.Type,
		arrays: map[*onnx.Value]*ref.Array{}, batch: int64(c.Between(2, 3)), opset: onnx.Dialect,
		free: o.Free}
	if c.One(2) {
		d.dynamic = true
	}
	d.keep(d.leaf(d.shape(1, 4)))
	names := o.Only
	if names == nil {
		names = Operators()
	}
	most := o.Nodes
	if most == 0 {
		most = 14
	}
	for nodes := 0; nodes < most && (nodes == 0 || c.More()); nodes++ {
		before := len(g.Nodes)
		if o.Only == nil && c.One(6) {
			d.idiom()
		} else {
			// Two bytes would be needed for more than 256 names.
			makers[names[c.IntN(len(names))]](d)
		}
		if d.err == nil {
			d.err = d.b.Err()
		}
		if d.err != nil {
			return nil, fmt.Errorf("%w\nnodes %v", d.err, g.Nodes[before:])
		}
	}
	return d.done()
}

// done makes outputs of the values that nothing reads, and drops the rest.
func (d *drawing) done() (*Case, error) {
	uses := d.g.Uses()
	for _, v := range d.live {
		if v.Node != nil && len(uses[v]) == 0 && !slices.Contains(d.g.Outputs, v) {
			d.g.Outputs = append(d.g.Outputs, v)
		}
	}
	for i := len(d.live) - 1; i >= 0 && len(d.g.Outputs) == 0; i-- {
		if d.live[i].Node != nil {
			d.g.Outputs = []*onnx.Value{d.live[i]}
		}
	}
	d.g.Prune()
	c := &Case{Graph: d.g, Inputs: map[string]*ref.Array{}, Values: d.arrays, Opset: d.opset}
	for _, v := range d.g.Inputs {
		c.Inputs[v.Name] = d.arrays[v]
	}
	if len(d.g.Outputs) == 0 {
		return c, nil
	}
	if _, err := ref.Run(d.g, c.Inputs); err != nil {
		return nil, fmt.Errorf("%w\n%v", err, d.g)
	}
	return c, nil
}

type drawing struct {
	*Choices
	b       *onnx.Builder
	g       *onnx.Graph
	float   onnx.DType
	arrays  map[*onnx.Value]*ref.Array
	live    []*onnx.Value // what operators read
	dynamic bool          // inputs have a named batch
	batch   int64
	opset   int64
	free    bool
	err     error
}

// emit adds a node, evaluates it, and keeps outputs that are fit for others.
func (d *drawing) emit(op string, outputs int, attrs []onnx.Attr, in ...*onnx.Value) []*onnx.Value {
	if d.err != nil || d.b.Err() != nil {
		return givenUp(outputs)
	}
	for _, v := range in {
		if v != nil && d.arrays[v] == nil {
			return givenUp(outputs)
		}
	}
	out := d.b.Ops(op, outputs, attrs, in...)
	if d.b.Err() != nil || d.arrays[out[0]] != nil {
		return out
	}
	arrays := make([]*ref.Array, len(in))
	for i, v := range in {
		if v != nil {
			arrays[i] = d.arrays[v]
		}
	}
	got, err := ref.Node(out[0].Node, arrays)
	if err != nil {
		d.err = err
		return out
	}
	for i, v := range out {
		if !fit(got[i]) {
			return givenUp(outputs)
		}
		if v.Type == onnx.Undefined { // an operator without a rule of inference
			v.Type, v.Shape = got[i].Type, shapeOf(got[i])
		}
	}
	for i, v := range out {
		d.arrays[v] = got[i]
		d.keep(v)
	}
	return out
}

// givenUp are values that no array goes with: operators that read them are
// given up too.
func givenUp(n int) []*onnx.Value {
	out := make([]*onnx.Value, n)
	for i := range out {
		out[i] = &onnx.Value{Name: "given up"}
	}
	return out
}

func (d *drawing) op(op string, attrs []onnx.Attr, in ...*onnx.Value) *onnx.Value {
	return d.emit(op, 1, attrs, in...)[0]
}

func fit(x *ref.Array) bool {
	if x.Count() > maxElements || len(x.Shape) > 6 {
		return false
	}
	for _, f := range x.F {
		if !(math.Abs(f) <= maxValue) {
			return false
		}
	}
	for _, i := range x.I {
		if i > 1<<20 || i < -1<<20 {
			return false
		}
	}
	return true
}

func (d *drawing) keep(v *onnx.Value) *onnx.Value {
	d.live = append(d.live, v)
	return v
}

func shapeOf(x *ref.Array) onnx.Shape {
	s := onnx.Shape{}
	for _, n := range x.Shape {
		s = append(s, onnx.D(int64(n)))
	}
	return s
}

func (d *drawing) dims(v *onnx.Value) []int {
	if d.arrays[v] == nil {
		return nil
	}
	return d.arrays[v].Shape
}

func (d *drawing) rank(v *onnx.Value) int { return len(d.dims(v)) }

// shape decides for sizes; the first is the batch, now and then.
func (d *drawing) shape(low, high int) []int {
	s := make([]int, d.Between(low, high))
	for i := range s {
		s[i] = Pick(d.Choices, 3, 1, 2, 4, 5, 2, 7)
		if i == 0 && d.One(2) {
			s[i] = int(d.batch)
		}
	}
	for count(s) > maxElements/2 {
		s[slices.Index(s, slices.Max(s))] = 1
	}
	return s
}

func count(s []int) int {
	n := 1
	for _, k := range s {
		n *= k
	}
	return n
}

// leaf is a new float value of the shape: an input, a weight, or a constant.
func (d *drawing) leaf(shape []int) *onnx.Value {
	x := &ref.Array{Type: d.float, Shape: shape, F: make([]float64, count(shape))}
	kind := d.IntN(4)
	for i := range x.F {
		switch {
		case kind == 3 && !d.free: // with ties and zeros
			x.F[i] = float64(d.rng.IntN(9)-4) / 2
		default:
			x.F[i] = float64(float32(d.rng.NormFloat64()))
		}
	}
	return d.place(x)
}

// positive is a leaf of numbers between 0.5 and 2.
func (d *drawing) positive(shape []int) *onnx.Value {
	x := &ref.Array{Type: d.float, Shape: shape, F: make([]float64, count(shape))}
	for i := range x.F {
		x.F[i] = float64(float32(0.5 + 1.5*d.rng.Float64()))
	}
	return d.place(x)
}

func (d *drawing) place(x *ref.Array) *onnx.Value {
	if open := d.free && x.Type == d.float; !open && d.IntN(3) != 0 {
		return d.constant(x)
	}
	s := shapeOf(x)
	if d.dynamic && len(s) > 0 && s[0].N == d.batch {
		s[0] = onnx.Dim{N: 1, Sym: "batch"}
	}
	v := d.g.AddInput(fmt.Sprintf("x%d", len(d.g.Inputs)), x.Type, s)
	d.arrays[v] = x
	return v
}

// constant is an initializer or a Constant node.
func (d *drawing) constant(x *ref.Array) *onnx.Value {
	t, err := x.Tensor(x.Type)
	if err != nil {
		d.err = err
		return nil
	}
	v := (*onnx.Value)(nil)
	if d.One(4) {
		v = d.b.Op("Constant", []onnx.Attr{{Name: "value", Value: t}})
	} else {
		v = d.b.Const(t)
	}
	d.arrays[v] = x
	return v
}

func (d *drawing) ints(v ...int64) *onnx.Value { return d.constant(ref.Ints(v, len(v))) }

func (d *drawing) scalarInt(v int) *ref.Array { return ref.Ints([]int64{int64(v)}) }

func (d *drawing) number(v float64) *onnx.Value {
	return d.constant(ref.Floats([]float64{float64(float32(v))}).As(d.float))
}

// indices are integers below n, some counted from the end.
func (d *drawing) indices(n int, shape ...int) *onnx.Value {
	v := make([]int64, count(shape))
	for i := range v {
		v[i] = int64(d.IntN(n))
		if d.One(4) {
			v[i] -= int64(n)
		}
	}
	return d.constant(ref.Ints(v, shape...))
}

// which chooses a live value, one of the later ones rather than an early one.
func (d *drawing) which(good func(v *onnx.Value) bool) *onnx.Value {
	var list []*onnx.Value
	for _, v := range d.live {
		if good(v) {
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		return nil
	}
	recent := list[max(0, len(list)-4):]
	if d.One(4) {
		recent = list
	}
	return recent[len(recent)-1-d.IntN(len(recent))]
}

// floats is a float value with a rank between low and high.
func (d *drawing) floats(low, high int) *onnx.Value {
	return d.floatsOf(low, high, func([]int) bool { return true })
}

// filled is floats that are one element or more.
func (d *drawing) filled(low, high int) *onnx.Value {
	return d.floatsOf(low, high, func(s []int) bool { return count(s) > 0 })
}

func (d *drawing) floatsOf(low, high int, good func(shape []int) bool) *onnx.Value {
	v := d.which(func(v *onnx.Value) bool {
		return v.Type == d.float && d.rank(v) >= low && d.rank(v) <= high && good(d.dims(v))
	})
	if v == nil || d.One(6) {
		v = d.keep(d.leaf(d.shape(low, high)))
	}
	return v
}

// integers is an int64 value.
func (d *drawing) integers() *onnx.Value {
	v := d.which(func(v *onnx.Value) bool { return v.Type == onnx.Int64 })
	if v != nil && !d.One(3) {
		return v
	}
	x := ref.Ints(nil, d.shape(0, 3)...)
	for range count(x.Shape) {
		x.I = append(x.I, int64(d.rng.IntN(21)-10))
	}
	return d.keep(d.place(x))
}

// booleans is a bool value, made by a comparison where there is none.
func (d *drawing) booleans() *onnx.Value {
	v := d.which(func(v *onnx.Value) bool { return v.Type == onnx.Bool })
	if v != nil && !d.One(3) {
		return v
	}
	x := ref.Bools(nil, d.shape(0, 3)...)
	for range count(x.Shape) {
		x.B = append(x.B, d.rng.IntN(2) == 1)
	}
	return d.keep(d.place(x))
}

// numbers is a float value, or an integer one in four.
func (d *drawing) numbers() *onnx.Value {
	if d.One(4) {
		return d.integers()
	}
	return d.floats(0, 5)
}

// anything is a value of any type.
func (d *drawing) anything() *onnx.Value {
	if d.One(6) {
		return d.booleans()
	}
	return d.numbers()
}

// partner is a value of v's type that broadcasts with it.
func (d *drawing) partner(v *onnx.Value) *onnx.Value {
	if d.One(2) {
		w := d.which(func(w *onnx.Value) bool {
			s, ok := broadcast(d.dims(v), d.dims(w))
			return w.Type == v.Type && ok && count(s) <= maxElements
		})
		if w != nil {
			return w
		}
	}
	return d.likeIn(v, d.against(d.dims(v)))
}

// likeIn is a leaf of v's type with a shape.
func (d *drawing) likeIn(v *onnx.Value, shape []int) *onnx.Value {
	switch v.Type {
	case onnx.Int64:
		x := ref.Ints(nil, shape...)
		for range count(shape) {
			x.I = append(x.I, int64(d.rng.IntN(21)-10))
		}
		return d.place(x)
	case onnx.Bool:
		x := ref.Bools(nil, shape...)
		for range count(shape) {
			x.B = append(x.B, d.rng.IntN(2) == 1)
		}
		return d.place(x)
	}
	return d.leaf(shape)
}

// against is a shape that broadcasts with s, in either direction.
func (d *drawing) against(s []int) []int {
	out := slices.Clone(s)
	for i := range out {
		switch {
		case d.One(3):
			out[i] = 1
		case out[i] == 1 && d.One(2):
			out[i] = d.Between(1, 3)
		}
	}
	switch d.IntN(4) {
	case 1:
		out = out[d.IntN(len(out)+1):]
	case 2:
		if len(out) < 5 {
			out = append([]int{d.Between(1, 2)}, out...)
		}
	}
	return out
}

func broadcast(s, t []int) ([]int, bool) {
	if len(s) < len(t) {
		s, t = t, s
	}
	out := slices.Clone(s)
	for i, k := range t {
		j := len(s) - len(t) + i
		switch {
		case out[j] == 1:
			out[j] = k
		case k != 1 && k != out[j]:
			return nil, false
		}
	}
	return out, true
}

// axis decides for an axis of a value of that rank, from either end.
func (d *drawing) axis(rank int) int64 {
	a := int64(d.IntN(rank))
	if d.One(2) {
		a -= int64(rank)
	}
	return a
}

// axes decides for several.
func (d *drawing) axes(rank int) []int64 {
	out := d.Some(rank)
	for i := range out {
		if d.One(2) {
			out[i] -= int64(rank)
		}
	}
	return out
}

func at(name string, value any) onnx.Attr {
	if i, ok := value.(int); ok {
		value = int64(i)
	}
	return onnx.Attr{Name: name, Value: value}
}
