package onnx

import "fmt"

// elementwiseRules: one output element per element of the broadcast inputs.
var elementwiseRules = union(
	same(need(1, inferSame), "Abs", "Sign", "Sqrt", "Reciprocal", "Erf", "Exp", "Log", "Tanh", "Sigmoid", "Relu",
		"LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Softplus", "Softsign", "HardSigmoid",
		"HardSwish", "Mish", "Swish", "Gelu", "Shrink", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh",
		"Asinh", "Acosh", "Atanh", "Floor", "Ceil", "Round", "Softmax", "LogSoftmax", "Hardmax", "CumSum",
		"Trilu", "BitwiseNot"),
	same(need(1, inferTest), "IsNaN", "IsInf"),
	map[string]inferRule{
		"Identity": need(1, inferIdentity),
		"PRelu":    need(2, inferPRelu),
		"Neg":      need(1, inferNeg),
		"Not":      need(1, inferNot),
		"Clip":     need(1, inferClip),
		"Dropout":  need(1, inferDropout),
		"Cast":     need(1, inferCast),
		"CastLike": need(2, inferCastLike),
		"Add":      arithmetic(Dim.Plus),
		"Sub":      arithmetic(Dim.Minus),
		"Mul":      arithmetic(Dim.Times),
		"Div":      arithmetic(quotient),
		"Mod":      inferMod,
		"Pow":      need(2, inferPow),
		"Max":      variadic(larger),
		"Min":      variadic(smaller),
		"Sum":      variadic(Dim.Plus),
		"Mean":     variadic(nil),

		"Equal":          comparison(truth(func(c int) bool { return c == 0 })),
		"Less":           comparison(truth(func(c int) bool { return c < 0 })),
		"LessOrEqual":    comparison(truth(func(c int) bool { return c <= 0 })),
		"Greater":        comparison(truth(func(c int) bool { return c > 0 })),
		"GreaterOrEqual": comparison(truth(func(c int) bool { return c >= 0 })),
		"And":            comparison(both),
		"Or":             comparison(either),
		"Xor":            comparison(differ),
		"Where":          need(3, inferWhere),
	},
)

func inferSame(n *Node) error { return give(n, 0, n.Inputs[0].Type, n.Inputs[0].Shape) }

func inferTest(n *Node) error { return give(n, 0, Bool, n.Inputs[0].Shape) }

func inferIdentity(n *Node) error {
	x := n.Inputs[0]
	return giveElems(n, x.Type, x.Shape, elems(x))
}

// inferMod: with fmod the sign is the dividend's, as in C, else the divisor's.
func inferMod(n *Node) error {
	if n.Int("fmod", 0) != 0 {
		return arithmetic(cRemainder)(n)
	}
	return arithmetic(remainder)(n)
}

// inferPRelu: the slope broadcasts to x, and not the other way.
func inferPRelu(n *Node) error {
	x, slope := n.Inputs[0], n.Inputs[1]
	s, err := Broadcast(x.Shape, slope.Shape)
	if err == nil && len(s) > len(x.Shape) {
		err = fmt.Errorf("slope %v doesn't broadcast to %v", slope, x)
	}
	if err != nil {
		return err
	}
	return give(n, 0, x.Type, x.Shape)
}

func inferNeg(n *Node) error {
	x := n.Inputs[0]
	return giveElems(n, x.Type, x.Shape, zip(Dim.Minus, []Dim{D(0)}, elems(x)))
}

func inferNot(n *Node) error {
	x := n.Inputs[0]
	return giveElems(n, Bool, x.Shape, zip(differ, []Dim{D(1)}, elems(x)))
}

func inferClip(n *Node) error {
	x := n.Inputs[0]
	e := elems(x)
	if low := n.In(1); low != nil {
		e = zip(larger, e, elems(low))
	}
	if high := n.In(2); high != nil {
		e = zip(smaller, e, elems(high))
	}
	return giveElems(n, x.Type, x.Shape, e)
}

func inferDropout(n *Node) error {
	if err := give(n, 1, Bool, n.Inputs[0].Shape); err != nil {
		return err
	}
	return inferIdentity(n)
}

func inferCast(n *Node) error {
	to := DType(n.Int("to", 0))
	if to == Undefined {
		return fmt.Errorf("has no attribute to, the element type to convert to")
	}
	return castTo(n, to)
}

func inferCastLike(n *Node) error { return castTo(n, n.Inputs[1].Type) }

func castTo(n *Node, to DType) error {
	x := n.Inputs[0]
	e := elems(x)
	if to == Bool {
		e = zip(differ, []Dim{D(0)}, e)
	}
	return giveElems(n, to, x.Shape, e)
}

// broadcastAll is the common shape of a node's inputs.
func broadcastAll(inputs []*Value) (Shape, error) {
	s := inputs[0].Shape
	for _, v := range inputs[1:] {
		t, err := Broadcast(s, v.Shape)
		if err != nil {
			return nil, fmt.Errorf("inputs %v: %w", inputs, err)
		}
		s = t
	}
	return s, nil
}

// commonType is the one type of the inputs.
func commonType(inputs ...*Value) (DType, error) {
	t := inputs[0].Type
	for _, v := range inputs[1:] {
		switch {
		case t == Undefined:
			t = v.Type
		case v.Type != Undefined && v.Type != t:
			return t, fmt.Errorf("inputs %v differ in type", inputs)
		}
	}
	return t, nil
}

func arithmetic(f func(d, e Dim) Dim) inferRule {
	return need(2, func(n *Node) error {
		t, err := commonType(n.Inputs[:2]...)
		if err != nil {
			return err
		}
		s, err := broadcastAll(n.Inputs[:2])
		if err != nil {
			return err
		}
		return giveElems(n, t, s, zip(f, elems(n.Inputs[0]), elems(n.Inputs[1])))
	})
}

func variadic(f func(d, e Dim) Dim) inferRule {
	return func(n *Node) error {
		if err := need(max(1, len(n.Inputs)), func(*Node) error { return nil })(n); err != nil {
			return err
		}
		t, err := commonType(n.Inputs...)
		if err != nil {
			return err
		}
		s, err := broadcastAll(n.Inputs)
		if err != nil {
			return err
		}
		var e []Dim
		if f != nil {
			e = elems(n.Inputs[0])
			for _, v := range n.Inputs[1:] {
				e = zip(f, e, elems(v))
			}
		}
		return giveElems(n, t, s, e)
	}
}

func inferPow(n *Node) error {
	s, err := broadcastAll(n.Inputs[:2])
	if err != nil {
		return err
	}
	return give(n, 0, n.Inputs[0].Type, s)
}

func comparison(f func(d, e Dim) Dim) inferRule {
	return need(2, func(n *Node) error {
		if _, err := commonType(n.Inputs[:2]...); err != nil {
			return err
		}
		s, err := broadcastAll(n.Inputs[:2])
		if err != nil {
			return err
		}
		return giveElems(n, Bool, s, zip(f, elems(n.Inputs[0]), elems(n.Inputs[1])))
	})
}

func inferWhere(n *Node) error {
	t, err := commonType(n.Inputs[1:3]...)
	if err != nil {
		return err
	}
	s, err := broadcastAll(n.Inputs[:3])
	if err != nil {
		return err
	}
	return giveElems(n, t, s, choose(elems(n.Inputs[0]), elems(n.Inputs[1]), elems(n.Inputs[2])))
}
