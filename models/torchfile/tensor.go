package torchfile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/relevit/relevit/models/pickle"
	"github.com/relevit/relevit/onnx"
)

// strided is a tensor as PyTorch keeps it: a view of a storage. Offset and
// strides count elements.
type strided struct {
	dtype         onnx.DType
	storage       *storage
	offset        int64
	dims, strides []int64
}

var errQuantised = errors.New("quantised weights can't be finetuned: take the model before its quantisation")

// unreadable tells why tensors that some functions make can't be read.
var unreadable = map[string]error{
	"_rebuild_qtensor":                  errQuantised,
	"_rebuild_sparse_tensor":            errors.New("sparse weights can't be read: store them dense (to_dense)"),
	"_rebuild_sparse_csr_tensor":        errors.New("sparse weights can't be read: store them dense (to_dense)"),
	"_rebuild_nested_tensor":            errors.New("a nested tensor can't be read: store it padded"),
	"_rebuild_meta_tensor_no_storage":   errors.New("it was saved from the device meta, where tensors have no data"),
	"_rebuild_device_tensor_from_numpy": errors.New("it was saved from a device of its own kind: move the model to the CPU before saving"),
}

// isTensor reports whether a value is a tensor, readable or not.
func isTensor(v any) bool {
	c, ok := v.(*pickle.Call)
	if !ok || (c.Func.Module != "torch._utils" && c.Func.Module != "torch._tensor") {
		return false
	}
	return true
}

// lookup finds a storage by its key.
type lookup func(key string) (*storage, error)

