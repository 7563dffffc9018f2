// Package npz reads NumPy's files of arrays: .npy, one array, and .npz, a zip
// archive of them. Arrays of Python objects are pickles and are refused.
package npz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"
	"strings"

	"github.com/relevit/relevit/models/zipfile"
	"github.com/relevit/relevit/onnx"
)

// Magic is what a .npy file begins with.
const Magic = "\x93NUMPY"

// maxHeader is the longest description of an array; real ones have 118 bytes.
const (
	maxHeader   = 1 << 16
	usualHeader = 1 << 9
)

// File is an opened archive of arrays, which are unpacked when they are asked
// for.
type File struct {
	Path string

	archive *zipfile.Archive
	names   []string
	entries map[string]*zipfile.Entry
	file    io.Closer
}

// Error is a fault in a file.
type Error struct {
	Path    string
	Array   string // empty where the fault is no array's
	Problem string
}

func (e *Error) Error() string {
	if e.Array != "" {
		return fmt.Sprintf("%s: array %s: %s", e.Path, e.Array, e.Problem)
	}
	return e.Path + ": " + e.Problem
}

// ExitCode is that of a bad input file.
func (e *Error) ExitCode() int { return 3 }

// Open opens an archive. Faults in it are of type *Error or *zipfile.Error.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a NumPy file: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		var file *File
		if file, err = Parse(path, f, info.Size()); err == nil {
			file.file = f
			return file, nil
		}
	}
	f.Close()
	return nil, err
}

// Parse reads the directory of an archive of size bytes, from which arrays are
// read later. The path only serves messages.
func Parse(path string, r io.ReaderAt, size int64) (*File, error) {
	a, err := zipfile.Open(path, r, size)
	if err != nil {
		return nil, err
	}
	f := &File{Path: path, archive: a, entries: map[string]*zipfile.Entry{}}
	for _, e := range a.Entries {
		name, ok := strings.CutSuffix(e.Name, ".npy")
		if !ok || name == "" {
			return nil, &Error{Path: path, Problem: fmt.Sprintf("the archive holds %.60q, which is no array", e.Name)}
		}
		f.names = append(f.names, name)
		f.entries[name] = e
	}
	return f, nil
}

// Check looks for what is wrong with the arrays before any is unpacked: their
// descriptions and sizes, and the checksums of those that aren't compressed.
func (f *File) Check() error {
	for _, name := range f.names {
		e := f.entries[name]
		head, err := f.archive.Head(e, usualHeader)
		if err != nil {
			return err
		}
		at, err := headerEnd(head)
		if err == nil && at > len(head) && int64(len(head)) < e.Size {
			if head, err = f.archive.Head(e, int64(at)); err != nil {
				return err
			}
		}
		if err == nil {
			err = checkHead(head, e.Size)
		}
		if err != nil {
			return &Error{Path: f.Path, Array: name, Problem: err.Error()}
		}
	}
	for _, name := range f.names {
		if err := f.archive.Check(f.entries[name]); err != nil {
			return err
		}
	}
	return nil
}

// Close lets go of the file.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// Names lists the arrays in the archive's order.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Tensor reads an array.
func (f *File) Tensor(name string) (*onnx.Tensor, error) {
	e := f.entries[name]
	if e == nil {
		return nil, &Error{Path: f.Path, Array: name, Problem: fmt.Sprintf("the file has no such array among its %d", len(f.names))}
	}
	data, err := f.archive.Read(e)
	if err != nil {
		return nil, err
	}
	t, err := Array(data)
	if err != nil {
		return nil, &Error{Path: f.Path, Array: name, Problem: err.Error()}
	}
	return t, nil
}

// Array reads the content of a .npy file. A row-major little-endian array
// shares its memory.
func Array(data []byte) (*onnx.Tensor, error) {
	h, at, err := describe(data)
	if err != nil {
		return nil, err
	}
	return h.array(data[at:])
}

