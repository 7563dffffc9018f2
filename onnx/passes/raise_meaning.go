package passes

import (
	"github.com/relevit/relevit/onnx"
)

// Raising of operators whose meaning changed.

// raiseSoftmax: before opset 13 the input was flattened to a matrix at axis,
// and the softmax went over all of its columns.
func raiseSoftmax(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x := n.Inputs[0]
	axis := n.Int("axis", 1)
	if axis == -1 {
		return nil, nil
	}
	if x.Shape == nil {
		return nil, refusal(n, 0, "the rank of its input isn't known; run shape inference on the file, or export with opset 13 or later")
	}
	rank := int64(len(x.Shape))
	if axis < 0 {
		axis += rank
	}
	if axis < 0 || axis >= rank {
		return nil, refusal(n, 0, "its axis is out of range for "+x.String())
	}
	last := axis // the only axis of the matrix's columns that is longer than 1
	wide := 0
	for i := axis; i < rank; i++ {
		if !x.Shape[i].Is(1) {
			last = i
			wide++
		}
	}
	if wide <= 1 {
		n.SetAttr("axis", last)
		return nil, nil
	}
	flat := e.Op("Flatten", []onnx.Attr{{Name: "axis", Value: axis}}, x)
	y := e.Op(n.Op, []onnx.Attr{{Name: "axis", Value: int64(-1)}}, flat)
	return []*onnx.Value{e.Op("Reshape", nil, y, e.Op("Shape", nil, x))}, nil
}

// raiseUpsample: Upsample and the first Resize took scales alone and mapped
// coordinates by multiplying.
func raiseUpsample(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	nearest := "floor"
	if s := n.In(1); s != nil && s.Data != nil {
		scales, err := s.Data.Float64s()
		for i := range scales {
			if err == nil && scales[i] < 1 {
				nearest = "ceil" // what the first Resize did when it made smaller
			}
		}
	}
	attrs := []onnx.Attr{
		{Name: "coordinate_transformation_mode", Value: "asymmetric"},
		{Name: "mode", Value: n.Str("mode", "nearest")},
		{Name: "nearest_mode", Value: nearest},
	}
	return []*onnx.Value{e.Op("Resize", attrs, n.Inputs[0], nil, n.In(1))}, nil
}

func raiseResize(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	if n.Str("coordinate_transformation_mode", "") == "tf_half_pixel_for_nn" {
		return nil, refusal(n, 0, "coordinate_transformation_mode tf_half_pixel_for_nn was withdrawn; export with another")
	}
	return dropEmpty(e, n)
}

// dropEmpty leaves out inputs that exporters gave as empty tensors.
func dropEmpty(_ *editor, n *onnx.Node) ([]*onnx.Value, error) {
	for i, v := range n.Inputs {
		if i > 0 && v != nil && len(v.Shape) == 1 && v.Shape[0].Is(0) {
			n.Inputs[i] = nil
		}
	}
	return nil, nil
}

func raiseGridSample(_ *editor, n *onnx.Node) ([]*onnx.Value, error) {
	switch n.Str("mode", "bilinear") {
	case "bilinear":
		n.SetAttr("mode", "linear")
	case "bicubic":
		n.SetAttr("mode", "cubic")
	}
	return nil, nil
}

// raiseGroupNorm: before opset 21 scale and bias had an element per group.
func raiseGroupNorm(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x, groups := n.Inputs[0], n.Int("num_groups", 0)
	if len(x.Shape) < 2 || !x.Shape[1].Known() || groups < 1 || x.Shape[1].N%groups != 0 {
		return nil, refusal(n, 0, "the channels of "+x.String()+" aren't known to divide into its groups")
	}
	each := x.Shape[1].N / groups
	for i := 1; i <= 2; i++ {
		column := e.Op("Reshape", nil, n.Inputs[i], e.Ints(groups, 1))
		wide := e.Op("Expand", nil, column, e.Ints(groups, each))
		n.Inputs[i] = e.Op("Reshape", nil, wide, e.Ints(groups*each))
	}
	return nil, nil
}
