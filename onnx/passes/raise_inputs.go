package passes

import (
	"math"

	"github.com/relevit/relevit/onnx"
)

// Raising of operators whose attributes became inputs.

// setInput sets input i, leaving out those before it that aren't there.
func setInput(n *onnx.Node, i int, v *onnx.Value) {
	for len(n.Inputs) <= i {
		n.Inputs = append(n.Inputs, nil)
	}
	n.Inputs[i] = v
}

// intsToInput makes a list attribute input i.
func (e *editor) intsToInput(n *onnx.Node, name string, i int) {
	if v := n.Ints(name); v != nil && n.In(i) == nil {
		setInput(n, i, e.Ints(v...))
	}
	n.DropAttr(name)
}

func axesToInput(i int) rule {
	return func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		e.intsToInput(n, "axes", i)
		return nil, nil
	}
}

// raiseSplit also says how many outputs a split into equal parts has, which
// was implied before opset 18.
func raiseSplit(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	e.intsToInput(n, "split", 1)
	if n.In(1) == nil {
		n.SetAttr("num_outputs", int64(len(n.Outputs)))
	}
	return nil, nil
}

func raiseSlice(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	e.intsToInput(n, "starts", 1)
	e.intsToInput(n, "ends", 2)
	e.intsToInput(n, "axes", 3)
	return nil, nil
}

func raiseClip(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	for i, name := range []string{"min", "max"} {
		if limit := float64(n.Float(name, 0)); n.Attr(name) != nil && math.Abs(limit) < math.MaxFloat32 {
			setInput(n, 1+i, e.number(limit, n.Inputs[0]))
		}
		n.DropAttr(name)
	}
	return nil, nil
}

// number is a scalar of like's type.
func (e *editor) number(x float64, like *onnx.Value) *onnx.Value {
	return e.Cast(e.Scalar(x, like), typeOr(like.Type, onnx.Float))
}

func typeOr(t, def onnx.DType) onnx.DType {
	if t == onnx.Undefined {
		return def
	}
	return t
}

func raisePad(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	e.intsToInput(n, "pads", 1)
	if x := n.Float("value", 0); x != 0 {
		setInput(n, 2, e.number(float64(x), n.Inputs[0]))
	}
	n.DropAttr("value")
	return nil, nil
}

// raiseDropout drops the ratio, which inference doesn't use.
func raiseDropout(_ *editor, n *onnx.Node) ([]*onnx.Value, error) {
	n.DropAttr("ratio")
	return nil, nil
}

func raiseTopK(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	setInput(n, 1, e.Ints(n.Int("k", 1)))
	n.DropAttr("k")
	return nil, nil
}

// raiseBatchNorm drops the outputs that only training had.
func raiseBatchNorm(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	if len(n.Outputs) > 1 {
		n.Outputs = n.Outputs[:1]
	}
	n.DropAttr("spatial")
	return nil, nil
}
