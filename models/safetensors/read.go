package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"
	"unicode/utf8"

	"github.com/relevit/relevit/onnx"
)

// metadataKey is the header's one key that names no tensor.
const metadataKey = "__metadata__"

// File is an opened file. Its tensors share the memory into which the file was
// read.
type File struct {
	Path     string
	Metadata map[string]string // nil where the file has none

	names   []string
	spans   []span // by begin
	tensors map[string]*onnx.Tensor
}

// Open reads a whole file, its data only where its header fits them. Faults in
// it are of type *Error.
func Open(path string) (*File, error) {
	return read(path, func(f *File, in io.Reader, length int64) error {
		data := make([]byte, length)
		if _, err := io.ReadFull(in, data); err != nil {
			return err
		}
		f.fill(data)
		return nil
	})
}

// Describe is like Open, but leaves the tensors without their data.
func Describe(path string) (*File, error) {
	return read(path, func(*File, io.Reader, int64) error { return nil })
}

// read reads a file's header, and leaves to more what length bytes follow.
func read(path string, more func(f *File, in io.Reader, length int64) error) (*File, error) {
	f, err := open(path, more)
	if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
		return nil, fmt.Errorf("reading a safetensors file: %w", err)
	}
	return f, err
}

func open(path string, more func(f *File, in io.Reader, length int64) error) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{File: path, Problem: "this is no file"}
	}
	first := make([]byte, min(info.Size(), 8))
	if _, err := io.ReadFull(file, first); err != nil {
		return nil, err
	}
	n, err := headerLength(path, first, info.Size())
	if err != nil {
		return nil, err
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(file, header); err != nil {
		return nil, err
	}
	f, err := describe(path, header, info.Size()-8-n)
	if err != nil {
		return nil, err
	}
	return f, more(f, file, info.Size()-8-n)
}

// Names lists the tensors in the order of the file's header.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Tensor returns the tensor of that name. Its elements are the file's own
// bytes: don't write into them.
func (f *File) Tensor(name string) (*onnx.Tensor, error) {
	t, ok := f.tensors[name]
	if !ok {
		return nil, &Error{File: f.Path, Tensor: name, Problem: fmt.Sprintf("the file has no such tensor among its %d", len(f.names))}
	}
	return t, nil
}

// Parse reads a file's content, of which the result's tensors are slices. The
// path only serves messages.
func Parse(path string, data []byte) (*File, error) {
	n, err := headerLength(path, data, int64(len(data)))
	if err != nil {
		return nil, err
	}
	header, body := data[8:8+n:8+n], data[8+n:]
	f, err := describe(path, header, int64(len(body)))
	if err != nil {
		return nil, err
	}
	f.fill(body)
	return f, nil
}

// headerLength is the length of the header of a file of size bytes.
func headerLength(path string, first []byte, size int64) (int64, error) {
	if len(first) < 8 {
		return 0, &Error{File: path, Problem: "the file is too short for safetensors", Expected: "at least 8 bytes", Found: fmt.Sprint(len(first))}
	}
	n := binary.LittleEndian.Uint64(first)
	switch {
	case n > MaxHeader:
		return 0, &Error{File: path, Problem: "this is no safetensors file: its header would be too long",
			Expected: fmt.Sprintf("at most %d bytes", MaxHeader), Found: fmt.Sprint(n)}
	case int64(n) > size-8:
		return 0, &Error{File: path, Problem: "the file ends inside its header (an incomplete download?)",
			Expected: fmt.Sprintf("%d bytes of header", n), Found: fmt.Sprint(size - 8)}
	}
	return int64(n), nil
}

// describe reads a header that length bytes of data follow.
func describe(path string, header []byte, length int64) (*File, error) {
	f := &File{Path: path, tensors: map[string]*onnx.Tensor{}}
	return f, f.header(header, length)
}

// fill gives the tensors their data.
func (f *File) fill(data []byte) {
	for _, s := range f.spans {
		f.tensors[s.name].Raw = data[s.begin:s.end:s.end]
	}
}

// span is where a tensor lies in the data.
type span struct {
	name       string
	begin, end int64
}

func (f *File) header(header []byte, length int64) error {
	if len(header) == 0 || header[0] != '{' || !utf8.Valid(header) {
		return &Error{File: f.Path, Problem: "this is no safetensors file: its header is no JSON object in UTF-8"}
	}
	err := Members(header, func(key string, value json.RawMessage) error {
		if key == metadataKey {
			return f.metadata(value)
		}
		s, err := f.entry(key, value, length)
		f.names = append(f.names, key)
		f.spans = append(f.spans, s)
		return err
	})
	if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
		return &Error{File: f.Path, Problem: "bad header", Err: err}
	}
	if err != nil {
		return err
	}
	return f.cover(length)
}

