package ort

// #include <stdlib.h>
// #include "api.h"
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/relevit/relevit/onnx"
)

// handle is a pointer to an object of the C library.
type handle = unsafe.Pointer

// capi is the table of C functions of the loaded library.
type capi struct{ table unsafe.Pointer }

// openLibrary loads a shared library and returns it with its own version.
func openLibrary(path string) (lib handle, version string, err error) {
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	var cversion, why *C.char
	lib = C.lib_open(cpath, &cversion, &why)
	if lib == nil {
		return nil, "", errors.New(C.GoString(why))
	}
	return lib, C.GoString(cversion), nil
}

func apiOf(lib handle, level int) (capi, bool) {
	table := unsafe.Pointer(C.lib_api(lib, C.uint32_t(level)))
	return capi{table}, table != nil
}

func (a capi) check(s C.status_t) error {
	if s == nil {
		return nil
	}
	text := C.status_text(a.table, s)
	defer C.free(unsafe.Pointer(text))
	return errors.New(strings.TrimSpace(C.GoString(text)))
}

func (a capi) providers() ([]string, error) {
	var names **C.char
	var n C.int
	if err := a.check(C.providers(a.table, &names, &n)); err != nil {
		return nil, err
	}
	defer C.free_providers(a.table, names, n)
	out := make([]string, n)
	for i, p := range unsafe.Slice(names, n) {
		out[i] = C.GoString(p)
	}
	return out, nil
}

func (a capi) cpuMemory() (handle, error) {
	var out unsafe.Pointer
	err := a.check(C.cpu_memory_info(a.table, &out))
	return out, err
}

// memoryInfo describes a device's memory.
func (a capi) memoryInfo(device string, ordinal int) (handle, error) {
	name := C.CString(device)
	defer C.free(unsafe.Pointer(name))
	var out unsafe.Pointer
	err := a.check(C.memory_info(a.table, name, C.int(ordinal), &out))
	return out, err
}

// shareArena makes the arena of every session on the CPU.
func (a capi) shareArena(memInfo handle) error { return a.check(C.share_arena(a.table, memInfo)) }

// newTensor makes a value over memory that isn't Go's, which must outlive it.
func (a capi) newTensor(memInfo handle, at unsafe.Pointer, bytes int64, t onnx.DType, shape []int64) (handle, error) {
	dims := append([]int64{}, shape...)
	dims = append(dims, 0) // so that a scalar has an address to give
	var out unsafe.Pointer
	err := a.check(C.new_tensor(a.table, memInfo, at, C.size_t(bytes),
		(*C.int64_t)(&dims[0]), C.size_t(len(shape)), C.int32_t(t), &out))
	return out, err
}

// content returns a tensor's type, shape and memory, which lives as long as it does.
func (a capi) content(value handle) (data unsafe.Pointer, t onnx.DType, shape []int64, err error) {
	var ctype C.int32_t
	var dims *C.int64_t
	var rank C.size_t
	err = a.check(C.tensor_content(a.table, value, &data, &ctype, &dims, &rank))
	defer C.free(unsafe.Pointer(dims))
	if err != nil {
		return nil, 0, nil, err
	}
	shape = make([]int64, rank)
	for i, d := range unsafe.Slice(dims, rank) {
		shape[i] = int64(d)
	}
	return data, onnx.DType(ctype), shape, nil
}

func (a capi) releaseValue(v handle) { C.release_value(a.table, v) }

func (a capi) newBinding(session handle) (handle, error) {
	var out unsafe.Pointer
	err := a.check(C.new_binding(a.table, session, &out))
	return out, err
}

func (a capi) bindInput(binding handle, name string, value handle) error {
	cname := C.CString(name)
	defer C.free(unsafe.Pointer(cname))
	return a.check(C.bind_input(a.table, binding, cname, value))
}

func (a capi) bindOutput(binding handle, name string, value handle) error {
	cname := C.CString(name)
	defer C.free(unsafe.Pointer(cname))
	return a.check(C.bind_output(a.table, binding, cname, value))
}

// bindOutputAnywhere lets the run allocate the output.
func (a capi) bindOutputAnywhere(binding handle, name string, memInfo handle) error {
	cname := C.CString(name)
	defer C.free(unsafe.Pointer(cname))
	return a.check(C.bind_output_anywhere(a.table, binding, cname, memInfo))
}

func (a capi) run(session, binding handle) error {
	return a.check(C.run_binding(a.table, session, binding))
}

// boundOutputs returns the outputs in the order in which they were bound; the
// caller releases each.
func (a capi) boundOutputs(binding handle) ([]handle, error) {
	var values *unsafe.Pointer
	var n C.size_t
	if err := a.check(C.bound_outputs(a.table, binding, &values, &n)); err != nil {
		return nil, err
	}
	defer C.free_allocated(a.table, unsafe.Pointer(values))
	return append([]handle{}, unsafe.Slice(values, n)...), nil
}

func (a capi) releaseBinding(b handle) { C.release_binding(a.table, b) }

// Kinds of ports.
const (
	portInput    = C.PORT_INPUT
	portOutput   = C.PORT_OUTPUT
	portOptional = C.PORT_OPTIONAL // an input with a default value
)

// ports lists a session's ports of one kind.
func (a capi) ports(session handle, kind int) ([]Port, error) {
	var n C.size_t
	if err := a.check(C.session_count(a.table, session, C.int(kind), &n)); err != nil {
		return nil, err
	}
	var list []Port
	for i := range int(n) {
		p, err := a.port(session, kind, i)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func (a capi) port(session handle, kind, i int) (Port, error) {
	var c C.port_t
	err := a.check(C.session_port(a.table, session, C.int(kind), C.size_t(i), &c))
	defer C.free_port(a.table, &c)
	if err != nil {
		return Port{}, fmt.Errorf("reading the type of graph input or output %d: %w", i, err)
	}
	p := Port{Name: C.GoString(c.name)}
	if !c.is_tensor {
		return p, nil
	}
	p.Type = onnx.DType(c._type)
	if !c.has_shape {
		return p, nil
	}
	p.Shape = onnx.Shape{}
	syms := unsafe.Slice(c.syms, c.rank)
	for i, d := range unsafe.Slice(c.dims, c.rank) {
		switch sym := C.GoString(syms[i]); {
		case d >= 0:
			p.Shape = append(p.Shape, onnx.D(int64(d)))
		case sym != "":
			p.Shape = append(p.Shape, onnx.Dim{N: 1, Sym: sym})
		default:
			p.Shape = append(p.Shape, onnx.Unknown)
		}
	}
	return p, nil
}

func (a capi) endProfile(session handle) (string, error) {
	var path *C.char
	if err := a.check(C.end_profile(a.table, session, &path)); err != nil {
		return "", err
	}
	defer C.free_allocated(a.table, unsafe.Pointer(path))
	return C.GoString(path), nil
}

// allocate returns zeroed C memory on a 64-byte boundary, nil if there is none.
// It always has room for one cache line, so that an empty tensor has an address.
func allocate(bytes int64) []byte {
	p := C.aligned_zeros(C.size_t(max(bytes, 64)))
	if p == nil {
		return nil
	}
	return unsafe.Slice((*byte)(p), bytes)
}

func release(mem []byte) { C.free(unsafe.Pointer(unsafe.SliceData(mem))) }
