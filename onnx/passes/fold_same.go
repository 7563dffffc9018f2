package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// same returns the input that a node only passes on, nil where it does more.
func same(n *onnx.Node) *onnx.Value {
	x, y := n.In(0), n.Out(0)
	if x == nil || y == nil {
		return nil
	}
	for _, other := range n.Outputs[1:] {
		if other != nil && n.Op != "Dropout" {
			return nil
		}
	}
	unchanged := x.Shape.Same(y.Shape)
	switch n.Op {
	case "Identity":
		return x
	case "Dropout":
		return sameDropout(n)
	case "Cast", "CastLike":
		if x.Type != onnx.Undefined && x.Type == y.Type {
			return x
		}
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile":
		if unchanged {
			return x
		}
	case "Pad":
		if pads := n.Inputs[1].Elems; pads != nil && all(pads, 0) {
			return x
		}
	case "Slice":
		if unchanged && (n.In(4) == nil || all(n.In(4).Elems, 1)) {
			return x
		}
	case "Resize":
		if unchanged && n.In(3) != nil && n.Str("coordinate_transformation_mode", "") != "tf_crop_and_resize" {
			return x
		}
	case "Transpose":
		if perm := n.Ints("perm"); perm != nil && slices.IsSorted(perm) {
			return x
		}
	case "Concat", "Sum", "Max", "Min", "Mean":
		if len(n.Inputs) == 1 {
			return x
		}
	}
	return nil
}

// sameDropout: without training mode Dropout passes its input on. A mask that
// somebody could read keeps it.
func sameDropout(n *onnx.Node) *onnx.Value {
	if n.Out(1) != nil || n.Int("training_mode", 0) != 0 {
		return nil
	}
	if mode := n.In(2); mode != nil && (len(mode.Elems) != 1 || !mode.Elems[0].Is(0)) {
		return nil
	}
	return n.Inputs[0]
}

func all(elems []onnx.Dim, n int64) bool {
	for _, d := range elems {
		if d != (onnx.Dim{N: n}) {
			return false
		}
	}
	return elems != nil
}
