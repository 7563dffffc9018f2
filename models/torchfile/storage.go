package torchfile

import (
	"fmt"
	"io"
	"strings"

	"github.com/relevit/relevit/models/pickle"
	"github.com/relevit/relevit/onnx"
)

// storage is a piece of memory that tensors look into.
type storage struct {
	file     io.ReaderAt
	at, size int64 // where it begins in file, and its bytes
}

// storageID is what a pickle says about a storage.
type storageID struct {
	key    string
	dtype  onnx.DType // Undefined for bytes of no type
	width  int64      // bytes of an element
	offset int64      // where a view of the storage begins, in elements
}

// storageTypes are PyTorch's names before "Storage".
var storageTypes = map[string]onnx.DType{
	"Float": onnx.Float, "Double": onnx.Double, "Half": onnx.Float16, "BFloat16": onnx.BFloat16,
	"Byte": onnx.Uint8, "Char": onnx.Int8, "Short": onnx.Int16, "Int": onnx.Int32, "Long": onnx.Int64,
	"Bool": onnx.Bool, "ComplexFloat": onnx.Complex64, "ComplexDouble": onnx.Complex128,
}

// dtypes are PyTorch's names of types that have no storage class, and of
// others.
var dtypes = map[string]onnx.DType{
	"float32": onnx.Float, "float": onnx.Float, "float64": onnx.Double, "double": onnx.Double,
	"float16": onnx.Float16, "half": onnx.Float16, "bfloat16": onnx.BFloat16,
	"uint8": onnx.Uint8, "int8": onnx.Int8, "int16": onnx.Int16, "short": onnx.Int16,
	"int32": onnx.Int32, "int": onnx.Int32, "int64": onnx.Int64, "long": onnx.Int64,
	"uint16": onnx.Uint16, "uint32": onnx.Uint32, "uint64": onnx.Uint64, "bool": onnx.Bool,
	"complex64": onnx.Complex64, "complex128": onnx.Complex128,
	"float8_e4m3fn": 17, "float8_e4m3fnuz": 18, "float8_e5m2": 19, "float8_e5m2fnuz": 20, "float8_e8m0fnu": 24,
}

// parseID reads ("storage", class, key, device, elements), and in the older
// format a sixth member: nothing or (key, offset, elements) of a view.
func parseID(v any) (*storageID, error) {
	p, ok := v.(*pickle.Persistent)
	if !ok {
		return nil, fmt.Errorf("a tensor has no storage")
	}
	id, ok := p.ID.(pickle.Tuple)
	if !ok || len(id) < 5 || len(id) > 6 || id[0] != "storage" {
		return nil, fmt.Errorf("a storage is described in an unknown way")
	}
	class, ok1 := id[1].(pickle.Global)
	key, ok2 := id[2].(string)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("a storage is described in an unknown way")
	}
	out := &storageID{key: key, width: 1}
	name := strings.TrimSuffix(class.Name, "Storage")
	if t, ok := storageTypes[name]; ok {
		out.dtype, out.width = t, int64(t.Size())
	} else if strings.HasPrefix(name, "Q") {
		return nil, errQuantised
	} else if name != "Untyped" && name != "_Untyped" {
		return nil, fmt.Errorf("%s isn't known as a kind of storage", class)
	}
	if len(id) == 6 && id[5] != nil {
		view, ok := id[5].(pickle.Tuple)
		if !ok || len(view) != 3 {
			return nil, fmt.Errorf("a view of a storage is described in an unknown way")
		}
		if out.offset, ok = view[1].(int64); !ok || out.offset < 0 {
			return nil, fmt.Errorf("a view of a storage begins at %s", pickle.Kind(view[1]))
		}
	}
	return out, nil
}
