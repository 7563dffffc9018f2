// Package torchfile reads and writes PyTorch's files of weights (.pth, .pt,
// .bin, .ckpt): the zip archives of torch.save, and the older sequence of
// pickles. Nothing in a file is run, see package pickle.
//
// A checkpoint often wraps its weights in a dict with the optimizer's state
// and more; only the weights' own bytes are read, when they are asked for.
package torchfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/relevit/relevit/models/pickle"
	"github.com/relevit/relevit/models/zipfile"
	"github.com/relevit/relevit/onnx"
)

// File is an opened file. Its tensors stay readable until it is closed.
type File struct {
	Path         string
	Nesting      string   // keys that lead to the weights, joined by points, such as model; "" where they lie outermost
	Others       []string // keys beside the last of Nesting that lead to other weights
	Architecture string   // what the file's options call the model; "" for nothing

	names   []string
	tensors map[string]*strided
	raw     map[*storage][]byte
	big     bool // elements are big-endian
	file    io.Closer
}

// Error is a fault in a file.
type Error struct {
	Path    string
	Tensor  string // empty where the fault is no tensor's
	Problem string
	Advice  string // what to do; may be empty
	Err     error  // the cause, or nil
}

func (e *Error) Error() string {
	s := e.Path
	if e.Tensor != "" {
		s += ": tensor " + e.Tensor
	}
	s += ": " + e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Advice != "" {
		s += "; " + e.Advice
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ExitCode is that of a bad input file.
func (e *Error) ExitCode() int { return 3 }

// Open opens a file. Faults in it are of type *Error or *zipfile.Error.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a PyTorch file: %w", err)
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

// Parse reads what describes the tensors of a file of size bytes, from which
// they are read later. The path only serves messages.
func Parse(path string, r io.ReaderAt, size int64) (*File, error) {
	head := make([]byte, min(size, 4))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading a PyTorch file: %w", err)
	}
	f := &File{Path: path, tensors: map[string]*strided{}, raw: map[*storage][]byte{}}
	if bytes.HasPrefix(head, []byte("PK")) {
		return f, f.zip(r, size)
	}
	return f, f.legacy(r, size)
}

// Close lets go of the file.
func (f *File) Close() error {
	clear(f.raw)
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// Names lists the tensors in the state dict's order.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Tensor reads a tensor. Tensors that share memory in PyTorch share it here:
// don't write into them.
func (f *File) Tensor(name string) (*onnx.Tensor, error) {
	t := f.tensors[name]
	if t == nil {
		return nil, &Error{Path: f.Path, Tensor: name, Problem: fmt.Sprintf("the file has no such tensor among its %d", len(f.names))}
	}
	raw, ok := f.raw[t.storage]
	if !ok {
		raw = make([]byte, t.storage.size)
		if _, err := t.storage.file.ReadAt(raw, t.storage.at); err != nil && !errors.Is(err, io.EOF) {
			return nil, &Error{Path: f.Path, Tensor: name, Problem: "its data can't be read", Err: err}
		}
		f.raw[t.storage] = raw
	}
	return t.gather(raw, f.big), nil
}

// unpickle reads one pickle.
func (f *File) unpickle(r *pickle.Reader) (*pickle.Pickle, error) {
	p, err := pickle.Decode(r)
	if err == nil {
		return p, nil
	}
	e := &Error{Path: f.Path, Problem: "it can't be read", Err: err}
	if fault := (*pickle.Error)(nil); errors.As(err, &fault) && fault.Global != "" {
		e.Advice = "if you trust the file, let PyTorch save its weights alone: torch.save(model.state_dict(), \"weights.pth\")"
	}
	return nil, e
}

// zip reads torch.save's archive: NAME/data.pkl, whose tensors lie in NAME/data/KEY.
func (f *File) zip(r io.ReaderAt, size int64) error {
	a, err := zipfile.Open(f.Path, r, size)
	if err != nil {
		return err
	}
	folder, err := f.folder(a)
	if err != nil {
		return err
	}
	section, err := a.Section(a.Entry(folder + "data.pkl"))
	if err != nil {
		return err
	}
	if e := a.Entry(folder + "byteorder"); e != nil {
		if e.Size > 16 {
			return &Error{Path: f.Path, Problem: fmt.Sprintf("its byte order is stated by %d bytes", e.Size)}
		}
		order, err := a.Read(e)
		if err != nil {
			return err
		}
		f.big = string(order) == "big"
	}
	p, err := f.unpickle(pickle.NewReader(section, section.Size()))
	if err != nil {
		return err
	}
	storages := map[string]*storage{}
	return f.choose(p.Value, size, func(key string) (*storage, error) {
		if s := storages[key]; s != nil {
			return s, nil
		}
		e := a.Entry(folder + "data/" + key)
		if e == nil {
			return nil, fmt.Errorf("the archive has no %sdata/%s", folder, key)
		}
		section, err := a.Section(e)
		if err != nil {
			return nil, err
		}
		storages[key] = &storage{file: section, size: e.Size}
		return storages[key], nil
	})
}
