package pipeline

import (
	"bytes"
	"fmt"

	onnxgo "github.com/owulveryck/onnx-go"
	"google.golang.org/protobuf/encoding/protowire"
	"gorgonia.org/tensor"

	"github.com/relevit/relevit/onnx"
)

// Field numbers of onnx.proto, on the way from a model to its initializers.
const (
	protoModelGraph    = 7
	protoGraphInit     = 5
	protoTensorType    = 2
	protoTensorName    = 8
	protoTensorOutside = 14
)

// rereading is an initializer as another reader has it.
type rereading struct {
	value   *onnx.Tensor
	skipped string // why the reader can't read it
}

func (r *rereading) differs(t *onnx.Tensor) bool {
	return r.value.Type != t.Type || !r.value.Shape().Same(t.Shape()) || !bytes.Equal(r.value.Raw, t.Raw)
}

// readAgain reads the initializers of an ONNX file by owulveryck/onnx-go, which
// shares no code with our own reader.
func readAgain(data []byte) (map[string]*rereading, error) {
	out := map[string]*rereading{}
	err := eachField(data, protoModelGraph, func(graph []byte) error {
		return eachField(graph, protoGraphInit, func(proto []byte) error {
			name, r, err := decodeAgain(proto)
			out[name] = r
			return err
		})
	})
	return out, err
}

// eachField calls f with every field of that number, which hold bytes.
func eachField(message []byte, want protowire.Number, f func([]byte) error) error {
	for len(message) > 0 {
		num, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if num == want && kind == protowire.BytesType {
			body, n := protowire.ConsumeBytes(message)
			if n < 0 {
				return protowire.ParseError(n)
			}
			if err := f(body); err != nil {
				return err
			}
			message = message[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, kind, message); n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
	}
	return nil
}

// decodeAgain decodes one TensorProto.
func decodeAgain(proto []byte) (name string, r *rereading, err error) {
	r = &rereading{}
	var dtype onnx.DType
	outside := false
	for rest := proto; len(rest) > 0; {
		num, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return "", nil, protowire.ParseError(n)
		}
		value := rest[n:]
		if n = protowire.ConsumeFieldValue(num, kind, value); n < 0 {
			return "", nil, protowire.ParseError(n)
		}
		switch {
		case num == protoTensorName && kind == protowire.BytesType:
			text, _ := protowire.ConsumeBytes(value)
			name = string(text)
		case num == protoTensorType && kind == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			dtype = onnx.DType(v)
		case num == protoTensorOutside && kind == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			outside = v == 1
		}
		rest = value[n:]
	}
	switch dtype {
	case onnx.Float, onnx.Double, onnx.Int32, onnx.Int64:
	default:
		r.skipped = fmt.Sprintf("the second reader doesn't read %v", dtype)
		return name, r, nil
	}
	if outside {
		r.skipped = "its data is in another file"
		return name, r, nil
	}
	r.value, r.skipped = decodeByOnnxGo(proto)
	return name, r, nil
}

// decodeByOnnxGo decodes a TensorProto, or says why that can't be done.
func decodeByOnnxGo(proto []byte) (t *onnx.Tensor, problem string) {
	defer func() {
		if p := recover(); p != nil {
			t, problem = nil, fmt.Sprintf("the second reader gives up: %v", p)
		}
	}()
	decoded, err := onnxgo.NewTensor(proto)
	if err != nil {
		return nil, fmt.Sprintf("the second reader gives up: %v", err)
	}
	dense, ok := decoded.(*tensor.Dense)
	if !ok {
		return nil, fmt.Sprintf("the second reader gives a %T", decoded)
	}
	if t, err = onnx.FromDense(dense); err != nil {
		return nil, err.Error()
	}
	return t, ""
}
