package jpeg

import (
	"encoding/binary"
	"fmt"
	"sync"
)

type block [64]int16 // coefficients in natural order

// scratch is the memory that one decoding needs besides its result.
type scratch struct {
	planes [4][]byte
	coefs  [4][]block
	strips [4][]byte // upsampled, for a row of MCUs
	rgb    []byte    // of a strip
}

// grow returns a slice of length n, in s's memory where that is large enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// frame reads the frame header and lays out the components.
func (d *decoder) frame(s []byte) error {
	if d.comps != nil {
		return fmt.Errorf("%w: two frame headers", ErrCorrupt)
	}
	if len(s) < 6 || len(s) != 6+3*int(s[5]) {
		return fmt.Errorf("%w: frame header of %d bytes", ErrCorrupt, len(s))
	}
	if s[0] != 8 {
		return fmt.Errorf("%w: %d bits a sample, only 8 are", ErrUnsupported, s[0])
	}
	n := int(s[5])
	if n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("%w: %d components", ErrUnsupported, n)
	}
	d.height, d.width = int(binary.BigEndian.Uint16(s[1:])), int(binary.BigEndian.Uint16(s[3:]))
	if d.width == 0 || d.height == 0 {
		return fmt.Errorf("%w: size %dx%d in the frame header", ErrUnsupported, d.width, d.height)
	}
	comps := make([]component, n)
	for i := range comps {
		c, b := &comps[i], s[6+3*i:]
		*c = component{id: b[0], h: int(b[1] >> 4), v: int(b[1] & 15), quantIndex: b[2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.quantIndex > 3 {
			return fmt.Errorf("%w: component %d has sampling %dx%d, table %d", ErrCorrupt, i, c.h, c.v, c.quantIndex)
		}
		for j := range i {
			if comps[j].id == c.id {
				return fmt.Errorf("%w: two components with identifier %d", ErrCorrupt, c.id)
			}
		}
		d.hMax, d.vMax = max(d.hMax, c.h), max(d.vMax, c.v)
	}
	for i := range comps {
		if c := &comps[i]; d.hMax%c.h != 0 || d.vMax%c.v != 0 {
			return fmt.Errorf("%w: fractional sampling, component %d is %dx%d of %dx%d", ErrUnsupported, i, c.h, c.v, d.hMax, d.vMax)
		}
	}
	d.mcusX, d.mcusY = ceilDiv(d.width, 8*d.hMax), ceilDiv(d.height, 8*d.vMax)
	for i := range comps {
		c := &comps[i]
		c.width, c.height = ceilDiv(d.width*c.h, d.hMax), ceilDiv(d.height*c.v, d.vMax)
		c.blocksX, c.blocksY = ceilDiv(c.width, 8), ceilDiv(c.height, 8)
		c.stride, c.rows = 8*d.mcusX*c.h, 8*d.mcusY*c.v
	}
	d.comps = comps
	return nil
}

// allocate makes room for planes and coefficients: those of a sequential file
// wait for one row of MCUs, those of a progressive one for the last scan.
// A block costs at least one bit of the file, which bounds what a header
// without data behind it can make us allocate. A check needs no planes.
func (d *decoder) allocate() error {
	size := int64(len(d.data))
	if d.window != nil {
		size = d.window.size
		if d.progressive { // which Check took it not to be
			return fmt.Errorf("%w: it has no end marker", ErrTruncated)
		}
	}
	blocks := 0
	for i := range d.comps {
		blocks += d.comps[i].blocksX * d.comps[i].blocksY
	}
	if int64(blocks) > 8*size {
		return fmt.Errorf("%w: %d bytes cannot hold %dx%d pixels", ErrTruncated, size, d.width, d.height)
	}
	for i := range d.comps {
		c := &d.comps[i]
		rows := c.v
		if d.progressive {
			rows = c.rows / 8
		}
		d.scratch.coefs[i] = grow(d.scratch.coefs[i], rows*c.stride/8)
		c.coefs = d.scratch.coefs[i]
		clear(c.coefs)
		if d.window == nil {
			d.scratch.planes[i] = grow(d.scratch.planes[i], c.stride*c.rows)
			c.plane = d.scratch.planes[i]
		}
	}
	return nil
}

// reconstruct turns coefficients, rows of blocks from c.coefs' start on, into the
// samples of rows from..to. A check has none.
func (d *decoder) reconstruct(c *component, from, to int) {
	if d.window != nil {
		return
	}
	across := c.stride / 8
	for by := from; by < to; by++ {
		blocks := c.coefs[(by-from)*across:][:c.blocksX]
		idct(blocks, c.quant, c.plane[8*by*c.stride:], c.stride)
	}
}
