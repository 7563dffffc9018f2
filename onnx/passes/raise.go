package passes

import (
	"fmt"

	"github.com/relevit/relevit/onnx"
)

// The opsets that Raise understands.
const (
	oldestOpset = 9
	newestOpset = 24
)

// RaiseError says that a node, or a whole graph, can't be brought to the
// working dialect.
type RaiseError struct {
	Node, Op string // empty for a graph as a whole
	Opset    int64
	Reason   string // what stands in the way and what to do
}

func (e *RaiseError) Error() string {
	if e.Op == "" {
		return fmt.Sprintf("a graph of opset %d can't be raised to opset %d: %s", e.Opset, onnx.Dialect, e.Reason)
	}
	return fmt.Sprintf("node %s (%s) of opset %d can't be raised to opset %d: %s", e.Node, e.Op, e.Opset, onnx.Dialect, e.Reason)
}

// A raising brings an operator as it was before opset below, from opset from,
// to the working dialect: it changes the node, or returns replacements.
type raising struct {
	from, below int64
	raise       rule
}

var raisings = map[string][]raising{
	"Squeeze":                      {{9, 13, axesToInput(1)}},
	"Unsqueeze":                    {{9, 13, axesToInput(1)}},
	"ReduceSum":                    {{9, 13, axesToInput(1)}},
	"ReduceMean":                   {{9, 18, axesToInput(1)}},
	"ReduceMax":                    {{9, 18, axesToInput(1)}},
	"ReduceMin":                    {{9, 18, axesToInput(1)}},
	"ReduceProd":                   {{9, 18, axesToInput(1)}},
	"ReduceL1":                     {{9, 18, axesToInput(1)}},
	"ReduceL2":                     {{9, 18, axesToInput(1)}},
	"ReduceLogSum":                 {{9, 18, axesToInput(1)}},
	"ReduceLogSumExp":              {{9, 18, axesToInput(1)}},
	"ReduceSumSquare":              {{9, 18, axesToInput(1)}},
	"Split":                        {{9, 18, raiseSplit}},
	"Slice":                        {{9, 10, raiseSlice}},
	"Clip":                         {{9, 11, raiseClip}},
	"Pad":                          {{9, 11, raisePad}},
	"Dropout":                      {{9, 12, raiseDropout}},
	"TopK":                         {{9, 10, raiseTopK}},
	"Scatter":                      {{9, 11, renamed("ScatterElements")}},
	"BatchNormalization":           {{9, 14, raiseBatchNorm}},
	"Softmax":                      {{9, 13, raiseSoftmax}},
	"LogSoftmax":                   {{9, 13, raiseSoftmax}},
	"Hardmax":                      {{9, 13, raiseSoftmax}},
	"Upsample":                     {{9, 10, raiseUpsample}},
	"Resize":                       {{10, 11, raiseUpsample}, {11, 13, raiseResize}, {13, 25, dropEmpty}},
	"GridSample":                   {{16, 20, raiseGridSample}},
	"GroupNormalization":           {{18, 21, raiseGroupNorm}},
	"DFT":                          {{17, 20, refuse("its axis was an attribute then; export with opset 20 or later")}},
	"Attention":                    {{23, 25, raiseAttention}},
	"RMSNormalization":             {{23, 25, raiseRMSNorm}},
	"RotaryEmbedding":              {{23, 25, raiseRotary}},
	"SimplifiedLayerNormalization": {{9, 25, raiseSimplifiedNorm}},
	"Swish":                        {{24, 25, raiseSwish}},
	"QuantizeLinear":               {{9, 25, refuse(quantisedAdvice)}},
	"DequantizeLinear":             {{9, 25, refuse(quantisedAdvice)}},
	"DynamicQuantizeLinear":        {{9, 25, refuse(quantisedAdvice)}},
	"QLinearMatMul":                {{9, 25, refuse(quantisedAdvice)}},
	"QLinearConv":                  {{9, 25, refuse(quantisedAdvice)}},
	"MatMulInteger":                {{9, 25, refuse(quantisedAdvice)}},
	"ConvInteger":                  {{9, 25, refuse(quantisedAdvice)}},
	"TensorScatter":                {{24, 25, refuse("it updates a key cache, which vision transformers don't have")}},
}

// needs counts the inputs that an operator must have, where they are more than one.
var needs = map[string]int{"Attention": 3, "RMSNormalization": 2, "RotaryEmbedding": 3, "GroupNormalization": 3,
	"SimplifiedLayerNormalization": 2}

// Raise brings a graph of any ai.onnx opset from 9 to 24 to the working
// dialect and infers it. The nodes must be sorted. What can't be raised is a
// *RaiseError. Operators of com.microsoft become their definitions, and If nodes
// whose condition is constant the branch that they take.
func Raise(g *onnx.Graph, opset int64) error {
	if opset < oldestOpset || opset > newestOpset {
		return &RaiseError{Opset: opset, Reason: fmt.Sprintf(
			"opsets %d to %d are understood; export the model again with one of them", oldestOpset, newestOpset)}
	}
	b, err := newBranching(g, opset)
	if err != nil {
		return err
	}
	b.raise = func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		if n.Domain == "ai.onnx" {
			n.Domain = ""
		}
		if n.Domain != "" {
			out, err := contrib(e, n)
			if refused, ok := err.(*RaiseError); ok {
				refused.Opset = opset
			}
			return out, err
		}
		if attr := subgraphOf(n); attr != "" {
			return b.node(e, n, attr)
		}
		for _, r := range raisings[n.Op] {
			if opset < r.from || opset >= r.below {
				continue
			}
			for i := range max(1, needs[n.Op]) {
				if n.In(i) == nil {
					return nil, refusal(n, opset, fmt.Sprintf("it has no input %d; the file is damaged", i))
				}
			}
			former := e.In(n.Label())
			defer e.In(former)
			out, err := r.raise(e, n)
			if refused, ok := err.(*RaiseError); ok {
				refused.Opset = opset
			}
			return out, err
		}
		return nil, nil
	}
	return rebuild(g, b.raise)
}

func refusal(n *onnx.Node, opset int64, reason string) error {
	return &RaiseError{Node: n.Label(), Op: n.Op, Opset: opset, Reason: reason}
}

func refuse(reason string) rule {
	return func(_ *editor, n *onnx.Node) ([]*onnx.Value, error) { return nil, refusal(n, 0, reason) }
}

func renamed(op string) rule {
	return func(_ *editor, n *onnx.Node) ([]*onnx.Value, error) {
		n.Op = op
		return nil, nil
	}
}
