package gradients

import "github.com/relevit/relevit/onnx"

// y (dy - sum(y dy))
func softmax(c *call) {
	b, y := c.b, c.y(0)
	axis := c.n.Int("axis", -1)
	over := func(v *onnx.Value) *onnx.Value { return b.Reduce("ReduceSum", v, true, axis) }
	dy, sum := c.dy[0], over(c.weighted())
	dx := b.Mul(y, b.Sub(dy, sum))
	b.Note(dx, derivative(func(c *call) {
		u := c.dy[0]
		left := b.Sub(u, over(b.Mul(y, u)))
		c.giveTo(dy, b.Mul(y, left))
		c.giveTo(y, b.Sub(b.Mul(dy, left), b.Mul(u, sum)))
	}))
	c.give(0, dx)
}

// weighted is a softmax's y dy, or, in a short walk, what has the same sums over
// its axis and is smaller: of an attention map, dy = g v^T, and
//
//	sum_j y_ij sum_d g_id v_jd = sum_d g_id o_id   with o = y v
//
// which is there already (Dao et al., FlashAttention, NeurIPS 2022).
func (c *call) weighted() *onnx.Value {
	b, y, dy := c.b, c.y(0), c.dy[0]
	rank := int64(len(y.Shape))
	if axis := c.n.Int("axis", -1); c.walk.short && (axis == -1 || axis == rank-1) && dy.Is("MatMul") && dy.Node.Inputs[1].Is("Transpose") {
		g, v := dy.Node.Inputs[0], b.SwapLast(dy.Node.Inputs[1])
		for _, n := range b.Graph.Nodes {
			if n.Op == "MatMul" && n.Domain == "" && n.Inputs[0] == y && n.Inputs[1] == v && n.Outputs[0].Shape.Same(g.Shape) {
				return b.Mul(g, n.Outputs[0])
			}
		}
	}
	return b.Mul(y, dy)
}

// dy - softmax(x) sum(dy)
func logSoftmax(c *call) {
	b := c.b
	axis := c.n.Int("axis", -1)
	sum := b.Reduce("ReduceSum", c.dy[0], true, axis)
	c.give(0, b.Sub(c.dy[0], b.Mul(b.Op("Exp", nil, c.y(0)), sum)))
}

// layerNorm is y = n scale + bias with n = (x - mean) inv over the axes from
// axis on; the node's second and third outputs are mean and inv.
func layerNorm(c *call) {
	b, x, scale := c.b, c.x(0), c.x(1)
	mean, inv, ok := moments(c)
	if !ok {
		return
	}
	first := c.n.Int("axis", -1)
	if first < 0 {
		first += int64(len(x.Shape))
	}
	axes := make([]int64, 0, 1)
	for i := first; i < int64(len(x.Shape)); i++ {
		axes = append(axes, i)
	}
	over := func(v *onnx.Value) *onnx.Value { return b.Reduce("ReduceMean", v, true, axes...) }
	n := b.Mul(b.Sub(x, mean), inv)
	if dy := c.dy[0]; dy != nil {
		if c.needs(1) {
			c.give(1, b.Mul(dy, n))
		}
		c.give(2, dy)
		if c.needs(0) {
			g := b.Mul(dy, scale)
			dx := b.Mul(b.Sub(b.Sub(g, over(g)), b.Mul(n, over(b.Mul(g, n)))), inv)
			b.Note(dx, derivative(func(c *call) { slopeOfNorm(c, x, scale, dy, g, n, inv, over) }))
			c.give(0, dx)
		}
	}
	if !c.needs(0) {
		return
	}
	// d mean/dx = 1/D,  d inv/dx = -inv^2 n/D, both through a mean over D
	share := 1.0
	for _, a := range axes {
		share /= float64(x.Shape[a].N)
	}
	if d := output(c, 1); d != nil {
		c.give(0, b.Expand(b.Scale(d, share), x.Shape))
	}
	if d := output(c, 2); d != nil {
		c.give(0, b.Mul(n, b.Scale(b.Mul(d, b.Mul(inv, inv)), -share)))
	}
}

