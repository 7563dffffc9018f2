package onnx

import (
	"fmt"
	"math"
	"strings"
)

// Dim is one dimension: a known size (N, no Sym), a multiple of a named size
// (N times Sym, such as 3*batch), or unknown.
type Dim struct {
	N   int64
	Sym string
}

// Unknown is a dimension, or an element, of which nothing is known. It isn't
// the number -1, which shape arithmetic has a meaning for.
var Unknown = Dim{N: math.MinInt64}

// D is the known dimension n.
func D(n int64) Dim { return Dim{N: n} }

// Known reports whether the size is a plain number.
func (d Dim) Known() bool { return d.Sym == "" && d.N >= 0 }

// Is reports whether the size is known to be n.
func (d Dim) Is(n int64) bool { return d.Known() && d.N == n }

// Same reports whether both dimensions are known to have the same size.
func (d Dim) Same(e Dim) bool { return d == e && d != Unknown }

// Times is the product of two dimensions, Unknown where it can't be written.
func (d Dim) Times(e Dim) Dim {
	switch {
	case d.N == 0 || e.N == 0:
		return D(0)
	case d == Unknown || e == Unknown || (d.Sym != "" && e.Sym != ""):
		return Unknown
	}
	n := d.N * e.N
	if n/e.N != d.N || n == Unknown.N { // it is too large for a number
		return Unknown
	}
	return Dim{N: n, Sym: d.Sym + e.Sym}
}

// Over is the exact quotient of two dimensions, Unknown where there is none.
func (d Dim) Over(e Dim) Dim {
	switch {
	case d == Unknown || e == Unknown || e.N == 0 || d.N%e.N != 0:
		return Unknown
	case d.Sym == e.Sym:
		return D(d.N / e.N)
	case e.Sym == "":
		return Dim{N: d.N / e.N, Sym: d.Sym}
	}
	return Unknown
}

// String prints the dimension as 197, batch, 3*batch or ?.
func (d Dim) String() string {
	switch {
	case d == Unknown:
		return "?"
	case d.Sym == "":
		return fmt.Sprint(d.N)
	case d.N == 1:
		return d.Sym
	}
	return fmt.Sprintf("%d*%s", d.N, d.Sym)
}

// Shape lists a value's dimensions. A nil Shape has unknown rank; a scalar's is
// empty and not nil.
type Shape []Dim

// ShapeOf returns the shape with the given known sizes.
func ShapeOf(dims ...int64) Shape {
	s := make(Shape, len(dims))
	for i, d := range dims {
		s[i] = D(d)
	}
	return s
}

// String prints the shape as (batch,3,224,224), or ? where the rank is unknown.
func (s Shape) String() string {
	if s == nil {
		return "?"
	}
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = d.String()
	}
	return "(" + strings.Join(parts, ",") + ")"
}

// Known reports whether rank and all sizes are known.
func (s Shape) Known() bool {
	if s == nil {
		return false
	}
	for _, d := range s {
		if !d.Known() {
			return false
		}
	}
	return true
}

// Ints returns the sizes, with -1 where a size isn't known.
func (s Shape) Ints() []int64 {
	out := make([]int64, len(s))
	for i, d := range s {
		out[i] = -1
		if d.Known() {
			out[i] = d.N
		}
	}
	return out
}

// Count is the number of elements.
func (s Shape) Count() Dim {
	if s == nil {
		return Unknown
	}
	n := D(1)
	for _, d := range s {
		n = n.Times(d)
	}
	return n
}

// Same reports whether both shapes are known to be equal.
func (s Shape) Same(t Shape) bool {
	if s == nil || t == nil || len(s) != len(t) {
		return false
	}
	for i := range s {
		if !s[i].Same(t[i]) {
			return false
		}
	}
	return true
}

// Clone returns a copy; nil stays nil.
func (s Shape) Clone() Shape {
	if s == nil {
		return nil
	}
	return append(Shape{}, s...)
}

// Broadcast is the common shape of two operands by ONNX's (numpy's) rule. A
// named dimension against a number above one is taken to be that number.
func Broadcast(s, t Shape) (Shape, error) {
	if s == nil || t == nil {
		return nil, nil
	}
	if len(s) < len(t) {
		s, t = t, s
	}
	out := s.Clone()
	for i := range t {
		j := len(s) - len(t) + i
		d, err := broadcastDim(s[j], t[i])
		if err != nil {
			return nil, fmt.Errorf("shapes %v and %v don't broadcast: %w", s, t, err)
		}
		out[j] = d
	}
	return out, nil
}

func broadcastDim(a, b Dim) (Dim, error) {
	switch {
	case a.Is(1):
		return b, nil
	case b.Is(1) || a.Same(b):
		return a, nil
	case a.Known() && b.Known():
		return Unknown, fmt.Errorf("%v against %v", a, b)
	case a.Known():
		return a, nil
	case b.Known():
		return b, nil
	}
	return Unknown, nil
}