// checkHead checks the beginning of a .npy file of size bytes.
func checkHead(head []byte, size int64) error {
	h, at, err := describe(head)
	if err == nil {
		_, _, err = h.fits(uint64(size) - uint64(at))
	}
	return err
}

// describe reads an array's description, behind which its elements begin.
func describe(data []byte) (h *header, at int, err error) {
	if at, err = headerEnd(data); err != nil {
		return nil, 0, err
	}
	if at > len(data) {
		return nil, 0, errors.New("it ends in its header")
	}
	begin := len(Magic) + 4
	if data[len(Magic)] > 1 {
		begin += 2
	}
	h, err = parseHeader(string(data[begin:at]))
	return h, at, err
}

// headerEnd is where the description ends that begins an array.
func headerEnd(data []byte) (int, error) {
	if len(data) < len(Magic)+4 || !bytes.HasPrefix(data, []byte(Magic)) {
		return 0, errors.New("it is no NumPy array")
	}
	major, begin := data[len(Magic)], len(Magic)+4
	length := int64(binary.LittleEndian.Uint16(data[begin-2:]))
	switch major {
	case 1:
	case 2, 3:
		if len(data) < begin+2 {
			return 0, errors.New("it ends in its header")
		}
		length |= int64(binary.LittleEndian.Uint16(data[begin:])) << 16
		begin += 2
	default:
		return 0, fmt.Errorf("its format is version %d; 1 to 3 are known", major)
	}
	if length > maxHeader {
		return 0, fmt.Errorf("its header of %d bytes is too long", length)
	}
	return begin + int(length), nil
}

// fits checks that an array takes so many bytes.
func (h *header) fits(have uint64) (t onnx.DType, big bool, err error) {
	if t, big, err = elementType(h.descr); err != nil {
		return t, big, err
	}
	size := uint64(t.Size())
	if slices.Contains(h.shape, 0) {
		size = 0
	}
	for _, d := range h.shape {
		hi, lo := bits.Mul64(size, uint64(d))
		if hi != 0 || lo > 1<<62 {
			return t, big, fmt.Errorf("its shape %v is too large", h.shape)
		}
		size = lo
	}
	if size != have {
		return t, big, fmt.Errorf("shape %v of %v needs %d bytes, and %d are there", h.shape, t, size, have)
	}
	return t, big, nil
}

// array checks an array's bytes and brings them into row-major little-endian
// order.
func (h *header) array(raw []byte) (*onnx.Tensor, error) {
	t, big, err := h.fits(uint64(len(raw)))
	if err != nil {
		return nil, err
	}
	out := &onnx.Tensor{Type: t, Dims: h.shape, Raw: raw}
	if h.fortran && len(h.shape) > 1 {
		out.Raw = rowMajor(raw, h.shape, int64(t.Size()))
	}
	if big {
		swap(out, t)
	}
	return out, nil
}

// rowMajor turns column-major elements around.
func rowMajor(raw []byte, shape []int64, width int64) []byte {
	strides := make([]int64, len(shape))
	n := width
	for i, d := range shape {
		strides[i] = n
		n *= d
	}
	out := make([]byte, 0, len(raw))
	at := make([]int64, len(shape))
	from := int64(0)
	for len(out) < len(raw) {
		out = append(out, raw[from:from+width]...)
		for i := len(shape) - 1; i >= 0; i-- {
			at[i]++
			from += strides[i]
			if at[i] < shape[i] {
				break
			}
			from -= shape[i] * strides[i]
			at[i] = 0
		}
	}
	return out
}

// swap turns big-endian elements around.
func swap(t *onnx.Tensor, dtype onnx.DType) {
	width := dtype.Size()
	if dtype == onnx.Complex64 || dtype == onnx.Complex128 {
		width /= 2
	}
	t.Raw = slices.Clone(t.Raw)
	for raw := t.Raw; len(raw) > 0; raw = raw[width:] {
		slices.Reverse(raw[:width])
	}
}
