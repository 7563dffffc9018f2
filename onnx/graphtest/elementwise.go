package graphtest

import "github.com/relevit/relevit/onnx"

func elementwise(makers table) {
	makers.each(func(d *drawing, op string) {
		x := d.numbers()
		in := []*onnx.Value{x, d.partner(x)}
		if d.One(2) {
			in[0], in[1] = in[1], in[0]
		}
		d.op(op, nil, in...)
	}, "Add", "Sub", "Mul")
	makers.each(func(d *drawing, op string) {
		x := d.numbers()
		if op == "Sum" || op == "Mean" {
			x = d.floats(0, 5)
		}
		in := []*onnx.Value{x}
		shape := d.dims(x)
		for range d.IntN(3) {
			y := d.partner(x)
			if s, ok := broadcast(shape, d.dims(y)); ok {
				in, shape = append(in, y), s
			}
		}
		d.op(op, nil, in...)
	}, "Max", "Min", "Sum", "Mean")
	makers[":Div"] = func(d *drawing) {
		if d.One(4) {
			x := d.integers()
			d.op("Div", nil, x, d.constant(d.scalarInt(Pick(d.Choices, 3, -4, 7, 1))))
			return
		}
		x := d.floats(0, 5)
		d.op("Div", nil, x, d.positive(d.against(d.dims(x))))
	}
	makers[":Mod"] = func(d *drawing) {
		if d.One(2) {
			x := d.integers()
			d.op("Mod", []onnx.Attr{at("fmod", d.IntN(2))}, x, d.constant(d.scalarInt(Pick(d.Choices, 3, -4, 7))))
			return
		}
		x := d.floats(0, 5)
		d.op("Mod", []onnx.Attr{at("fmod", 1)}, x, d.positive(d.against(d.dims(x))))
	}
	makers[":Pow"] = func(d *drawing) {
		x := d.floats(0, 5)
		switch d.IntN(3) {
		case 0:
			d.op("Pow", nil, x, d.number(Pick(d.Choices, 2.0, 3, 1, 0)))
		case 1:
			d.op("Pow", nil, x, d.constant(d.scalarInt(Pick(d.Choices, 2, 3, 1, 0))))
		default:
			d.op("Pow", nil, d.positive(d.dims(x)), d.partner(x))
		}
	}
	makers.each(func(d *drawing, op string) { d.op(op, nil, d.numbers()) }, "Neg", "Abs", "Sign")
	makers.each(func(d *drawing, op string) {
		x := d.floats(0, 5)
		y := d.op("Abs", nil, x)
		d.op(op, nil, d.op("Add", nil, y, d.number(0.5)))
	}, "Sqrt", "Reciprocal", "Log")
	makers.each(func(d *drawing, op string) { d.op(op, nil, d.floats(0, 5)) },
		"Relu", "Exp", "Erf", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Floor", "Ceil", "Round",
		"Tanh", "Sigmoid", "Softplus", "Softsign", "Mish", "HardSwish", "IsNaN", "IsInf")
	makers[":Tan"] = func(d *drawing) { d.op("Tan", nil, d.op("Tanh", nil, d.floats(0, 5))) }
	makers[":Clip"] = func(d *drawing) {
		low, high := d.number(-0.5), d.number(0.7)
		switch d.IntN(4) {
		case 1:
			low = nil
		case 2:
			high = nil
		case 3:
			x := d.integers()
			d.op("Clip", nil, x, d.constant(d.scalarInt(-2)), d.constant(d.scalarInt(3)))
			return
		}
		d.op("Clip", nil, d.floats(0, 5), low, high)
	}
	makers[":LeakyRelu"] = func(d *drawing) { d.op("LeakyRelu", d.maybe("alpha", float32(0.3)), d.floats(0, 5)) }
	makers[":Elu"] = func(d *drawing) { d.op("Elu", d.maybe("alpha", float32(1.5)), d.floats(0, 5)) }
	makers[":HardSigmoid"] = func(d *drawing) {
		d.op("HardSigmoid", append(d.maybe("alpha", float32(0.4)), d.maybe("beta", float32(0.1))...), d.floats(0, 5))
	}
	makers[":Gelu"] = func(d *drawing) { d.op("Gelu", d.maybe("approximate", "tanh"), d.floats(0, 5)) }
	makers[":PRelu"] = func(d *drawing) {
		x := d.floats(0, 5)
		s := d.against(d.dims(x))
		for len(s) > d.rank(x) {
			s = s[1:]
		}
		for i := range s { // the slope broadcasts to x and not the other way
			if n := d.dims(x)[d.rank(x)-len(s)+i]; s[i] != n {
				s[i] = 1
			}
		}
		d.op("PRelu", nil, x, d.leaf(s))
	}
	makers[":Dropout"] = func(d *drawing) {
		x := d.floats(0, 5)
		d.emit("Dropout", d.Between(1, 2), nil, x)
	}

	makers.each(func(d *drawing, op string) {
		x := d.numbers()
		d.op(op, nil, x, d.partner(x))
	}, "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
	makers[":Equal"] = func(d *drawing) {
		x := d.anything()
		d.op("Equal", nil, x, d.partner(x))
	}
	makers.each(func(d *drawing, op string) {
		x := d.booleans()
		d.op(op, nil, x, d.partner(x))
	}, "And", "Or", "Xor")
	makers[":Not"] = func(d *drawing) { d.op("Not", nil, d.booleans()) }
	makers[":Where"] = func(d *drawing) {
		x := d.numbers()
		y := d.partner(x)
		if s, ok := broadcast(d.dims(x), d.dims(y)); ok && count(s) <= maxElements {
			c := d.which(func(v *onnx.Value) bool {
				_, ok := broadcast(s, d.dims(v))
				return v.Type == onnx.Bool && ok
			})
			if c == nil {
				c = d.likeIn(&onnx.Value{Type: onnx.Bool}, d.against(s))
			}
			d.op("Where", nil, c, x, y)
		}
	}
	makers[":Cast"] = func(d *drawing) {
		d.op("Cast", []onnx.Attr{at("to", int64(Pick(d.Choices, d.float, onnx.Int64, onnx.Bool)))}, d.anything())
	}
	makers[":CastLike"] = func(d *drawing) { d.op("CastLike", nil, d.anything(), d.anything()) }
	makers[":Identity"] = func(d *drawing) { d.op("Identity", nil, d.anything()) }
}

// maybe is an attribute, or none.
func (d *drawing) maybe(name string, value any) []onnx.Attr {
	if d.One(2) {
		return []onnx.Attr{at(name, value)}
	}
	return nil
}
