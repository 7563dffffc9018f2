package ort

// #include <stdlib.h>
// #include <string.h>
import "C"

import (
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/relevit/relevit/onnx"
)

// Place is where buffers live: in the CPU's memory, which Go and ONNX Runtime
// share, or in a GPU's, which takes copies to reach. The zero Place is the CPU's.
type Place struct {
	memory memory
	info   handle
	moved  *[3]atomic.Int64 // bytes, by direction
}

// memory is that of a device.
type memory interface {
	alloc(bytes int64) (unsafe.Pointer, error) // zeros
	free(unsafe.Pointer)
	stage(bytes int64) (unsafe.Pointer, error) // zeros in the CPU's memory, from which copies are quick
	unstage(unsafe.Pointer)
	copy(to, from unsafe.Pointer, bytes int, way direction) error
	info(capi) (handle, error) // as ONNX Runtime describes it
	used() (int64, error)
	String() string
}

// direction is that of a copy.
type direction int

const (
	up     direction = iota // from the CPU's memory to the device's
	down                    // and back
	within                  // the device's
)

// Place finds where the buffers of sessions with these options should live.
func (o Options) Place() (Place, error) {
	api, _, err := current()
	if err != nil {
		return Place{}, err
	}
	p := Place{moved: new([3]atomic.Int64)}
	switch ordinal, cuda, err := o.cuda(); {
	case err != nil:
		return Place{}, err
	case cuda:
		g, err := openGPU(ordinal)
		if err != nil {
			return Place{}, err
		}
		p.memory = g
	case o.Apart:
		p.memory = apart{}
	default:
		return Place{}, nil
	}
	if p.info, err = p.memory.info(api); err != nil {
		return Place{}, fmt.Errorf("describing the memory of %v: %w", p, err)
	}
	return p, nil
}

// Apart reports whether Go can't see buffers here, so that their contents have to
// be copied.
func (p Place) Apart() bool { return p.memory != nil }

func (p Place) String() string {
	if p.memory == nil {
		return "cpu"
	}
	return p.memory.String()
}

// Moved is how many bytes were copied to buffers of this place from the CPU's
// memory, and back.
func (p Place) Moved() (toPlace, back int64) {
	if p.moved == nil {
		return 0, 0
	}
	return p.moved[up].Load(), p.moved[down].Load()
}

// Used is how many bytes of a device's memory are taken, by all processes; 0 for
// the CPU.
func (p Place) Used() (int64, error) {
	if p.memory == nil {
		return 0, nil
	}
	return p.memory.used()
}

// NewBuffer returns a tensor of zeros in the place.
func (p Place) NewBuffer(t onnx.DType, shape ...int64) (*Buffer, error) {
	if p.memory == nil {
		return NewBuffer(t, shape...)
	}
	n, err := byteSize(t, shape)
	if err != nil {
		return nil, fmt.Errorf("making buffer %s: %w", describe(t, shape), err)
	}
	there, err := p.memory.alloc(n)
	if err != nil {
		return nil, p.noRoom(t, shape, n, err)
	}
	b := &Buffer{dtype: t, shape: slices.Clone(shape), place: p, there: there, free: func() { p.memory.free(there) }}
	return b, b.open(p.info, there, n)
}

// NewStage returns a tensor of zeros in the CPU's memory from which copies to the
// place, and back, are quick.
func (p Place) NewStage(t onnx.DType, shape ...int64) (*Buffer, error) {
	if p.memory == nil {
		return NewBuffer(t, shape...)
	}
	_, info, err := current()
	if err != nil {
		return nil, err
	}
	n, err := byteSize(t, shape)
	if err != nil {
		return nil, fmt.Errorf("making buffer %s: %w", describe(t, shape), err)
	}
	here, err := p.memory.stage(n)
	if err != nil {
		return nil, p.noRoom(t, shape, n, err)
	}
	b := &Buffer{dtype: t, shape: slices.Clone(shape), mem: unsafe.Slice((*byte)(here), n), free: func() { p.memory.unstage(here) }}
	return b, b.open(info, here, n)
}

func (p Place) noRoom(t onnx.DType, shape []int64, bytes int64, err error) error {
	return &MemoryError{Doing: fmt.Sprintf("making buffer %s on %v", describe(t, shape), p), Bytes: fmt.Sprint(bytes), Err: err}
}

// copy moves bytes between memory of the place and the CPU's, or within it.
func (p Place) copy(to, from unsafe.Pointer, bytes int, way direction) error {
	if bytes == 0 {
		return nil
	}
	if err := p.memory.copy(to, from, bytes, way); err != nil {
		return fmt.Errorf("copying %d bytes on %v: %w", bytes, p, err)
	}
	p.moved[way].Add(int64(bytes))
	return nil
}

// apart is memory of the CPU that is treated as a device's: what is right with it
// is right on a GPU.
type apart struct{}

func (apart) alloc(bytes int64) (unsafe.Pointer, error) {
	if mem := allocate(bytes); mem != nil {
		return unsafe.Pointer(unsafe.SliceData(mem)), nil
	}
	return nil, fmt.Errorf("no memory for %d bytes", bytes)
}

func (apart) free(p unsafe.Pointer) { C.free(p) }

func (a apart) stage(bytes int64) (unsafe.Pointer, error) { return a.alloc(bytes) }

func (a apart) unstage(p unsafe.Pointer) { a.free(p) }

func (apart) copy(to, from unsafe.Pointer, bytes int, _ direction) error {
	C.memcpy(to, from, C.size_t(bytes))
	return nil
}

func (apart) info(api capi) (handle, error) { return api.cpuMemory() }

func (apart) used() (int64, error) { return 0, nil }

func (apart) String() string { return "cpu, apart" }
