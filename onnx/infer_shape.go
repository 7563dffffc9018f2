package onnx

import (
	"fmt"
	"math"
	"slices"
)

// shapeRules: operators that move elements without computing, and those that
// make and read shapes.
var shapeRules = map[string]inferRule{
	"Reshape":         need(2, inferReshape),
	"Flatten":         need(1, inferFlatten),
	"Transpose":       need(1, inferTranspose),
	"Squeeze":         need(1, inferSqueeze),
	"Unsqueeze":       need(2, inferUnsqueeze),
	"Concat":          need(1, inferConcat),
	"Split":           need(1, inferSplit),
	"Expand":          need(2, inferExpand),
	"Tile":            need(2, inferTile),
	"Constant":        inferConstant,
	"ConstantOfShape": need(1, inferConstantOfShape),
	"EyeLike":         need(1, inferEyeLike),
	"Shape":           need(1, inferShape),
	"Size":            need(1, inferSize),
	"Range":           need(3, inferRange),
}

func inferReshape(n *Node) error {
	x := n.Inputs[0]
	target := elems(n.Inputs[1])
	if target == nil {
		var s Shape
		if r, ok := rankOf(n.Inputs[1]); ok {
			s = unknown(r)
		}
		return give(n, 0, x.Type, s)
	}
	s, err := reshaped(x.Shape, target, n.Int("allowzero", 0) != 0)
	if err != nil {
		return fmt.Errorf("can't reshape %v to %v: %w", x, target, err)
	}
	return giveElems(n, x.Type, s, elems(x))
}

// rankOf is the number of elements of a vector that holds a shape.
func rankOf(v *Value) (int, bool) {
	if len(v.Shape) != 1 || !v.Shape[0].Known() || v.Shape[0].N > maxElems {
		return 0, false
	}
	return int(v.Shape[0].N), true
}

// reshaped is the shape that Reshape's second input asks for: 0 copies, -1
// takes what is left. The one size that isn't known follows from the others.
func reshaped(x Shape, target []Dim, allowZero bool) (Shape, error) {
	s := slices.Clone(target)
	copied := map[int]bool{}
	open := -1
	for i, d := range target {
		switch {
		case d == D(0) && !allowZero:
			s[i] = Unknown
			if x != nil {
				if i >= len(x) {
					return nil, fmt.Errorf("0 at %d copies a dimension that the input doesn't have", i)
				}
				s[i], copied[i] = x[i], true
			}
		case d == D(-1):
			if open >= 0 {
				return nil, fmt.Errorf("-1 occurs twice")
			}
			open, s[i] = i, Unknown
		case d.Sym == "" && d.N < 0 && d != Unknown:
			return nil, fmt.Errorf("size %d is negative", d.N)
		}
	}
	total, rest := D(1), D(1)
	if x == nil {
		total = Unknown
	}
	for i, d := range x {
		if !copied[i] {
			total = total.Times(d)
		}
	}
	vague := 0
	for i, d := range s {
		switch {
		case copied[i] || i == open:
		case d == Unknown:
			vague++
			if open < 0 {
				open = i
			} else {
				rest = Unknown
			}
		default:
			rest = rest.Times(d)
		}
	}
	if open >= 0 {
		if total.Known() && rest.Known() && rest.N > 0 && total.N%rest.N != 0 {
			return nil, fmt.Errorf("%v elements don't divide by %v", total, rest)
		}
		s[open] = total.Over(rest)
	} else if vague == 0 && total.Known() && rest.Known() && total != rest {
		return nil, fmt.Errorf("%v elements against %v", total, rest)
	}
	return Shape(s), nil
}

func inferFlatten(n *Node) error {
	x := n.Inputs[0]
	if x.Shape == nil {
		return give(n, 0, x.Type, unknown(2))
	}
	axis := n.Int("axis", 1)
	rank := int64(len(x.Shape))
	if axis < -rank || axis > rank {
		return fmt.Errorf("axis %d is out of range for %v", axis, x)
	}
	if axis < 0 {
		axis += rank
	}
	return give(n, 0, x.Type, Shape{x.Shape[:axis].Count(), x.Shape[axis:].Count()})
}

