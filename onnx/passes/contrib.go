package passes

import (
	"strings"

	"github.com/relevit/relevit/onnx"
)

// Decomposition of com.microsoft operators, which ONNX Runtime's own optimizer
// writes, by their definitions.

const contribDomain = "com.microsoft"

var contribs = map[string]rule{
	"Attention":                        contribAttention,
	"MultiHeadAttention":               contribMultiHead,
	"RotaryEmbedding":                  contribRotary,
	"SkipLayerNormalization":           contribSkipNorm,
	"SkipSimplifiedLayerNormalization": contribSkipNorm,
	"SimplifiedLayerNormalization":     raiseSimplifiedNorm,
	"LayerNormalization":               contribDefault,
	"Gelu":                             contribGelu,
	"BiasGelu":                         contribGelu,
	"FastGelu":                         contribGelu,
	"QuickGelu":                        contribQuickGelu,
	"BiasSplitGelu":                    contribSplitGelu,
	"BiasAdd":                          contribBiasAdd,
	"FusedMatMul":                      contribMatMul,
	"TransposeMatMul":                  contribMatMul,
	"FusedGemm":                        contribGemm,
	"FusedConv":                        contribConv,
}

// contribNeeds counts the inputs that an operator must have, where they are more than one.
var contribNeeds = map[string]int{"SkipLayerNormalization": 3, "SkipSimplifiedLayerNormalization": 3, "BiasGelu": 2,
	"BiasSplitGelu": 2, "BiasAdd": 3, "FusedMatMul": 2, "TransposeMatMul": 2, "FusedGemm": 2, "FusedConv": 2,
	"Attention": 2, "RotaryEmbedding": 4, "SimplifiedLayerNormalization": 2, "LayerNormalization": 2}

// contrib decomposes a node outside the default domain, or says why it can't.
func contrib(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	switch {
	case n.Domain == "com.microsoft.nchwc":
		return nil, refusal(n, 0, "its weights are laid out for one processor (NCHWc); "+
			"save the optimized model again at optimization level extended, or use the original model")
	case n.Domain != contribDomain:
		return nil, nil
	case quantised(n.Op):
		return nil, refusal(n, 0, quantisedAdvice)
	}
	f := contribs[n.Op]
	if f == nil {
		return nil, refusal(n, 0, "this com.microsoft operator isn't understood; use the model as it was before ONNX Runtime optimized it")
	}
	for i := range max(1, contribNeeds[n.Op]) {
		if n.In(i) == nil {
			return nil, refusal(n, 0, "it lacks an input; the file is damaged")
		}
	}
	if n.Out(0) == nil {
		return nil, refusal(n, 0, "nothing reads its first output; the file is damaged")
	}
	former := e.In(n.Label())
	defer e.In(former)
	return f(e, n)
}

const quantisedAdvice = "it computes with quantised weights, which can't be trained; " +
	"finetune the float model and quantise the result"

// quantised reports whether an operator works on integers in place of floats.
func quantised(op string) bool {
	for _, part := range []string{"QLinear", "QGemm", "QAttention", "QMoE", "QOrdered", "Quantize", "Integer", "NBits", "Bnb4", "FpQ4"} {
		if strings.Contains(op, part) {
			return true
		}
	}
	return false
}

// only gives a node's first output, and nothing for the others.
func only(n *onnx.Node, y *onnx.Value) []*onnx.Value {
	out := make([]*onnx.Value, len(n.Outputs))
	out[0] = y
	return out
}

// readOthers refuses a node of which something reads an output beyond the
// first count.
func readOthers(n *onnx.Node, count int) error {
	for i := count; i < len(n.Outputs); i++ {
		if n.Outputs[i] != nil {
			return refusal(n, 0, "its output "+n.Outputs[i].Name+" isn't understood")
		}
	}
	return nil
}

// contribDefault moves an operator to the default domain, which defines it alike.
func contribDefault(_ *editor, n *onnx.Node) ([]*onnx.Value, error) {
	n.Domain = ""
	return nil, nil
}

// raiseSimplifiedNorm is RMSNormalization under ONNX Runtime's own name.
func raiseSimplifiedNorm(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	if err := readOthers(n, 1); err != nil {
		return nil, err
	}
	y, err := raiseRMSNorm(e, n)
	if err != nil {
		return nil, err
	}
	return only(n, y[0]), nil
}

// contribSkipNorm normalises input + skip + bias; output 3 is that sum.
func contribSkipNorm(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	simple := n.Op == "SkipSimplifiedLayerNormalization"
	x := e.Add(n.Inputs[0], n.Inputs[1])
	beta, bias := n.In(3), n.In(4)
	if simple {
		beta, bias = nil, n.In(3)
	}
	if bias != nil {
		x = e.Add(x, bias)
	}
	epsilon := onnx.Attr{Name: "epsilon", Value: n.Float("epsilon", 1e-12)}
	out := make([]*onnx.Value, len(n.Outputs))
	if simple {
		if n.Out(1) != nil || n.Out(2) != nil {
			return nil, refusal(n, 0, "its statistics are read, which isn't understood")
		}
		y, err := raiseRMSNorm(e, &onnx.Node{Name: n.Name, Op: n.Op, Attrs: []onnx.Attr{epsilon},
			Inputs: []*onnx.Value{x, n.Inputs[2]}, Outputs: n.Outputs[:1]})
		if err != nil {
			return nil, err
		}
		out[0] = y[0]
	} else {
		normed := e.Ops("LayerNormalization", 3, []onnx.Attr{{Name: "axis", Value: int64(-1)}, epsilon}, x, n.Inputs[2], beta)
		copy(out, normed)
		for i := 1; i < min(3, len(out)); i++ {
			if n.Outputs[i] == nil {
				out[i] = nil
			}
		}
	}
	if n.Out(3) != nil {
		out[3] = x
	}
	return out, nil
}

