package ref

import (
	"fmt"
	"math"
)

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x // zeros and NaN
}

func intSign(x int64) int64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

func intAbs(x int64) int64 { return max(x, -x) }

func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

// softplus is log(1 + exp(x)) without overflow.
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func relu(x float64) float64 { return max(x, 0) }

func mish(x float64) float64 { return x * math.Tanh(softplus(x)) }

func softsign(x float64) float64 { return x / (1 + math.Abs(x)) }

func hardSwish(x float64) float64 { return x * max(0, min(1, x/6+0.5)) }

// gelu is x times the normal distribution function, or its tanh approximation.
func gelu(c *call) ([]*Array, error) {
	switch how := c.node.Str("approximate", "none"); how {
	case "none":
		return one(apply(c.in[0], func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }))
	case "tanh":
		return one(apply(c.in[0], func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}))
	default:
		return nil, fmt.Errorf("approximate=%q is neither none nor tanh", how)
	}
}

func leakyRelu(c *call) ([]*Array, error) {
	alpha := c.node.Decimal("alpha", 0.01)
	return one(apply(c.in[0], func(x float64) float64 {
		if x < 0 {
			return alpha * x
		}
		return x
	}))
}

func elu(c *call) ([]*Array, error) {
	alpha := c.node.Decimal("alpha", 1)
	return one(apply(c.in[0], func(x float64) float64 {
		if x < 0 {
			return alpha * math.Expm1(x)
		}
		return x
	}))
}

func hardSigmoid(c *call) ([]*Array, error) {
	alpha, beta := c.node.Decimal("alpha", 0.2), c.node.Decimal("beta", 0.5)
	return one(apply(c.in[0], func(x float64) float64 { return max(0, min(1, alpha*x+beta)) }))
}
