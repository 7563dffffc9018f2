package gradients

// rules is keyed by domain:operator of the working dialect. Every entry is
// checked against finite differences by the tests, which walk this table.
var rules = map[string]func(*call){
	// elementwise
	":Add":         add,
	":Sub":         sub,
	":Mul":         mul,
	":Div":         div,
	":Pow":         pow,
	":Sum":         sum,
	":Max":         extremum,
	":Min":         extremum,
	":Neg":         neg,
	":Abs":         abs,
	":Sqrt":        sqrt,
	":Reciprocal":  reciprocal,
	":Erf":         erf,
	":Exp":         exp,
	":Log":         log,
	":Sin":         sin,
	":Cos":         cos,
	":Tanh":        tanh,
	":Sigmoid":     sigmoid,
	":Softplus":    softplus,
	":Relu":        relu,
	":LeakyRelu":   leakyRelu,
	":HardSigmoid": hardSigmoid,
	":HardSwish":   hardSwish,
	":Gelu":        gelu,
	":Clip":        clip,
	":Where":       where,
	":Identity":    same,
	":Dropout":     same,
	":Cast":        cast,
	":CastLike":    cast,

	// products
	":MatMul":        matMul,
	":Gemm":          gemm,
	":Einsum":        einsum,
	":Conv":          conv,
	":ConvTranspose": convTranspose,

	// normalisation
	":Softmax":            softmax,
	":LogSoftmax":         logSoftmax,
	":LayerNormalization": layerNorm,
	":BatchNormalization": batchNorm,

	// reductions
	":ReduceSum":         reduceSum,
	":ReduceMean":        reduceMean,
	":ReduceSumSquare":   reduceSumSquare,
	":ReduceL1":          reduceL1,
	":ReduceL2":          reduceL2,
	":ReduceLogSumExp":   reduceLogSumExp,
	":ReduceMax":         reduceExtremum,
	":ReduceMin":         reduceExtremum,
	":GlobalAveragePool": globalAveragePool,
	":CumSum":            cumSum,

	// layout
	":Reshape":   reshaped,
	":Flatten":   reshaped,
	":Squeeze":   reshaped,
	":Unsqueeze": reshaped,
	":Transpose": transpose,
	":Expand":    expand,
	":Tile":      tile,
	":Concat":    concat,
	":Split":     split,
	":Slice":     slice,
	":Pad":       pad,
	":Trilu":     trilu,
	":Resize":    resize,

	// indexing
	":Gather":          gather,
	":GatherElements":  gatherElements,
	":GatherND":        gatherND,
	":ScatterElements": scatterElements,
	":ScatterND":       scatterND,
}

// constant lists operators whose derivative is zero wherever it exists, or
// whose result has no derivative: gradients end there, and that is right.
var constant = map[string]bool{
	":Shape": true, ":Size": true, ":ArgMax": true, ":ArgMin": true, ":Sign": true, ":Floor": true,
	":Ceil": true, ":Round": true, ":Equal": true, ":Less": true, ":LessOrEqual": true, ":Greater": true,
	":GreaterOrEqual": true, ":And": true, ":Or": true, ":Xor": true, ":Not": true, ":IsNaN": true,
	":IsInf": true, ":OneHot": true, ":ConstantOfShape": true, ":Constant": true, ":Range": true,
	":NonZero": true, ":EyeLike": true,
}
