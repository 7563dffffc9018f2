package gradients

import (
	"math"

	"github.com/relevit/relevit/onnx"
)

func add(c *call) { c.give(0, c.dy[0]); c.give(1, c.dy[0]) }

func sub(c *call) {
	c.give(0, c.dy[0])
	if c.needs(1) {
		c.give(1, c.b.Neg(sumTo(c.b, c.dy[0], c.x(1).Shape)))
	}
}

func mul(c *call) {
	if c.needs(0) {
		c.give(0, c.b.Mul(c.dy[0], c.x(1)))
	}
	if c.needs(1) {
		c.give(1, c.b.Mul(c.dy[0], c.x(0)))
	}
}

func div(c *call) {
	d := c.b.Div(c.dy[0], c.x(1))
	c.give(0, d)
	if c.needs(1) {
		c.give(1, c.b.Neg(c.b.Mul(d, c.y(0))))
	}
}

// pow leaves the logarithm to exponents that are trained: a constant exponent
// must work for negative bases.
func pow(c *call) {
	b, x := c.b, c.x(0)
	e := b.Cast(c.x(1), x.Type)
	if c.needs(0) {
		less := b.Sub(e, b.Scalar(1, e))
		if known := c.x(1).Data; known != nil && known.Count() == 1 {
			p, err := known.Float64s()
			if err != nil {
				b.Fail("exponent %s: %w", c.x(1).Name, err)
				return
			}
			if p[0] == 2 {
				c.give(0, b.Mul(c.dy[0], b.Scale(x, 2)))
				return
			}
			e, less = b.Scalar(p[0], x), b.Scalar(p[0]-1, x)
		}
		c.give(0, b.Mul(c.dy[0], b.Mul(e, b.Op("Pow", nil, x, less))))
	}
	if c.needs(1) {
		c.give(1, b.Mul(c.dy[0], b.Mul(c.y(0), b.Op("Log", nil, x))))
	}
}

func sum(c *call) {
	for i := range c.n.Inputs {
		c.give(i, c.dy[0])
	}
}

// extremum shares the gradient evenly among operands that tie, as
// torch.maximum does with two.
func extremum(c *call) {
	b := c.b
	var ties *onnx.Value
	hit := make([]*onnx.Value, len(c.n.Inputs))
	for i, x := range c.n.Inputs {
		hit[i] = b.Cast(b.Op("Equal", nil, x, c.y(0)), x.Type)
		if ties == nil {
			ties = hit[i]
		} else {
			ties = b.Add(ties, hit[i])
		}
	}
	share := b.Div(c.dy[0], ties)
	for i := range c.n.Inputs {
		if c.needs(i) {
			c.give(i, b.Mul(share, hit[i]))
		}
	}
}

func neg(c *call) { c.give(0, c.b.Neg(c.dy[0])) }

func abs(c *call) { c.give(0, c.b.Mul(c.dy[0], c.b.Op("Sign", nil, c.x(0)))) }

func sqrt(c *call) { c.give(0, c.b.Div(c.b.Scale(c.dy[0], 0.5), c.y(0))) }

func reciprocal(c *call) {
	c.give(0, c.b.Neg(c.b.Mul(c.dy[0], c.b.Mul(c.y(0), c.y(0)))))
}

func erf(c *call) {
	b := c.b
	bell := b.Op("Exp", nil, b.Neg(b.Mul(c.x(0), c.x(0))))
	c.give(0, b.Mul(c.dy[0], b.Scale(bell, 2/math.Sqrt(math.Pi))))
}

func exp(c *call) { c.give(0, c.b.Mul(c.dy[0], c.y(0))) }

func log(c *call) { c.give(0, c.b.Div(c.dy[0], c.x(0))) }

func sin(c *call) { c.give(0, c.b.Mul(c.dy[0], c.b.Op("Cos", nil, c.x(0)))) }

func cos(c *call) { c.give(0, c.b.Neg(c.b.Mul(c.dy[0], c.b.Op("Sin", nil, c.x(0))))) }

// 1 - y^2
func tanh(c *call) {
	b, y := c.b, c.y(0)
	c.give(0, b.Mul(c.dy[0], b.Sub(b.Scalar(1, y), b.Mul(y, y))))
}

// y (1 - y)
func sigmoid(c *call) {
	b, y := c.b, c.y(0)
	c.give(0, b.Mul(c.dy[0], b.Mul(y, b.Sub(b.Scalar(1, y), y))))
}

func softplus(c *call) { c.give(0, c.b.Mul(c.dy[0], c.b.Op("Sigmoid", nil, c.x(0)))) }

// keep leaves v where a condition holds and puts zero elsewhere. It multiplies,
// because ONNX Runtime's Where takes 20 times as long on the CPU.
func keep(b *onnx.Builder, condition, v *onnx.Value) *onnx.Value {
	return b.Mul(v, b.Cast(condition, v.Type))
}

// relu passes nothing at 0, as torch.relu.
func relu(c *call) {
	b, x := c.b, c.x(0)
	c.give(0, keep(b, b.Op("Greater", nil, x, b.Scalar(0, x)), c.dy[0]))
}

