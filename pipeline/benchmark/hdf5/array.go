package hdf5

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
)

// Array is an array in a file, of bytes or of references to other arrays.
type Array struct {
	Dims       []int
	References bool // of 8 bytes; otherwise whole numbers of 1

	file    *File
	address uint64
	size    int // bytes of an element
	layout  []byte
	filters []uint16
}

// At returns the array that a reference leads to.
func (f *File) At(reference uint64) (*Array, error) {
	if reference == 0 || reference == undefined {
		return nil, f.wrong(-1, "a reference to nothing, expected one to an array", "")
	}
	list, err := f.header(reference)
	if err != nil {
		return nil, err
	}
	a := &Array{file: f, address: reference, layout: find(list, layout)}
	if err := a.dims(find(list, dataspace)); err != nil {
		return nil, err
	}
	if err := a.element(find(list, datatype)); err != nil {
		return nil, err
	}
	return a, a.pipeline(find(list, pipeline))
}

// dims reads the dataspace.
func (a *Array) dims(b []byte) error {
	head := map[byte]int{1: 8, 2: 4}
	if len(b) < 4 || head[b[0]] == 0 || b[1] == 0 || b[1] > maxRank || len(b) < head[b[0]]+8*int(b[1]) {
		return a.file.at(a.address, "it has no dimensions that make an array of 1 to %d", maxRank)
	}
	total := uint64(1)
	for i := range int(b[1]) {
		n := binary.LittleEndian.Uint64(b[head[b[0]]+8*i:])
		if n > maxArray || total*n > maxArray {
			return a.file.at(a.address, "an array of more than %d elements", maxArray)
		}
		total *= n
		a.Dims = append(a.Dims, int(n))
	}
	return nil
}

// element reads the datatype.
func (a *Array) element(b []byte) error {
	if len(b) < 8 {
		return a.file.at(a.address, "an array without a type")
	}
	class, size := b[0]&0xf, binary.LittleEndian.Uint32(b[4:])
	switch {
	case class == 0 && size == 1:
	case class == 7 && size == 8 && b[1]&0xf == 0:
		a.References = true
	default:
		return a.file.at(a.address, "elements of class %d and %d bytes, expected whole numbers of 1 or references to objects", class, size)
	}
	a.size = int(size)
	if total := a.Len() * a.size; total > maxArray {
		return a.file.at(a.address, "an array of %d bytes, more than %d", total, maxArray)
	}
	return nil
}

// Len is how many elements there are.
func (a *Array) Len() int {
	n := 1
	for _, d := range a.Dims {
		n *= d
	}
	return n
}

// The filters, as registered.
const (
	deflate    = 1
	shuffle    = 2
	fletcher32 = 3
)

// pipeline reads which filters the chunks went through.
func (a *Array) pipeline(b []byte) error {
	if b == nil {
		return nil
	}
	head := map[byte]int{1: 8, 2: 2}
	if len(b) < 2 || head[b[0]] == 0 || b[1] > maxFilters || len(b) < head[b[0]] {
		return a.file.at(a.address, "filters of an unknown form")
	}
	version, rest := b[0], b[head[b[0]]:]
	for range b[1] {
		if len(rest) < 8 {
			return a.file.at(a.address, "a filter that is cut off")
		}
		id := binary.LittleEndian.Uint16(rest)
		skip, values := 8, 0
		if version == 1 {
			values = int(binary.LittleEndian.Uint16(rest[6:]))
			skip += (int(binary.LittleEndian.Uint16(rest[2:])) + 7) / 8 * 8
			skip += 4 * (values + values%2)
		} else { // no name, since the filters that are known have none
			values = int(binary.LittleEndian.Uint16(rest[4:]))
			skip = 6 + 4*values
		}
		if id != deflate && id != shuffle && id != fletcher32 {
			return a.file.at(a.address, "filter %d, expected deflate, shuffle or fletcher32", id)
		}
		if skip > len(rest) {
			return a.file.at(a.address, "a filter that is cut off")
		}
		a.filters, rest = append(a.filters, id), rest[skip:]
	}
	return nil
}

// Bytes reads the elements, the last dimension running fastest.
func (a *Array) Bytes() ([]byte, error) {
	b, f := a.layout, a.file
	if len(b) < 4 || b[0] != 3 {
		return nil, f.at(a.address, "an array laid out in an unknown form, expected version 3")
	}
	total := uint64(a.Len() * a.size)
	switch class := b[1]; {
	case class == 0 && uint64(len(b)-4) >= total: // in the header
		return b[4:][:total], nil
	case class == 1 && len(b) >= 18: // in one piece
		if size := binary.LittleEndian.Uint64(b[10:]); size < total {
			return nil, f.at(a.address, "an array of %d bytes of which %d are stored", total, size)
		}
		return f.bytes(binary.LittleEndian.Uint64(b[2:]), total)
	case class == 2 && int(b[2]) == len(a.Dims)+1 && len(b) >= 11+4*int(b[2]):
		return a.chunks(binary.LittleEndian.Uint64(b[3:]), b[11:])
	}
	return nil, f.at(a.address, "an array laid out in class %d that doesn't fit its dimensions", b[1])
}