func inferTranspose(n *Node) error {
	x := n.Inputs[0]
	perm := n.Ints("perm")
	rank := len(x.Shape)
	if x.Shape == nil {
		rank = len(perm)
	}
	if perm != nil && !permutes(perm, rank) {
		return fmt.Errorf("perm %v is no permutation of the dimensions of %v", perm, x)
	}
	if x.Shape == nil {
		var s Shape
		if perm != nil {
			s = unknown(len(perm))
		}
		return give(n, 0, x.Type, s)
	}
	s := make(Shape, len(x.Shape))
	if perm == nil {
		for i := range s {
			s[i] = x.Shape[len(s)-1-i]
		}
		return give(n, 0, x.Type, s)
	}
	for i, p := range perm {
		s[i] = x.Shape[p]
	}
	return give(n, 0, x.Type, s)
}

// permutes reports whether perm has each of the numbers below rank once. Negative
// ones, which axes may have, aren't allowed by ONNX here.
func permutes(perm []int64, rank int) bool {
	if len(perm) != rank {
		return false
	}
	there := make([]bool, rank)
	for _, p := range perm {
		if p < 0 || p >= int64(rank) || there[p] {
			return false
		}
		there[p] = true
	}
	return true
}

func inferSqueeze(n *Node) error {
	x := n.Inputs[0]
	axes, known := numbers(n.In(1))
	if x.Shape == nil || (n.In(1) != nil && !known) {
		return give(n, 0, x.Type, nil)
	}
	set, err := axesIn(axes, len(x.Shape))
	if err != nil {
		return fmt.Errorf("squeezing %v: %w", x, err)
	}
	s := Shape{}
	for i, d := range x.Shape {
		switch {
		case n.In(1) == nil && !d.Known():
			return give(n, 0, x.Type, nil)
		case n.In(1) == nil && d.Is(1):
		case set[i] && d.Known() && !d.Is(1):
			return fmt.Errorf("can't squeeze dimension %d of %v, which is %v, not 1", i, x, d)
		case !set[i]:
			s = append(s, d)
		}
	}
	return giveElems(n, x.Type, s, elems(x))
}

func inferUnsqueeze(n *Node) error {
	x := n.Inputs[0]
	axes, known := numbers(n.Inputs[1])
	if x.Shape == nil || !known {
		return give(n, 0, x.Type, nil)
	}
	rank := len(x.Shape) + len(axes)
	set, err := axesIn(axes, rank)
	if err != nil {
		return fmt.Errorf("unsqueezing %v: %w", x, err)
	}
	s := make(Shape, 0, rank)
	rest := x.Shape
	for i := range rank {
		if set[i] {
			s = append(s, D(1))
		} else {
			s, rest = append(s, rest[0]), rest[1:]
		}
	}
	return giveElems(n, x.Type, s, elems(x))
}

func inferConcat(n *Node) error {
	t, err := commonTypeOf(n)
	if err != nil {
		return err
	}
	var s Shape
	axis := 0
	var joined []Dim
	for i, v := range n.Inputs {
		if v.Shape == nil {
			return give(n, 0, t, nil)
		}
		if i == 0 {
			s = v.Shape.Clone()
			if axis, err = axisIn(n.Int("axis", 0), len(s)); err != nil {
				return fmt.Errorf("concatenating %v: %w", v, err)
			}
			s[axis] = D(0)
		}
		if len(v.Shape) != len(s) {
			return fmt.Errorf("can't concatenate %v and %v: their ranks differ", n.Inputs[0], v)
		}
		for j, d := range v.Shape {
			if j == axis {
				s[j] = s[j].Plus(d)
				continue
			}
			var ok bool
			if s[j], ok = agree(s[j], d); !ok {
				return fmt.Errorf("can't concatenate %v and %v along axis %d: dimension %d differs", n.Inputs[0], v, axis, j)
			}
		}
		joined = appendElems(joined, v)
	}
	if !s.Known() || len(joined) != int(s.Count().N) {
		joined = nil
	}
	return giveElems(n, t, s, joined)
}

// appendElems appends a vector's elements, unknown ones where only its length
// is known.
func appendElems(to []Dim, v *Value) []Dim {
	if len(v.Shape) != 1 || !v.Shape[0].Known() || v.Shape[0].N > maxElems || !countable(v.Type) {
		return to
	}
	if e := elems(v); e != nil {
		return append(to, e...)
	}
	return append(to, unknown(int(v.Shape[0].N))...)
}

