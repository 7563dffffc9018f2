package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/onnx"
)

// Named is a tensor with its name.
type Named struct {
	Name   string
	Tensor *onnx.Tensor
}

// Write writes a file that appears complete or not at all. The header lists
// the tensors in the given order; equal arguments give equal bytes. Tensors
// are streamed from where they are.
func Write(path string, tensors []Named, metadata map[string]string) error {
	header, order, err := plan(path, tensors, metadata)
	if err != nil {
		return err
	}
	return atomic.Write(path, func(w io.Writer) error { return stream(w, header, order) })
}

// Encode writes the bytes of such a file to w. The name only serves messages.
func Encode(w io.Writer, name string, tensors []Named, metadata map[string]string) error {
	header, order, err := plan(name, tensors, metadata)
	if err != nil {
		return err
	}
	return stream(w, header, order)
}

func stream(w io.Writer, header []byte, order []Named) error {
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range order {
		if _, err := w.Write(t.Tensor.Raw); err != nil {
			return err
		}
	}
	return nil
}

// plan returns the length and header, padded so that the data begins at a
// multiple of 8, and the order of the tensors' data: larger elements first, so
// that every tensor lies at a multiple of its element's size.
func plan(path string, tensors []Named, metadata map[string]string) ([]byte, []Named, error) {
	order := slices.Clone(tensors)
	for _, t := range tensors {
		if err := check(path, t); err != nil {
			return nil, nil, err
		}
	}
	slices.SortStableFunc(order, func(a, b Named) int { return cmp.Compare(b.Tensor.Type.Size(), a.Tensor.Type.Size()) })
	begin := map[string]int64{}
	end := int64(0)
	for _, t := range order {
		if _, ok := begin[t.Name]; ok {
			return nil, nil, &Error{File: path, Tensor: t.Name, Problem: "two tensors of this name are to be written"}
		}
		begin[t.Name] = end
		end += int64(len(t.Tensor.Raw))
	}

	header := bytes.NewBuffer(make([]byte, 8))
	header.WriteByte('{')
	if len(metadata) > 0 {
		header.WriteString(quote(metadataKey) + ":")
		text, err := json.Marshal(metadata)
		if err != nil {
			return nil, nil, &Error{File: path, Problem: "metadata can't be written", Err: err}
		}
		header.Write(text)
	}
	for _, t := range tensors {
		if header.Len() > 9 {
			header.WriteByte(',')
		}
		dtype, _ := NameOf(t.Tensor.Type)
		shape, err := json.Marshal(append([]int64{}, t.Tensor.Dims...))
		if err != nil {
			return nil, nil, &Error{File: path, Tensor: t.Name, Problem: "the shape can't be written", Err: err}
		}
		at := begin[t.Name]
		fmt.Fprintf(header, `%s:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`,
			quote(t.Name), dtype, shape, at, at+int64(len(t.Tensor.Raw)))
	}
	header.WriteByte('}')
	for header.Len()%8 != 0 {
		header.WriteByte(' ')
	}
	out := header.Bytes()
	if len(out)-8 > MaxHeader {
		return nil, nil, &Error{File: path, Problem: "the header would be too long", Expected: fmt.Sprintf("at most %d bytes", MaxHeader), Found: fmt.Sprint(len(out) - 8)}
	}
	binary.LittleEndian.PutUint64(out, uint64(len(out)-8))
	return out, order, nil
}

// check tells why a tensor can't be written.
func check(path string, t Named) error {
	e := &Error{File: path, Tensor: t.Name}
	switch {
	case t.Name == metadataKey || !utf8.ValidString(t.Name):
		e.Problem = "the format doesn't allow this name"
		return e
	case t.Tensor == nil:
		e.Problem = "no tensor to write"
		return e
	}
	if _, ok := NameOf(t.Tensor.Type); !ok {
		e.Problem = fmt.Sprintf("the format has no element type %v", t.Tensor.Type)
		return e
	}
	if want := t.Tensor.Count() * int64(t.Tensor.Type.Size()); want != int64(len(t.Tensor.Raw)) {
		e.Problem = "the length doesn't fit type and shape"
		e.Expected = fmt.Sprintf("%d bytes for %v%v", want, t.Tensor.Type, t.Tensor.Dims)
		e.Found = fmt.Sprint(len(t.Tensor.Raw))
		return e
	}
	return nil
}

func quote(s string) string {
	text, _ := json.Marshal(s) // a string always marshals
	return string(text)
}