// slopeOfNorm differentiates inv P(g), with g = dy scale and
//
//	P(g) = g - mean(g) - n mean(g n),
//
// in x, of which n and inv are functions. With v = u inv of the cotangent u, dg = P(v),
// and what n gets, -(v mean(g n) + g mean(v n)), and inv has known means, so that no
// passes over rows are needed for them.
func slopeOfNorm(c *call, x, scale, dy, g, n, inv *onnx.Value, over func(*onnx.Value) *onnx.Value) {
	b := c.b
	v := b.Mul(c.dy[0], inv)
	gMean, gn := over(g), over(b.Mul(g, n))
	vMean, vn, vg := over(v), over(b.Mul(v, n)), over(b.Mul(v, g))
	dg := b.Sub(b.Sub(v, vMean), b.Mul(n, vn))
	c.giveTo(dy, b.Mul(dg, scale))
	if c.walk.flows[scale] != nil {
		c.giveTo(scale, b.Mul(dg, dy))
	}
	means := b.Mul(vMean, gMean)
	alongN := b.Sub(b.Add(b.Scale(b.Mul(vn, gn), 3), means), vg)
	constant := b.Add(b.Mul(vMean, gn), b.Mul(gMean, vn))
	dx := b.Add(b.Sub(b.Mul(n, alongN), b.Add(b.Mul(v, gn), b.Mul(g, vn))), constant)
	c.giveTo(x, b.Mul(dx, inv))
}

func output(c *call, i int) *onnx.Value {
	if i < len(c.dy) {
		return c.dy[i]
	}
	return nil
}

// moments returns a LayerNormalization's mean and inverse deviation, making
// the node give them if it doesn't yet.
func moments(c *call) (mean, inv *onnx.Value, ok bool) {
	n := c.n
	first := n.Int("axis", -1)
	if x := c.x(0); x.Shape == nil || (first >= 0 && int(first) >= len(x.Shape)) || !x.Shape[(int(first)+len(x.Shape))%len(x.Shape):].Known() {
		c.unsupported("an input of unknown size")
		return nil, nil, false
	}
	for _, name := range []string{"", "mean", "inv"}[len(n.Outputs):] {
		n.Outputs = append(n.Outputs, &onnx.Value{Name: c.b.Graph.Fresh(n.Label() + "/" + name), Node: n})
	}
	for i := 1; i < 3; i++ {
		if n.Outputs[i] == nil {
			n.Outputs[i] = &onnx.Value{Name: c.b.Graph.Fresh(n.Label() + "/" + []string{"", "mean", "inv"}[i]), Node: n}
		}
	}
	if err := onnx.Infer(n); err != nil {
		c.b.Fail("%w", err)
		return nil, nil, false
	}
	return n.Outputs[1], n.Outputs[2], true
}

// batchNorm in its inference form: y = (x - mean) / sqrt(var + eps) scale + bias
// along axis 1. Mean and variance are running statistics, not parameters.
func batchNorm(c *call) {
	b, x, dy := c.b, c.x(0), c.dy[0]
	if c.needs(3) || c.needs(4) {
		c.unsupported("running statistics that are trained")
		return
	}
	if len(x.Shape) < 2 {
		c.unsupported("an input of unknown rank")
		return
	}
	channels := onnx.Shape{c.x(1).Shape[0]}
	over := []int64{0}
	for i := 2; i < len(x.Shape); i++ {
		channels = append(channels, onnx.D(1))
		over = append(over, int64(i))
	}
	eps := b.Scalar(c.n.Decimal("epsilon", 1e-5), c.x(4))
	inv := b.Op("Reciprocal", nil, b.Op("Sqrt", nil, b.Add(c.x(4), eps)))
	if c.needs(0) {
		c.give(0, b.Mul(dy, b.Reshape(b.Mul(c.x(1), inv), channels)))
	}
	if c.needs(1) {
		n := b.Mul(b.Sub(x, b.Reshape(c.x(3), channels)), b.Reshape(inv, channels))
		c.give(1, b.Sum(b.Mul(dy, n), over...))
	}
	if c.needs(2) {
		c.give(2, b.Sum(dy, over...))
	}
}