// commonTypeOf is the one type of all the node's inputs, none of which may be
// left out.
func commonTypeOf(n *Node) (DType, error) {
	for i, v := range n.Inputs {
		if v == nil {
			return Undefined, fmt.Errorf("has no input %d, which the operator needs", i)
		}
	}
	return commonType(n.Inputs...)
}

func inferSplit(n *Node) error {
	x := n.Inputs[0]
	if x.Shape == nil {
		for i := range n.Outputs {
			if err := give(n, i, x.Type, nil); err != nil {
				return err
			}
		}
		return nil
	}
	axis, err := axisIn(n.Int("axis", 0), len(x.Shape))
	if err != nil {
		return fmt.Errorf("splitting %v: %w", x, err)
	}
	parts, err := splitSizes(n, x.Shape[axis])
	if err != nil {
		return fmt.Errorf("splitting %v along axis %d: %w", x, axis, err)
	}
	for i := range n.Outputs {
		s := x.Shape.Clone()
		s[axis] = parts[i]
		if err := give(n, i, x.Type, s); err != nil {
			return err
		}
	}
	return nil
}

// splitSizes are the sizes that Split cuts a dimension into, one an output.
func splitSizes(n *Node, whole Dim) ([]Dim, error) {
	count := int64(len(n.Outputs))
	if n.In(1) == nil {
		if k := n.Int("num_outputs", count); k != count {
			return nil, fmt.Errorf("num_outputs is %d but the node has %d outputs", k, count)
		}
		parts := unknown(int(count))
		for i := range parts {
			if whole.Known() {
				chunk := (whole.N + count - 1) / count
				parts[i] = D(max(0, min(chunk, whole.N-int64(i)*chunk)))
			} else {
				parts[i] = whole.Over(D(count))
			}
		}
		return parts, nil
	}
	parts := elems(n.Inputs[1])
	if parts == nil {
		return unknown(int(count)), nil
	}
	if int64(len(parts)) != count {
		return nil, fmt.Errorf("%d sizes %v for %d outputs", len(parts), parts, count)
	}
	sum := D(0)
	for _, p := range parts {
		sum = sum.Plus(p)
	}
	if _, ok := agree(sum, whole); !ok {
		return nil, fmt.Errorf("sizes %v add up to %v, not %v", parts, sum, whole)
	}
	return parts, nil
}

func inferExpand(n *Node) error {
	x := n.Inputs[0]
	target := elems(n.Inputs[1])
	if target == nil {
		var s Shape
		if r, ok := rankOf(n.Inputs[1]); ok && x.Shape != nil {
			s, _ = Broadcast(x.Shape, unknown(r))
		}
		return give(n, 0, x.Type, s)
	}
	s, err := Broadcast(x.Shape, Shape(target))
	if err != nil {
		return fmt.Errorf("expanding %v to %v: %w", x, target, err)
	}
	e := elems(x)
	if len(e) == 1 && len(s) == 1 && s[0].Known() && s[0].N <= maxElems {
		e = slices.Repeat(e, int(s[0].N))
	}
	return giveElems(n, x.Type, s, e)
}

func inferTile(n *Node) error {
	x := n.Inputs[0]
	if x.Shape == nil {
		return give(n, 0, x.Type, nil)
	}
	repeats := elems(n.Inputs[1])
	if repeats == nil {
		return give(n, 0, x.Type, unknown(len(x.Shape)))
	}
	if len(repeats) != len(x.Shape) {
		return fmt.Errorf("tiling %v takes %d repeats, found %v", x, len(x.Shape), repeats)
	}
	s := make(Shape, len(repeats))
	for i, r := range repeats {
		s[i] = x.Shape[i].Times(r)
	}
	e := elems(x)
	if len(s) == 1 && e != nil && repeats[0].Known() && int64(len(e))*repeats[0].N <= maxElems {
		return giveElems(n, x.Type, s, slices.Repeat(e, int(repeats[0].N)))
	}
	return give(n, 0, x.Type, s)
}