// contribGelu: Gelu and BiasGelu are exact, FastGelu is the tanh form; all but
// the first add a bias.
func contribGelu(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x := n.Inputs[0]
	if bias := n.In(1); bias != nil {
		x = e.Add(x, bias)
	}
	var attrs []onnx.Attr
	if n.Op == "FastGelu" {
		attrs = []onnx.Attr{{Name: "approximate", Value: "tanh"}}
	}
	return []*onnx.Value{e.Op("Gelu", attrs, x)}, nil
}

func contribQuickGelu(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x := n.Inputs[0]
	inner := e.Mul(x, e.number(float64(n.Float("alpha", 1.702)), x))
	return []*onnx.Value{e.Mul(x, e.Op("Sigmoid", nil, inner))}, nil
}

// contribSplitGelu: the first half of the features by the GELU of the second.
func contribSplitGelu(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	halves := e.Ops("Split", 2, []onnx.Attr{{Name: "axis", Value: int64(-1)}, {Name: "num_outputs", Value: int64(2)}},
		e.Add(n.Inputs[0], n.Inputs[1]))
	return []*onnx.Value{e.Mul(halves[0], e.Op("Gelu", nil, halves[1]))}, nil
}

func contribBiasAdd(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	return []*onnx.Value{e.Add(e.Add(n.Inputs[0], n.Inputs[1]), n.Inputs[2])}, nil
}

// contribMatMul is a product of transposed factors, scaled. transBatchA takes
// the first dimension behind the batch dimensions before that.
func contribMatMul(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	var factors [2]*onnx.Value
	for i, side := range []string{"A", "B"} {
		x := n.Inputs[i]
		rank := len(x.Shape)
		if x.Shape == nil {
			return nil, refusal(n, 0, "the rank of its input "+x.String()+" isn't known")
		}
		if n.Int("transBatch"+side, 0) != 0 && rank > 2 {
			perm := make([]int64, rank)
			for k := range rank - 2 {
				perm[k] = int64(k + 1)
			}
			perm[rank-1] = int64(rank - 1)
			x = e.Transpose(x, perm...)
		}
		if n.Int("trans"+side, 0) != 0 && rank > 1 {
			x = e.SwapLast(x)
		}
		factors[i] = x
	}
	y := e.MatMul(factors[0], factors[1])
	if alpha := float64(n.Float("alpha", 1)); alpha != 1 {
		y = e.Mul(y, e.number(alpha, y))
	}
	return []*onnx.Value{y}, nil
}

func contribGemm(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	y := e.Op("Gemm", attributes(n, "alpha", "beta", "transA", "transB"), n.Inputs[0], n.Inputs[1], n.In(2))
	alpha := []float32{n.Float("activation_alpha", 0), n.Float("activation_beta", 0)}
	return activated(e, n, y, alpha, n.Attr("activation_alpha") != nil)
}

func contribConv(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	y := e.Op("Conv", attributes(n, "auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"),
		n.Inputs[0], n.Inputs[1], n.In(2))
	if z := n.In(3); z != nil {
		y = e.Add(y, z)
	}
	params, _ := n.Attr("activation_params").([]float32)
	return activated(e, n, y, append(params[:len(params):len(params)], 0, 0), len(params) > 0)
}

// attributes copies a node's attributes of those names.
func attributes(n *onnx.Node, names ...string) []onnx.Attr {
	var out []onnx.Attr
	for _, name := range names {
		if v := n.Attr(name); v != nil {
			out = append(out, onnx.Attr{Name: name, Value: v})
		}
	}
	return out
}

// activated applies the activation that a fused node names.
func activated(e *editor, n *onnx.Node, y *onnx.Value, params []float32, given bool) ([]*onnx.Value, error) {
	var attrs []onnx.Attr
	switch op := n.Str("activation", ""); op {
	case "":
		return []*onnx.Value{y}, nil
	case "Clip":
		y = e.Op(op, nil, y, e.number(float64(params[0]), y), e.number(float64(params[1]), y))
	case "HardSigmoid":
		if given {
			attrs = append(attrs, onnx.Attr{Name: "beta", Value: params[1]})
		}
		fallthrough
	case "LeakyRelu":
		if given {
			attrs = append(attrs, onnx.Attr{Name: "alpha", Value: params[0]})
		}
		y = e.Op(op, attrs, y)
	case "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSwish":
		y = e.Op(op, nil, y)
	default:
		return nil, refusal(n, 0, "its activation "+op+" isn't understood; use the model as it was before ONNX Runtime optimized it")
	}
	return []*onnx.Value{y}, nil
}
