package pipeline

import (
	"fmt"
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// compareInitializers compares what both graphs hold under the same name and
// in the same shape; also numbers that one of them keeps in another float type.
func (v *Verification) compareInitializers(a, b *onnx.Graph) error {
	second := map[string]*onnx.Tensor{}
	for _, init := range b.Inits {
		second[init.Name] = init.Data
	}
	for _, init := range a.Inits {
		x, y := init.Data, second[init.Name]
		if y == nil || !slices.Equal(x.Dims, y.Dims) || x.Type != y.Type && !(x.Type.IsFloat() && y.Type.IsFloat()) {
			continue // a difference of structure
		}
		v.Initializers++
		if x.Type == y.Type && string(x.Raw) == string(y.Raw) {
			continue
		}
		p, err := x.Float64s()
		if err != nil {
			return fmt.Errorf("comparing initializer %s: %w", init.Name, err)
		}
		q, err := y.Float64s()
		if err != nil {
			return fmt.Errorf("comparing initializer %s: %w", init.Name, err)
		}
		c := ChangedTensor{Name: init.Name}
		for i := range p {
			if p[i] != q[i] {
				c.Elements++
			}
		}
		if c.Elements == 0 && x.Type != y.Type {
			continue // the same numbers
		}
		var d drift
		d.add(p, q)
		c.MaxAbs, c.MaxRel = d.max()
		v.Changed = append(v.Changed, c)
	}
	return nil
}

// drift adds up how far values q lie from values p.
type drift struct {
	n               int
	abs, largest    float64 // largest |q-p|, and largest |p|
	sum             float64 // of |q-p|
	pp, qq, pq      float64
	rows, same      int // pictures, and those with the maximum in the same column
	broken          bool
	missing, nowNaN bool // p or q holds NaN
}

func (d *drift) add(p, q []float64) {
	d.n += len(p)
	for i := range p {
		d.missing, d.nowNaN = d.missing || math.IsNaN(p[i]), d.nowNaN || math.IsNaN(q[i])
		if p[i] == q[i] || math.IsNaN(p[i]) && math.IsNaN(q[i]) {
			if !math.IsInf(p[i], 0) && !math.IsNaN(p[i]) {
				d.largest = max(d.largest, math.Abs(p[i]))
				d.pp, d.qq, d.pq = d.pp+p[i]*p[i], d.qq+q[i]*q[i], d.pq+p[i]*q[i]
			}
			continue // equal infinities too
		}
		e := math.Abs(q[i] - p[i])
		d.broken = d.broken || math.IsNaN(e)
		d.abs, d.largest, d.sum = max(d.abs, e), max(d.largest, math.Abs(p[i])), d.sum+e
		d.pp, d.qq, d.pq = d.pp+p[i]*p[i], d.qq+q[i]*q[i], d.pq+p[i]*q[i]
	}
}

// max is the largest |q-p|, and that over the largest |p|: NaN where only one
// of them is no number.
func (d *drift) max() (abs, rel Number) {
	switch {
	case d.broken:
		return Number(math.NaN()), Number(math.NaN())
	case d.abs == 0:
		return 0, 0
	}
	return Number(d.abs), Number(d.abs / d.largest)
}

// addRows compares the columns of the maxima of scores (B,C).
func (d *drift) addRows(p, q []float64, shape []int64) {
	if len(shape) != 2 || shape[1] < 2 {
		return
	}
	for c := int(shape[1]); len(p) >= c; p, q = p[c:], q[c:] {
		d.rows++
		if top(p[:c]) == top(q[:c]) {
			d.same++
		}
	}
}

// top is the index of the largest number, the first of several.
func top(v []float64) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

// cosine is 1 where both are zero, and 0 where one is.
func (d *drift) cosine() float64 {
	switch {
	case d.broken || d.missing || d.nowNaN:
		return math.NaN()
	case d.pp == 0 && d.qq == 0:
		return 1
	case d.pp == 0 || d.qq == 0:
		return 0
	}
	return d.pq / math.Sqrt(d.pp) / math.Sqrt(d.qq)
}

func (d *drift) output(name, inputs string, batch int64) OutputDrift {
	o := OutputDrift{Output: name, Inputs: inputs, Batch: batch, MeanAbs: Number(d.sum / float64(max(d.n, 1))), Cosine: Number(d.cosine())}
	o.MaxAbs, o.MaxRel = d.max()
	if d.broken {
		o.MeanAbs = o.MaxAbs
	}
	if d.rows > 0 {
		o.Rows, o.SameTop1 = d.rows, &d.same
	}
	return o
}
