package torchfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf8"

	"archive/zip"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// alignment of every record, so that torch.load can map it.
const alignment = 64

// Write writes a state dict as torch.save does, complete or not at all: an
// OrderedDict of tensors in the given order, which torch.load opens with
// weights_only and with mmap. Equal tensors give equal bytes.
func Write(path string, tensors []safetensors.Named) error {
	pickle, err := dump(path, tensors)
	if err != nil {
		return err
	}
	return atomic.Write(path, func(w io.Writer) error {
		a := &archiver{to: w}
		a.zip = zip.NewWriter(a)
		a.add("data.pkl", pickle)
		a.add(".format_version", []byte("1"))
		a.add(".storage_alignment", fmt.Append(nil, alignment))
		a.add("byteorder", []byte("little"))
		for i, t := range tensors {
			a.add(fmt.Sprint("data/", i), t.Tensor.Raw)
		}
		a.add("version", []byte("3\n"))
		if a.err != nil {
			return a.err
		}
		return a.zip.Close()
	})
}

// archiver writes aligned, uncompressed records.
type archiver struct {
	to      io.Writer
	written int64
	zip     *zip.Writer
	err     error
}

// Write counts what the zip writer hands on.
func (a *archiver) Write(p []byte) (int, error) {
	n, err := a.to.Write(p)
	a.written += int64(n)
	return n, err
}

// add writes a record, whose name is padded by an extra field.
func (a *archiver) add(name string, content []byte) {
	if a.err != nil {
		return
	}
	if a.err = a.zip.Flush(); a.err != nil {
		return
	}
	const localHeader, extraHeader = 30, 4
	h := &zip.FileHeader{Name: "archive/" + name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(content),
		UncompressedSize64: uint64(len(content)), CompressedSize64: uint64(len(content))}
	at := a.written + localHeader + int64(len(h.Name)) + extraHeader
	pad := (alignment - at%alignment) % alignment
	h.Extra = append([]byte{'F', 'B', byte(pad), 0}, bytes.Repeat([]byte{'Z'}, int(pad))...)
	w, err := a.zip.CreateRaw(h)
	if err == nil {
		_, err = w.Write(content)
	}
	a.err = err
}

// Opcodes of the pickles that are written.
const (
	proto2, mark, stop       = "\x80\x02", "(", "."
	global, reduce, persist  = "c", "R", "Q"
	emptyTuple, tuple        = ")", "t"
	binInt, long1, newFalse  = "J", "\x8a\x08", "\x89"
	binUnicode, setItems     = "X", "u"
	orderedDict              = global + "collections\nOrderedDict\n" + emptyTuple + reduce
	rebuildTensor, rebuildV3 = global + "torch._utils\n_rebuild_tensor_v2\n", global + "torch._utils\n_rebuild_tensor_v3\n"
)

// untyped are PyTorch's names of types without a storage class.
var untyped = map[onnx.DType]string{
	onnx.Uint16: "uint16", onnx.Uint32: "uint32", onnx.Uint64: "uint64",
	17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 24: "float8_e8m0fnu",
}

// dump pickles the state dict.
func dump(path string, tensors []safetensors.Named) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(proto2 + orderedDict + mark)
	names := map[string]bool{}
	for i, t := range tensors {
		e := &Error{Path: path, Tensor: t.Name}
		switch {
		case t.Tensor == nil:
			e.Problem = "no tensor to write"
		case names[t.Name]:
			e.Problem = "two tensors of this name are to be written"
		case !utf8.ValidString(t.Name):
			e.Problem = "the name is no UTF-8"
		case t.Tensor.Check() != nil:
			e.Problem, e.Err = "the tensor is faulty", t.Tensor.Check()
		}
		if e.Problem != "" {
			return nil, e
		}
		names[t.Name] = true
		text(&b, t.Name)
		if err := describe(&b, i, t.Tensor); err != nil {
			e.Problem, e.Err = "it can't be written", err
			return nil, e
		}
	}
	b.WriteString(setItems + stop)
	return b.Bytes(), nil
}

// describe pickles the call that rebuilds a tensor from record i.
func describe(b *bytes.Buffer, i int, t *onnx.Tensor) error {
	class, elements, function := "", t.Count(), rebuildTensor
	for name, dtype := range storageTypes {
		if dtype == t.Type {
			class = "torch\n" + name + "Storage\n"
		}
	}
	bare := untyped[t.Type]
	if class == "" {
		if bare == "" {
			return fmt.Errorf("PyTorch has no element type %v", t.Type)
		}
		class, elements, function = "torch.storage\nUntypedStorage\n", int64(len(t.Raw)), rebuildV3
	}
	b.WriteString(function + mark + mark)
	text(b, "storage")
	b.WriteString(global + class)
	text(b, fmt.Sprint(i))
	text(b, "cpu")
	integer(b, elements)
	b.WriteString(tuple + persist)
	integer(b, 0)
	strides := make([]int64, len(t.Dims))
	n := int64(1)
	for i := len(t.Dims) - 1; i >= 0; i-- {
		strides[i] = n
		n *= max(t.Dims[i], 1)
	}
	for _, list := range [][]int64{t.Dims, strides} {
		b.WriteString(mark)
		for _, d := range list {
			integer(b, d)
		}
		b.WriteString(tuple)
	}
	b.WriteString(newFalse + orderedDict)
	if bare != "" {
		b.WriteString(global + "torch\n" + bare + "\n")
	}
	b.WriteString(tuple + reduce)
	return nil
}

func text(b *bytes.Buffer, s string) {
	b.WriteString(binUnicode)
	b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
	b.WriteString(s)
}

func integer(b *bytes.Buffer, v int64) {
	if v == int64(int32(v)) {
		b.WriteString(binInt)
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(v)))
		return
	}
	b.WriteString(long1)
	b.Write(binary.LittleEndian.AppendUint64(nil, uint64(v)))
}