func (f *File) metadata(value json.RawMessage) error {
	f.Metadata = map[string]string{}
	err := Members(value, func(key string, v json.RawMessage) error {
		var s *string
		if err := json.Unmarshal(v, &s); err != nil || s == nil {
			return fmt.Errorf("key %q: expected a string, found %s", key, clip(v))
		}
		f.Metadata[key] = *s
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", metadataKey, err)
	}
	return nil
}

// entry reads a tensor's description and sets the tensor, without its data.
func (f *File) entry(name string, value json.RawMessage, length int64) (span, error) {
	fail := func(problem, expected, found string) (span, error) {
		return span{}, &Error{File: f.Path, Tensor: name, Problem: problem, Expected: expected, Found: found}
	}
	var dtype string
	var shape, at []int64
	var bad string
	err := Members(value, func(key string, v json.RawMessage) error {
		var into any
		switch key {
		case "dtype":
			into = &dtype
		case "shape":
			into = &shape
		case "data_offsets":
			into = &at
		default:
			return nil
		}
		if err := json.Unmarshal(v, into); err != nil {
			bad = fmt.Sprintf("%s is %s", key, clip(v))
			return err
		}
		return nil
	})
	if err != nil {
		if bad == "" {
			bad = err.Error()
		}
		return fail("bad description", "dtype, shape and data_offsets", bad)
	}
	t, ok := TypeOf(dtype)
	if !ok {
		return fail("unknown element type", "F32, F64, F16, BF16, I8 to I64, U8 to U64 or BOOL", fmt.Sprintf("%q", dtype))
	}
	if shape == nil {
		return fail("bad description", "a shape", "none")
	}
	size := uint64(t.Size())
	for _, d := range shape {
		if d < 0 {
			return fail("bad shape", "no negative dimension", fmt.Sprint(shape))
		}
	}
	for _, d := range shape {
		hi, lo := bits.Mul64(size, uint64(d))
		if hi != 0 || lo > 1<<62 {
			return fail("the shape is too large", "fewer than 2^62 bytes", fmt.Sprint(shape))
		}
		size = lo
	}
	if len(at) != 2 || at[0] < 0 || at[1] < at[0] {
		return fail("bad data_offsets", "[begin, end]", fmt.Sprint(at))
	}
	if at[1] > length {
		return fail("the file ends before the tensor does (an incomplete download?)",
			fmt.Sprintf("data up to byte %d", at[1]), fmt.Sprintf("%d bytes of data", length))
	}
	if uint64(at[1]-at[0]) != size {
		return fail("the length doesn't fit type and shape", fmt.Sprintf("%d bytes for %s%v", size, dtype, shape), fmt.Sprint(at[1]-at[0]))
	}
	f.tensors[name] = &onnx.Tensor{Type: t, Dims: shape}
	return span{name, at[0], at[1]}, nil
}

// cover checks that the tensors tile the data without overlap, hole or rest.
func (f *File) cover(length int64) error {
	slices.SortStableFunc(f.spans, func(a, b span) int {
		if a.begin != b.begin {
			return int(min(max(a.begin-b.begin, -1), 1))
		}
		return int(min(max(a.end-b.end, -1), 1))
	})
	end := int64(0)
	for _, s := range f.spans {
		if s.begin != end {
			problem := "its data overlaps another tensor's"
			if s.begin > end {
				problem = "bytes before its data belong to no tensor"
			}
			return &Error{File: f.Path, Tensor: s.name, Problem: problem, Expected: fmt.Sprintf("data from byte %d", end), Found: fmt.Sprint(s.begin)}
		}
		end = s.end
	}
	if end != length {
		return &Error{File: f.Path, Problem: "bytes after the last tensor", Expected: fmt.Sprintf("%d bytes of data", end), Found: fmt.Sprint(length)}
	}
	return nil
}

// Members calls f for every member of a JSON object, in order. A repeated key
// and anything but space after the object are errors.
func Members(data []byte, f func(key string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	open, err := dec.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('{') {
		return fmt.Errorf("expected a JSON object, found %s", clip(data))
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("expected a key, found %v", token)
		}
		if seen[key] {
			return fmt.Errorf("key %q appears twice", key)
		}
		seen[key] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if rest := bytes.TrimSpace(data[dec.InputOffset():]); len(rest) > 0 {
		return fmt.Errorf("expected spaces after the JSON object, found %s", clip(rest))
	}
	return nil
}

// clip shortens JSON for messages.
func clip(v []byte) string {
	const most = 40
	if len(v) > most {
		return fmt.Sprintf("%q...", v[:most])
	}
	return fmt.Sprintf("%q", v)
}