// ConstantTensor is the tensor that a Constant node gives, whichever of its
// attributes holds it; nil for strings and sparse tensors.
func ConstantTensor(n *Node) *Tensor {
	for _, a := range n.Attrs {
		switch v := a.Value.(type) {
		case *Tensor:
			return v
		case float32:
			return FloatTensor([]float32{v})
		case int64:
			return Int64Tensor([]int64{v})
		case []float32:
			return FloatTensor(v, int64(len(v)))
		case []int64:
			return Int64Tensor(v, int64(len(v)))
		}
	}
	return nil
}

func inferConstant(n *Node) error {
	t := ConstantTensor(n)
	if t == nil {
		return nil
	}
	if err := giveElems(n, t.Type, t.Shape(), elemsOf(t)); err != nil {
		return err
	}
	if v := n.Out(0); v != nil {
		v.Data = t
	}
	return nil
}

func inferConstantOfShape(n *Node) error {
	fill, _ := n.Attr("value").(*Tensor)
	if fill == nil {
		fill = FloatTensor([]float32{0}, 1)
	}
	target := elems(n.Inputs[0])
	if target == nil {
		var s Shape
		if r, ok := rankOf(n.Inputs[0]); ok {
			s = unknown(r)
		}
		return give(n, 0, fill.Type, s)
	}
	s := Shape(slices.Clone(target))
	for i, d := range s {
		if d.number() && d.N < 0 {
			return fmt.Errorf("size %d of the shape %v is negative", i, target)
		}
	}
	e := elemsOf(fill)
	if len(e) != 1 || len(s) > 1 || !s.Known() || s.Count().N > maxElems {
		return give(n, 0, fill.Type, s)
	}
	return giveElems(n, fill.Type, s, slices.Repeat(e, int(s.Count().N)))
}

func inferEyeLike(n *Node) error {
	x := n.Inputs[0]
	return give(n, 0, DType(n.Int("dtype", int64(x.Type))), x.Shape)
}

func inferShape(n *Node) error {
	x := n.Inputs[0]
	if x.Shape == nil {
		return give(n, 0, Int64, unknown(1))
	}
	rank := int64(len(x.Shape))
	clamp := func(i int64) int64 {
		if i < 0 {
			i += rank
		}
		return min(max(i, 0), rank)
	}
	start, end := clamp(n.Int("start", 0)), clamp(n.Int("end", rank))
	e := slices.Clone(x.Shape[start:max(start, end)])
	return giveElems(n, Int64, ShapeOf(int64(len(e))), e)
}

func inferSize(n *Node) error {
	return giveElems(n, Int64, Shape{}, []Dim{n.Inputs[0].Shape.Count()})
}

func inferRange(n *Node) error {
	t, err := commonType(n.Inputs[:3]...)
	if err != nil {
		return err
	}
	var ends [3]float64
	for i, v := range n.Inputs[:3] {
		x, ok := scalarOf(v)
		if !ok {
			return give(n, 0, t, Shape{symbolicRange(n)})
		}
		ends[i] = x
	}
	start, limit, delta := ends[0], ends[1], ends[2]
	count := math.Max(0, math.Ceil((limit-start)/delta))
	if !(delta != 0 && count < math.MaxInt32) {
		return fmt.Errorf("the range from %v to %v in steps of %v has no end", start, limit, delta)
	}
	var e []Dim
	if count <= maxElems && countable(t) {
		e = make([]Dim, int(count))
		for i := range e {
			e[i] = D(int64(start) + int64(i)*int64(delta))
		}
	}
	return giveElems(n, t, ShapeOf(int64(count)), e)
}

// symbolicRange is the length of a range from 0 in steps of 1 to a named size.
func symbolicRange(n *Node) Dim {
	start, limit, delta := elems(n.Inputs[0]), elems(n.Inputs[1]), elems(n.Inputs[2])
	if len(start) == 1 && start[0].Is(0) && len(delta) == 1 && delta[0].Is(1) && len(limit) == 1 && limit[0].N > 0 {
		return limit[0]
	}
	return Unknown
}

// scalarOf reads a constant scalar of any numeric type.
func scalarOf(v *Value) (float64, bool) {
	if e, ok := numbers(v); ok && len(e) == 1 {
		return float64(e[0]), true
	}
	if v.Data == nil || v.Data.Count() != 1 {
		return 0, false
	}
	f, err := v.Data.Float64s()
	if err != nil {
		return 0, false
	}
	return f[0], true
}
