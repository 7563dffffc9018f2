package gradients

import "github.com/relevit/relevit/onnx"

// gather adds dy's slices up at the places they were taken from. A single
// known place is a padding; otherwise the axis goes to the front and ScatterND
// adds along it.
func gather(c *call) {
	b, x, at := c.b, c.x(0), c.x(1)
	if x.Shape == nil || at.Shape == nil {
		c.unsupported("operands of unknown rank")
		return
	}
	axis := axisOf(c.n, "axis", 0, x)
	if at.Data != nil && at.Data.Count() == 1 && x.Shape[axis].Known() {
		i, err := at.Data.Int64s()
		if err != nil {
			b.Fail("indices %s: %w", at.Name, err)
			return
		}
		n := x.Shape[axis].N
		one := x.Shape.Clone()
		one[axis] = onnx.D(1)
		place := (i[0] + n) % n
		d := c.dy[0]
		switch len(at.Shape) {
		case 0:
			d = b.Unsqueeze(d, axis)
		case 1:
		default:
			d = b.Reshape(d, one)
		}
		c.give(0, padded(b, d, []int64{axis}, []int64{place}, []int64{n - 1 - place}))
		return
	}
	// dy: (before axis) (indices) (behind axis)  ->  (indices) (before) (behind)
	k := int64(len(at.Shape))
	var toFront, xToFront, back []int64
	for i := range k {
		toFront = append(toFront, axis+i)
	}
	for i := range int64(len(c.dy[0].Shape)) {
		if i < axis || i >= axis+k {
			toFront = append(toFront, i)
		}
	}
	xToFront = append(xToFront, axis)
	for i := range int64(len(x.Shape)) {
		if i != axis {
			xToFront = append(xToFront, i)
		}
	}
	back = make([]int64, len(xToFront))
	for i, p := range xToFront {
		back[p] = int64(i)
	}
	zeros := zerosLike(b, b.Transpose(x, xToFront...))
	d := b.Op("ScatterND", addition, zeros, b.Unsqueeze(b.Cast(at, onnx.Int64), -1), b.Transpose(c.dy[0], toFront...))
	c.give(0, b.Transpose(d, back...))
}

var addition = []onnx.Attr{{Name: "reduction", Value: "add"}}

func gatherElements(c *call) {
	axis := onnx.Attr{Name: "axis", Value: c.n.Int("axis", 0)}
	zeros := zerosLike(c.b, c.x(0))
	c.give(0, c.b.Op("ScatterElements", []onnx.Attr{axis, addition[0]}, zeros, c.x(1), c.dy[0]))
}

func gatherND(c *call) {
	if c.n.Int("batch_dims", 0) != 0 {
		c.unsupported("batch_dims")
		return
	}
	c.give(0, c.b.Op("ScatterND", addition, zerosLike(c.b, c.x(0)), c.x(1), c.dy[0]))
}

// scatterElements overwrites (reduction none) or adds.
func scatterElements(c *call) {
	axis := []onnx.Attr{{Name: "axis", Value: c.n.Int("axis", 0)}}
	scattered(c, "GatherElements", axis)
}

func scatterND(c *call) { scattered(c, "GatherND", nil) }

// scattered is the rule of both scatters: the data's cotangent loses what was
// overwritten, the updates' is gathered where they went.
func scattered(c *call, gather string, attrs []onnx.Attr) {
	b := c.b
	switch reduction := c.n.Str("reduction", "none"); reduction {
	case "add":
		c.give(0, c.dy[0])
	case "none":
		if c.needs(0) {
			c.give(0, b.Op(c.n.Op, attrs, c.dy[0], c.x(1), zerosLike(b, c.x(2))))
		}
	default:
		c.unsupported("reduction %s", reduction)
		return
	}
	if c.needs(2) {
		c.give(2, b.Op(gather, attrs, c.dy[0], c.x(1)))
	}
}