// resolve reads what makes a tensor. Depth limits wrappings: a parameter of a
// tensor of a type.
func resolve(v any, depth int, stored lookup) (*strided, error) {
	c, ok := v.(*pickle.Call)
	if !ok || depth == 0 {
		return nil, errors.New("it is made in an unknown way")
	}
	a := c.Args
	switch name := c.Func.Name; name {
	case "_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_device_tensor_from_cpu_tensor":
		if len(a) > 0 {
			return resolve(a[0], depth-1, stored)
		}
	case "_rebuild_from_type_v2":
		if len(a) < 3 {
			break
		}
		f, ok1 := a[0].(pickle.Global)
		class, ok2 := a[1].(pickle.Global)
		args, ok3 := a[2].(pickle.Tuple)
		if !ok1 || !ok2 || !ok3 {
			break
		}
		if class.Module != "torch" && class.Module != "torch.nn.parameter" {
			return nil, fmt.Errorf("it is of the class %s", class)
		}
		return resolve(&pickle.Call{Func: f, Args: args}, depth-1, stored)
	case "_rebuild_tensor":
		if len(a) >= 4 {
			return view(a, onnx.Undefined, stored)
		}
	case "_rebuild_tensor_v2":
		if len(a) >= 6 {
			return view(a, onnx.Undefined, stored)
		}
	case "_rebuild_tensor_v3":
		if len(a) < 7 {
			break
		}
		g, _ := a[6].(pickle.Global)
		t, ok := dtypes[g.Name]
		if !ok || g.Module != "torch" {
			return nil, fmt.Errorf("its type is %s, which isn't known", pickle.Kind(a[6]))
		}
		return view(a, t, stored)
	default:
		if err := unreadable[name]; err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s is called with %d arguments that aren't understood", c.Func, len(a))
}

// view reads (storage, offset, sizes, strides, ...). The tensor lies within its
// storage.
func view(args pickle.Tuple, t onnx.DType, stored lookup) (*strided, error) {
	id, err := parseID(args[0])
	if err != nil {
		return nil, err
	}
	if t == onnx.Undefined {
		t = id.dtype
	}
	offset, ok := args[1].(int64)
	dims, ok1 := integers(args[2])
	strides, ok2 := integers(args[3])
	switch {
	case t == onnx.Undefined:
		return nil, errors.New("its storage has no type")
	case !ok || !ok1 || !ok2 || offset < 0 || len(dims) != len(strides) || len(dims) > 64:
		return nil, errors.New("its offset, sizes or strides make no sense")
	}
	s := &strided{dtype: t, dims: dims, strides: strides}
	if s.storage, err = stored(id.key); err != nil {
		return nil, err
	}
	have := s.storage.size / int64(t.Size())
	if id.offset > have || offset > have-id.offset {
		return nil, fmt.Errorf("it begins at element %d of a storage of %d", offset, have)
	}
	s.offset = offset + id.offset
	return s, s.fit(have)
}

func integers(v any) ([]int64, bool) {
	if c, ok := v.(*pickle.Call); ok && c.Func.Name == "Size" && len(c.Args) == 1 {
		v = c.Args[0]
	}
	t, ok := v.(pickle.Tuple)
	out := make([]int64, len(t))
	for i := range t {
		n, isInt := t[i].(int64)
		ok = ok && isInt && n >= 0
		out[i] = n
	}
	return out, ok
}

// fit checks that all elements are among the storage's.
func (s *strided) fit(have int64) error {
	if slices.Contains(s.dims, 0) {
		return nil
	}
	last, count := s.offset, int64(1)
	for i, d := range s.dims {
		if d-1 > 0 && s.strides[i] > (have-last)/(d-1) {
			return fmt.Errorf("sizes %v with strides %v from element %d leave a storage of %d elements", s.dims, s.strides, s.offset, have)
		}
		last += (d - 1) * s.strides[i]
		if count > (1<<56)/d {
			return fmt.Errorf("sizes %v are too large", s.dims)
		}
		count *= d
	}
	if last >= have {
		return fmt.Errorf("sizes %v with strides %v from element %d leave a storage of %d elements", s.dims, s.strides, s.offset, have)
	}
	return nil
}

// bytes is the size of the elements side by side.
func (s *strided) bytes() int64 {
	n := int64(s.dtype.Size())
	for _, d := range s.dims {
		n *= d
	}
	return n
}

// dense reports whether the elements lie side by side in row-major order.
func (s *strided) dense() bool {
	n := int64(1)
	for i := len(s.dims) - 1; i >= 0; i-- {
		if s.dims[i] != 1 && s.strides[i] != n {
			return false
		}
		n *= s.dims[i]
	}
	return true
}

// gather brings the elements into row-major order, little-endian. A tensor that
// has it already shares its storage's memory.
func (s *strided) gather(raw []byte, big bool) *onnx.Tensor {
	size, width := s.bytes(), int64(s.dtype.Size())
	out := &onnx.Tensor{Type: s.dtype, Dims: slices.Clone(s.dims)}
	if size == 0 {
		return out
	}
	from := s.offset * width
	if s.dense() {
		out.Raw = raw[from : from+size : from+size]
		if big {
			out.Raw = slices.Clone(out.Raw)
		}
	} else {
		out.Raw = s.copy(raw[from:], size, width)
	}
	if big {
		swap(out.Raw, s.dtype)
	}
	return out
}

func (s *strided) copy(raw []byte, size, width int64) []byte {
	out := make([]byte, 0, size)
	n := len(s.dims) - 1 // a dense tensor has no other rank than >= 1 here
	at := make([]int64, n+1)
	from := int64(0)
	for int64(len(out)) < size {
		for j := range s.dims[n] {
			p := from + j*s.strides[n]*width
			out = append(out, raw[p:p+width]...)
		}
		for i := n - 1; i >= 0; i-- {
			at[i]++
			from += s.strides[i] * width
			if at[i] < s.dims[i] {
				break
			}
			from -= s.dims[i] * s.strides[i] * width
			at[i] = 0
		}
	}
	return out
}

// swap turns big-endian elements around.
func swap(raw []byte, t onnx.DType) {
	width := t.Size()
	if t == onnx.Complex64 || t == onnx.Complex128 {
		width /= 2
	}
	for ; len(raw) > 0; raw = raw[width:] {
		slices.Reverse(raw[:width])
	}
}
