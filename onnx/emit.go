package onnx

import "math"

// The functions here emit one operator each, or none where nothing is to do:
// short hands for Builder.Op with the operator's attributes spelled out.

// Scalar is a constant of like's type without dimensions.
func (b *Builder) Scalar(x float64, like *Value) *Value {
	return b.Floats([]float64{x}, like)
}

// Floats is a constant tensor of like's type, float32 or float64.
func (b *Builder) Floats(v []float64, like *Value, dims ...int64) *Value {
	if like.Type == Double {
		return b.Const(DoubleTensor(v, dims...))
	}
	narrow := make([]float32, len(v))
	for i, x := range v {
		narrow[i] = float32(x)
	}
	return b.Const(FloatTensor(narrow, dims...))
}

// Ints is a constant int64 vector.
func (b *Builder) Ints(v ...int64) *Value { return b.Const(Int64Tensor(v, int64(len(v)))) }

// Int is a constant int64 scalar.
func (b *Builder) Int(v int64) *Value { return b.Const(Int64Tensor([]int64{v})) }

// Add emits x + y.
func (b *Builder) Add(x, y *Value) *Value { return b.Op("Add", nil, x, y) }

// Sub emits x - y.
func (b *Builder) Sub(x, y *Value) *Value { return b.Op("Sub", nil, x, y) }

// Mul emits x * y, elementwise.
func (b *Builder) Mul(x, y *Value) *Value { return b.Op("Mul", nil, x, y) }

// Div emits x / y, elementwise.
func (b *Builder) Div(x, y *Value) *Value { return b.Op("Div", nil, x, y) }

// Neg emits -x.
func (b *Builder) Neg(x *Value) *Value { return b.Op("Neg", nil, x) }

// Scale emits x * c for a number c.
func (b *Builder) Scale(x *Value, c float64) *Value {
	if c == 1 {
		return x
	}
	return b.Mul(x, b.Scalar(c, x))
}

// MatMul emits numpy's matmul of x and y.
func (b *Builder) MatMul(x, y *Value) *Value { return b.Op("MatMul", nil, x, y) }

// Transpose permutes dimensions; the identity emits nothing.
func (b *Builder) Transpose(x *Value, perm ...int64) *Value {
	identity := true
	for i, p := range perm {
		identity = identity && int64(i) == p
	}
	if identity {
		return x
	}
	if first := x.perm(); len(first) == len(perm) {
		both := make([]int64, len(perm))
		for i, p := range perm {
			both[i] = first[p]
		}
		return b.Transpose(x.Node.Inputs[0], both...)
	}
	return b.Op("Transpose", []Attr{{"perm", perm}}, x)
}

// perm is the permutation of the Transpose that gives v, nil if none does.
func (v *Value) perm() []int64 {
	if !v.Is("Transpose") {
		return nil
	}
	return v.Node.Ints("perm")
}

// SwapLast transposes the last two dimensions.
func (b *Builder) SwapLast(x *Value) *Value {
	r := len(x.Shape)
	if r < 2 {
		b.Fail("%s has %d dimensions, transposing its last two needs two", x, r)
		return x
	}
	perm := make([]int64, r)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[r-1], perm[r-2] = perm[r-2], perm[r-1]
	return b.Transpose(x, perm...)
}

// Reshape gives x the shape s, of which one dimension may be other than a
// number; the same shape emits nothing.
func (b *Builder) Reshape(x *Value, s Shape) *Value {
	if x.Shape.Same(s) {
		return x
	}
	open := 0
	for _, d := range s {
		if !d.Known() {
			open++
		}
	}
	if open > 1 {
		b.Fail("can't reshape %s to %v: more than one size is unknown", x, s)
		return x
	}
	if x.Is("Reshape") {
		return b.Reshape(x.Node.Inputs[0], s)
	}
	y := b.Op("Reshape", nil, x, b.Ints(s.Ints()...))
	if s.Count().Same(x.Shape.Count()) {
		y.Shape = s.Clone()
	}
	return y
}

// Unsqueeze inserts dimensions of size 1 at the given axes of the result.
func (b *Builder) Unsqueeze(x *Value, axes ...int64) *Value {
	return b.Op("Unsqueeze", nil, x, b.Ints(axes...))
}

// Squeeze removes the given dimensions of size 1.
func (b *Builder) Squeeze(x *Value, axes ...int64) *Value {
	return b.Op("Squeeze", nil, x, b.Ints(axes...))
}

// Reduce emits a reduction (ReduceSum, ReduceMean, ReduceMax, ...) over axes;
// without axes over all dimensions.
func (b *Builder) Reduce(op string, x *Value, keep bool, axes ...int64) *Value {
	var axis *Value
	if len(axes) > 0 {
		axis = b.Ints(axes...)
	}
	k := int64(0)
	if keep {
		k = 1
	}
	return b.Op(op, []Attr{{"keepdims", k}}, x, axis)
}

// Sum emits ReduceSum without keeping the reduced dimensions.
func (b *Builder) Sum(x *Value, axes ...int64) *Value {
	return b.Reduce("ReduceSum", x, false, axes...)
}

// Mean emits ReduceMean without keeping the reduced dimensions.
func (b *Builder) Mean(x *Value, axes ...int64) *Value {
	return b.Reduce("ReduceMean", x, false, axes...)
}

// Cast converts to another element type; the same type emits nothing.
func (b *Builder) Cast(x *Value, t DType) *Value {
	if x.Type == t {
		return x
	}
	return b.Op("Cast", []Attr{{"to", int64(t)}}, x)
}

// Where emits cond ? x : y, elementwise.
func (b *Builder) Where(cond, x, y *Value) *Value { return b.Op("Where", nil, cond, x, y) }

// Expand broadcasts x to s; sizes that aren't numbers keep x's own.
func (b *Builder) Expand(x *Value, s Shape) *Value {
	if x.Shape.Same(s) {
		return x
	}
	dims := s.Ints()
	for i, d := range dims {
		if d < 0 {
			dims[i] = 1
		}
	}
	return b.Op("Expand", nil, x, b.Ints(dims...))
}

// Slice takes [start, end) along one axis.
func (b *Builder) Slice(x *Value, axis, start, end int64) *Value {
	return b.Op("Slice", nil, x, b.Ints(start), b.Ints(end), b.Ints(axis))
}

// Concat joins values along an axis.
func (b *Builder) Concat(axis int64, xs ...*Value) *Value {
	if len(xs) == 1 {
		return xs[0]
	}
	return b.Op("Concat", []Attr{{"axis", axis}}, xs...)
}

// Softmax emits the softmax along an axis.
func (b *Builder) Softmax(x *Value, axis int64) *Value {
	return b.Op("Softmax", []Attr{{"axis", axis}}, x)
}

// End is an exclusive end that reaches past every dimension in Slice.
const End = math.MaxInt64
