package ref

import (
	"math"

	"github.com/relevit/relevit/onnx"
)

func castOp(c *call) ([]*Array, error) {
	return one(cast(c.in[0], onnx.DType(c.node.Int("to", 0))))
}

func castLike(c *call) ([]*Array, error) { return one(cast(c.in[0], c.in[1].Type)) }

// cast converts between kinds: floats to integers by truncation, numbers to
// booleans by being other than zero. Float types are nominal.
func cast(x *Array, to onnx.DType) (*Array, error) {
	from, kind := kindOf(x.Type), kindOf(to)
	if from == kind && kind != integer && kind != other {
		return x.As(to), nil
	}
	y, err := alloc(to, x.Shape)
	if err != nil {
		return nil, err
	}
	for i := range x.Count() {
		switch {
		case from == floating && kind == integer:
			y.I[i] = wrap(to, truncate(x.F[i]))
		case from == floating:
			y.B[i] = x.F[i] != 0
		case from == integer && kind == floating:
			y.F[i] = float64(x.I[i])
		case from == integer && kind == integer:
			y.I[i] = wrap(to, x.I[i])
		case from == integer:
			y.B[i] = x.I[i] != 0
		case x.B[i] && kind == floating:
			y.F[i] = 1
		case x.B[i]:
			y.I[i] = 1
		}
	}
	return y, nil
}

// truncate is x towards zero; what doesn't fit gives the nearest integer, NaN
// gives 0 (ONNX leaves both open).
func truncate(x float64) int64 {
	switch {
	case math.IsNaN(x):
		return 0
	case x >= math.MaxInt64:
		return math.MaxInt64
	case x <= math.MinInt64:
		return math.MinInt64
	}
	return int64(x)
}

// wrap reduces an integer to the width of its type. The upper half of uint64
// is kept as negative numbers.
func wrap(t onnx.DType, x int64) int64 {
	switch t {
	case onnx.Int8:
		return int64(int8(x))
	case onnx.Uint8:
		return int64(uint8(x))
	case onnx.Int16:
		return int64(int16(x))
	case onnx.Uint16:
		return int64(uint16(x))
	case onnx.Int32:
		return int64(int32(x))
	case onnx.Uint32:
		return int64(uint32(x))
	}
	return x
}
