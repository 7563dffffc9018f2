package onnx

// Arithmetic on elements that shape inference knows: numbers, multiples of a
// named size, or Unknown.

// number reports whether d is a plain number, which may be negative.
func (d Dim) number() bool { return d.Sym == "" && d != Unknown }

// Plus is the sum of two dimensions or elements, Unknown where it can't be
// written.
func (d Dim) Plus(e Dim) Dim {
	switch {
	case d == Unknown || e == Unknown:
		return Unknown
	case e.Sym == "" && e.N == 0:
		return d
	case d.Sym == "" && d.N == 0:
		return e
	case d.Sym != e.Sym:
		return Unknown
	case d.N+e.N == 0:
		return D(0)
	}
	n := d.N + e.N
	if (n > d.N) != (e.N > 0) || n == Unknown.N { // it is too large for a number
		return Unknown
	}
	return Dim{N: n, Sym: d.Sym}
}

// Minus is the difference of two dimensions or elements.
func (d Dim) Minus(e Dim) Dim {
	if e == Unknown {
		return Unknown
	}
	return d.Plus(Dim{N: -e.N, Sym: e.Sym})
}

// quotient is C's integer division, which Div means on integers.
func quotient(d, e Dim) Dim {
	if d.number() && e.number() && e.N != 0 {
		return D(d.N / e.N)
	}
	return d.Over(e)
}

func cRemainder(d, e Dim) Dim {
	if !d.number() || !e.number() || e.N == 0 {
		return Unknown
	}
	return D(d.N % e.N)
}

func remainder(d, e Dim) Dim {
	r := cRemainder(d, e)
	if r != Unknown && r.N != 0 && (r.N < 0) != (e.N < 0) {
		r.N += e.N
	}
	return r
}

func larger(d, e Dim) Dim {
	if c, ok := compare(d, e); ok && c >= 0 {
		return d
	} else if ok {
		return e
	}
	return Unknown
}

func smaller(d, e Dim) Dim {
	if c, ok := compare(d, e); ok && c <= 0 {
		return d
	} else if ok {
		return e
	}
	return Unknown
}

// compare orders two elements where that is certain: named sizes are not
// negative, which is all that is known of them.
func compare(d, e Dim) (int, bool) {
	switch {
	case d == Unknown || e == Unknown:
		return 0, false
	case d == e:
		return 0, true
	case d.number() && e.number():
		if d.N < e.N {
			return -1, true
		}
		return 1, true
	case d.Sym != "" && d.N > 0 && e.number() && e.N < 0:
		return 1, true
	case e.Sym != "" && e.N > 0 && d.number() && d.N < 0:
		return -1, true
	}
	return 0, false
}

// truth makes a comparison's outcome an element.
func truth(test func(c int) bool) func(d, e Dim) Dim {
	return func(d, e Dim) Dim {
		c, ok := compare(d, e)
		switch {
		case !ok:
			return Unknown
		case test(c):
			return D(1)
		}
		return D(0)
	}
}

func both(d, e Dim) Dim {
	switch {
	case d.Is(0) || e.Is(0):
		return D(0)
	case d.Is(1) && e.Is(1):
		return D(1)
	}
	return Unknown
}

func either(d, e Dim) Dim {
	switch {
	case d.Is(1) || e.Is(1):
		return D(1)
	case d.Is(0) && e.Is(0):
		return D(0)
	}
	return Unknown
}

func differ(d, e Dim) Dim {
	if d.number() && e.number() {
		return truth(func(c int) bool { return c != 0 })(d, e)
	}
	return Unknown
}

// zip applies f elementwise with broadcasting of vectors and scalars; nil where
// one of them isn't known or the lengths don't fit.
func zip(f func(d, e Dim) Dim, x, y []Dim) []Dim {
	if x == nil || y == nil {
		return nil
	}
	n := max(len(x), len(y))
	if len(x) == 0 || len(y) == 0 {
		n = 0
	}
	if (len(x) != n && len(x) != 1) || (len(y) != n && len(y) != 1) {
		return nil
	}
	out := make([]Dim, n)
	for i := range out {
		out[i] = f(x[min(i, len(x)-1)], y[min(i, len(y)-1)])
	}
	return out
}

// choose is Where on elements.
func choose(cond, x, y []Dim) []Dim {
	if cond == nil || x == nil || y == nil {
		return nil
	}
	n := max(len(cond), len(x), len(y))
	for _, v := range [][]Dim{cond, x, y} {
		if len(v) != n && len(v) != 1 {
			return nil
		}
	}
	out := make([]Dim, n)
	for i := range out {
		c, a, b := cond[min(i, len(cond)-1)], x[min(i, len(x)-1)], y[min(i, len(y)-1)]
		switch {
		case c.Is(1):
			out[i] = a
		case c.Is(0):
			out[i] = b
		case a.Same(b):
			out[i] = a
		default:
			out[i] = Unknown
		}
	}
	return out
}
