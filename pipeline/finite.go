package pipeline

import (
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
)

// finite reports whether all values are finite numbers. Zero times anything else
// is NaN; four sums keep the processor from waiting for one.
func finite(v []float32) bool {
	var a, b, c, d float32
	for ; len(v) >= 4; v = v[4:] {
		a, b, c, d = a+0*v[0], b+0*v[1], c+0*v[2], d+0*v[3]
	}
	for _, x := range v {
		a += 0 * x
	}
	return !math.IsNaN(float64(a + b + c + d))
}

// finiteCheck is finite as a graph, for gradients that Go doesn't see: a number
// of each comes down.
type finiteCheck struct {
	session *ort.Session
	sums    mirrored // (P)
}

const sumsOutput = "sums"

// mostCaptured is how many inputs a Concat may have that CUDA is to replay.
const mostCaptured = 32

func newFiniteCheck(s *Stepper, opt ort.Options) (*finiteCheck, error) {
	g := &onnx.Graph{Name: "finite"}
	b := onnx.NewBuilder(g)
	var sums []*onnx.Value
	for _, p := range s.Params {
		grad := g.AddInput(p.Grad, onnx.Float, p.Shape)
		sum := b.Reduce("ReduceSum", b.Mul(grad, b.Scalar(0, grad)), false, axes(len(p.Shape))...)
		sums = append(sums, b.Reshape(sum, onnx.ShapeOf(1)))
	}
	for len(sums) > 1 {
		var joined []*onnx.Value
		for some := range slices.Chunk(sums, mostCaptured) {
			joined = append(joined, b.Concat(0, some...))
		}
		sums = joined
	}
	all := sums[0]
	b.Named(sumsOutput, all)
	g.Outputs = []*onnx.Value{all}
	if err := b.Err(); err != nil {
		return nil, err
	}
	data, err := Encode(g)
	if err != nil {
		return nil, err
	}
	c := &finiteCheck{}
	if c.session, err = ort.NewSession(data, opt); err != nil {
		return nil, err
	}
	for i, p := range s.Params {
		if err := c.session.Bind(p.Grad, s.Grads[i]); err != nil {
			c.close()
			return nil, err
		}
	}
	if c.sums, err = s.mirror(c.session, sumsOutput, onnx.Float, int64(len(s.Params))); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func axes(rank int) []int64 {
	out := make([]int64, rank)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

// first returns the first gradient that isn't finite, -1 for none.
func (c *finiteCheck) first() (int, error) {
	if err := c.session.Run(); err != nil {
		return 0, err
	}
	if err := c.sums.down(); err != nil {
		return 0, err
	}
	for i, sum := range c.sums.here.Float32s() {
		if sum != 0 {
			return i, nil
		}
	}
	return -1, nil
}

func (c *finiteCheck) close() { c.session.Close() }

// NotFinite returns the first parameter whose gradient of the last Compute isn't
// finite, -1 for none.
func (s *Stepper) NotFinite() (int, error) {
	if s.finite != nil {
		return s.finite.first()
	}
	for i, g := range s.Grads {
		if !finite(g.Float32s()) {
			return i, nil
		}
	}
	return -1, nil
}