func leakyRelu(c *call) {
	b, x := c.b, c.x(0)
	slope := c.n.Decimal("alpha", 0.01)
	c.give(0, b.Where(b.Op("Greater", nil, x, b.Scalar(0, x)), c.dy[0], b.Scale(c.dy[0], slope)))
}

// hardSigmoid is max(0, min(1, alpha x + beta)).
func hardSigmoid(c *call) {
	b, y := c.b, c.y(0)
	slope, shift := c.n.Decimal("alpha", 0.2), c.n.Decimal("beta", 0.5)
	if c.x(0).Is("Erf") && slope <= shift && slope+shift <= 1 { // erf lies within -1 and 1
		c.give(0, b.Scale(c.dy[0], slope))
		return
	}
	inside := b.Op("And", nil, b.Op("Greater", nil, y, b.Scalar(0, y)), b.Op("Less", nil, y, b.Scalar(1, y)))
	c.give(0, keep(b, inside, b.Scale(c.dy[0], slope)))
}

// hardSwish is x max(0, min(1, x/6 + 1/2)).
func hardSwish(c *call) {
	b, x := c.b, c.x(0)
	middle := b.Add(b.Scale(x, 1.0/3), b.Scalar(0.5, x))
	slope := b.Where(b.Op("Less", nil, x, b.Scalar(3, x)), middle, b.Scalar(1, x))
	slope = b.Where(b.Op("Greater", nil, x, b.Scalar(-3, x)), slope, b.Scalar(0, x))
	c.give(0, b.Mul(c.dy[0], slope))
}

func gelu(c *call) {
	if c.n.Str("approximate", "none") == "tanh" {
		c.give(0, c.b.Mul(c.dy[0], tanhGeluSlope(c.b, c.x(0))))
		return
	}
	b, x := c.b, c.x(0)
	// Phi(x) + x phi(x), with the normal distribution's Phi and density phi, in
	// the fewest passes through memory: z = x/sqrt(2), Phi(x) = (1 + erf(z))/2,
	// x phi(x) = z exp(-z^2 - log(pi)/2).
	z := b.Scale(x, math.Sqrt(0.5))
	cdf := b.Op("HardSigmoid", []onnx.Attr{{Name: "alpha", Value: float32(0.5)}, {Name: "beta", Value: float32(0.5)}}, b.Op("Erf", nil, z))
	bell := b.Op("Exp", nil, b.Sub(b.Scalar(-math.Log(math.Pi)/2, x), b.Mul(z, z)))
	slope := b.Add(cdf, b.Mul(z, bell))
	b.Note(slope, derivative(func(c *call) { // phi(x) (2 - x^2)
		curve := b.Mul(b.Scale(bell, math.Sqrt2), b.Sub(b.Scalar(1, x), b.Mul(z, z)))
		c.giveTo(x, b.Mul(c.dy[0], curve))
	}))
	c.give(0, b.Mul(c.dy[0], slope))
}

// tanhGeluSlope is the derivative of x/2 (1 + tanh(k (x + 0.044715 x^3))),
// k = sqrt(2/pi).
func tanhGeluSlope(b *onnx.Builder, x *onnx.Value) *onnx.Value {
	const cubic = 0.044715
	k := math.Sqrt(2 / math.Pi)
	square := b.Mul(x, x)
	inner := b.Mul(b.Scale(x, k), b.Add(b.Scale(square, cubic), b.Scalar(1, x)))
	t := b.Op("Tanh", nil, inner)
	half := b.Scale(b.Add(t, b.Scalar(1, x)), 0.5)
	dinner := b.Scale(b.Add(b.Scale(square, 3*cubic), b.Scalar(1, x)), k)
	sech := b.Sub(b.Scalar(1, x), b.Mul(t, t))
	return b.Add(half, b.Mul(b.Mul(b.Scale(x, 0.5), sech), dinner))
}

// clip passes the gradient on the edges too, as torch.clamp.
func clip(c *call) {
	b, x := c.b, c.x(0)
	if c.needs(1) || c.needs(2) {
		c.unsupported("bounds that are trained")
		return
	}
	dx := c.dy[0]
	if low := c.x(1); low != nil {
		dx = keep(b, b.Op("GreaterOrEqual", nil, x, low), dx)
	}
	if high := c.x(2); high != nil {
		dx = keep(b, b.Op("LessOrEqual", nil, x, high), dx)
	}
	c.give(0, dx)
}

func where(c *call) {
	b := c.b
	if c.needs(1) {
		c.give(1, keep(b, c.x(0), c.dy[0]))
	}
	if c.needs(2) {
		c.give(2, keep(b, b.Op("Not", nil, c.x(0)), c.dy[0]))
	}
}

func same(c *call) { c.give(0, c.dy[0]) }

func cast(c *call) {
	if !c.y(0).Type.IsFloat() {
		return
	}
	c.give(0, c.b.Cast(c.dy[0], c.x(0).Type))
}