// chunks puts the pieces of an array together. shape holds a chunk's dimensions
// and, behind them, an element's size.
func (a *Array) chunks(root uint64, shape []byte) ([]byte, error) {
	f, rank := a.file, len(a.Dims)
	dims, bytesOf, expected := make([]int, rank), a.size, 1
	for i := range dims {
		n := binary.LittleEndian.Uint32(shape[4*i:])
		if n == 0 || n > maxArray || bytesOf*int(n) > maxArray {
			return nil, f.at(a.address, "chunks of no or more than %d bytes", maxArray)
		}
		dims[i] = int(n)
		bytesOf *= dims[i]
		expected *= (a.Dims[i] + dims[i] - 1) / dims[i]
	}
	t := &tree{file: f, keySize: uint64(8 + 8*(rank+1))}
	if err := t.walk(root, chunkTree); err != nil {
		return nil, err
	}
	if len(t.leaves) != expected {
		return nil, f.at(a.address, "%d chunks, expected %d", len(t.leaves), expected)
	}
	// A whole chunk is decoded for what may be a corner of the array, and so
	// what is stored limits what may be claimed.
	stored := 0
	for _, l := range t.leaves {
		stored += int(binary.LittleEndian.Uint32(l.key))
	}
	if expected*bytesOf/maxGrowth > stored || int64(stored) > f.size {
		return nil, f.at(a.address, "%d bytes in chunks that store %d, in a file of %d", expected*bytesOf, stored, f.size)
	}
	out := make([]byte, a.Len()*a.size)
	seen := make(map[int]bool, expected)
	for _, l := range t.leaves {
		origin, place := make([]int, rank), 0
		for i := range origin {
			o := binary.LittleEndian.Uint64(l.key[8+8*i:])
			if o >= uint64(a.Dims[i]) || int(o)%dims[i] != 0 {
				return nil, f.at(a.address, "a chunk at %d along axis %d of %d", o, i, a.Dims[i])
			}
			origin[i] = int(o)
			place = place*a.Dims[i] + origin[i]
		}
		if seen[place] {
			return nil, f.at(a.address, "two chunks at %v", origin)
		}
		seen[place] = true
		data, err := a.decode(l, bytesOf)
		if err != nil {
			return nil, err
		}
		a.place(out, data, origin, dims)
	}
	return out, nil
}

// decode reads a chunk and takes its filters off, the last one first.
func (a *Array) decode(l leaf, size int) ([]byte, error) {
	data, err := a.file.bytes(l.child, uint64(binary.LittleEndian.Uint32(l.key)))
	if err != nil {
		return nil, err
	}
	skipped := binary.LittleEndian.Uint32(l.key[4:])
	for i := len(a.filters) - 1; i >= 0; i-- {
		if skipped>>i&1 == 1 {
			continue
		}
		switch a.filters[i] {
		case deflate:
			z, err := zlib.NewReader(bytes.NewReader(data))
			if err == nil {
				data, err = io.ReadAll(io.LimitReader(z, int64(size)+4)) // and a checksum
			}
			if err != nil {
				return nil, a.file.at(l.child, "a deflated chunk: %v", err)
			}
		case shuffle:
			data = unshuffle(data, a.size)
		case fletcher32:
			data = data[:max(len(data)-4, 0)]
		}
	}
	if len(data) < size {
		return nil, a.file.at(l.child, "a chunk of %d bytes, expected %d", len(data), size)
	}
	return data[:size], nil
}

// unshuffle brings the bytes of each element together, of which all first ones
// lie before all second ones.
func unshuffle(data []byte, size int) []byte {
	n := len(data) / size
	out := make([]byte, len(data))
	copy(out[n*size:], data[n*size:])
	for i := range n {
		for j := range size {
			out[i*size+j] = data[j*n+i]
		}
	}
	return out
}

// place copies a chunk to where it belongs, without what hangs over the edge.
func (a *Array) place(out, chunk []byte, origin, dims []int) {
	last := len(dims) - 1
	width := min(dims[last], a.Dims[last]-origin[last]) * a.size
	index := make([]int, len(dims)) // in the chunk
	for {
		from, to := 0, 0
		for i := range dims {
			from = from*dims[i] + index[i]
			to = to*a.Dims[i] + origin[i] + index[i]
		}
		copy(out[to*a.size:][:width], chunk[from*a.size:])
		i := last - 1
		for ; i >= 0; i-- {
			if index[i]++; index[i] < dims[i] && origin[i]+index[i] < a.Dims[i] {
				break
			}
			index[i] = 0
		}
		if i < 0 {
			return
		}
	}
}

// Refs reads an array of references.
func (a *Array) Refs() ([]uint64, error) {
	if !a.References {
		return nil, a.file.at(a.address, "numbers, expected references to arrays")
	}
	b, err := a.Bytes()
	if err != nil {
		return nil, err
	}
	out := make([]uint64, a.Len())
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return out, nil
}
