// Package hdf5 reads arrays from HDF5 files as MATLAB writes them since version
// 7.3 (The HDF Group: HDF5 File Format Specification, version 3.0): superblock 0,
// groups as symbol tables, object headers of version 1, arrays in one piece, in
// the header, or in chunks under a B-tree of version 1, deflated or not. Newer
// forms, which MATLAB doesn't write by itself, are refused by name.
package hdf5

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// Limits on what a file may ask for.
const (
	maxHeader  = 1 << 20 // bytes of an object's header, its continuations included
	maxPieces  = 64      // of a header
	maxNodes   = 1 << 16 // of a B-tree
	maxLinks   = 1 << 16 // of a group
	maxRank    = 8
	maxArray   = 1 << 28 // bytes of an array
	maxChunks  = 1 << 20 // of an array
	maxGrowth  = 1032    // of which deflate is capable
	maxFilters = 8
)

const undefined = ^uint64(0) // address of what isn't there

// File is an HDF5 file that is read in pieces. It may be used by several
// goroutines at once.
type File struct {
	path string
	from io.ReaderAt
	size int64
	base int64 // of all addresses: how long MATLAB's own header is
	root uint64
	file *os.File
}

// Open opens a file and reads its superblock. What is wrong with a file is an
// onnx.FormatError, here and in all methods.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &onnx.FormatError{File: path, Offset: -1, Problem: "it is no file"}
	}
	var h *File
	if err == nil {
		h, err = read(path, f, info.Size())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	h.file = f
	return h, nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

const signature = "\x89HDF\r\n\x1a\n"

// read finds the superblock: at the start, or behind a block of the writer's.
func read(path string, from io.ReaderAt, size int64) (*File, error) {
	f := &File{path: path, from: from, size: size}
	for at := int64(0); at+96 <= size; at = max(512, 2*at) {
		b, err := f.bytes(uint64(at), 96)
		if err != nil {
			return nil, err
		}
		if string(b[:8]) == signature {
			return f, f.superblock(at, b)
		}
	}
	return nil, f.wrong(-1, "it is no HDF5 file: its signature isn't there", "MATLAB writes HDF5 by save -v7.3")
}

func (f *File) superblock(at int64, b []byte) error {
	switch {
	case b[8] != 0:
		return f.wrong(at, fmt.Sprintf("superblock of version %d, expected 0", b[8]), "write the file by MATLAB, or by h5py with libver earliest")
	case b[13] != 8 || b[14] != 8:
		return f.wrong(at, fmt.Sprintf("addresses of %d and lengths of %d bytes, expected 8", b[13], b[14]), "")
	}
	base := binary.LittleEndian.Uint64(b[24:])
	if base != uint64(at) {
		return f.wrong(at, fmt.Sprintf("base address %d, expected %d, where the superblock is", base, at), "")
	}
	f.base, f.root = at, binary.LittleEndian.Uint64(b[64:])
	return nil
}

// wrong is an error at an offset from the file's start, -1 for none.
func (f *File) wrong(at int64, problem, hint string) error {
	return &onnx.FormatError{File: f.path, Offset: at, Problem: problem, Hint: hint}
}

// at is an error at an address.
func (f *File) at(address uint64, format string, args ...any) error {
	return f.wrong(f.base+int64(address), fmt.Sprintf(format, args...), "")
}

// bytes reads n bytes at an address.
func (f *File) bytes(address, n uint64) ([]byte, error) {
	room := uint64(f.size - f.base)
	if address > room || n > room-address {
		return nil, f.wrong(-1, fmt.Sprintf("%d bytes at address %d exceed the file's %d", n, address, room), "it may have been cut off: copy it again")
	}
	b := make([]byte, n)
	if _, err := f.from.ReadAt(b, f.base+int64(address)); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// message is a piece of an object's header.
type message struct {
	kind uint16
	data []byte
}

// The kinds of message that say what an array is.
const (
	dataspace    = 0x01
	datatype     = 0x03
	layout       = 0x08
	pipeline     = 0x0b
	continuation = 0x10
	symbolTable  = 0x11
)

// sharedMessage flags a message that only points to another.
const sharedMessage = 2

// header reads an object's messages.
func (f *File) header(address uint64) ([]message, error) {
	b, err := f.bytes(address, 16)
	if err != nil {
		return nil, err
	}
	if b[0] != 1 {
		return nil, f.at(address, "object header of version %d, expected 1", b[0])
	}
	type piece struct{ address, size uint64 }
	pieces := []piece{{address + 16, uint64(binary.LittleEndian.Uint32(b[8:]))}}
	var list []message
	total := uint64(0)
	for i := 0; i < len(pieces); i++ {
		if total += pieces[i].size; pieces[i].size > maxHeader || total > maxHeader || len(pieces) > maxPieces {
			return nil, f.at(address, "object header of more than %d bytes or %d pieces", maxHeader, maxPieces)
		}
		b, err := f.bytes(pieces[i].address, pieces[i].size)
		if err != nil {
			return nil, err
		}
		for len(b) >= 8 {
			m := message{kind: binary.LittleEndian.Uint16(b)}
			size := int(binary.LittleEndian.Uint16(b[2:]))
			if size > len(b)-8 {
				return nil, f.at(address, "a message of %d bytes, where %d are left", size, len(b)-8)
			}
			if b[4]&sharedMessage != 0 && (m.kind == dataspace || m.kind == datatype || m.kind == pipeline) {
				return nil, f.at(address, "message %d is stored elsewhere, which this reader doesn't follow", m.kind)
			}
			m.data, b = b[8:8+size], b[8+size:]
			if m.kind == continuation && size >= 16 {
				pieces = append(pieces, piece{binary.LittleEndian.Uint64(m.data), binary.LittleEndian.Uint64(m.data[8:])})
				continue
			}
			list = append(list, m)
		}
	}
	return list, nil
}

// find returns the data of the message of a kind, nil if there is none.
func find(list []message, kind uint16) []byte {
	i := slices.IndexFunc(list, func(m message) bool { return m.kind == kind })
	if i < 0 {
		return nil
	}
	return list[i].data
}

// Array returns the array at a path, as in /value/img.
func (f *File) Array(path string) (*Array, error) {
	address := f.root
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		var err error
		if address, err = f.link(address, name, path); err != nil {
			return nil, err
		}
	}
	return f.At(address)
}

// link finds an object in a group.
func (f *File) link(group uint64, name, path string) (uint64, error) {
	list, err := f.header(group)
	if err != nil {
		return 0, err
	}
	table := find(list, symbolTable)
	if len(table) < 16 {
		return 0, f.wrong(-1, fmt.Sprintf("there is no %s: what should hold %s is no group of symbols", path, name), "")
	}
	names, err := f.heap(binary.LittleEndian.Uint64(table[8:]))
	if err != nil {
		return 0, err
	}
	t := &tree{file: f, keySize: 8}
	if err := t.walk(binary.LittleEndian.Uint64(table), groupTree); err != nil {
		return 0, err
	}
	links := 0
	for _, leaf := range t.leaves {
		b, err := f.bytes(leaf.child, 8)
		if err != nil {
			return 0, err
		}
		count := uint64(binary.LittleEndian.Uint16(b[6:]))
		if links += int(count); string(b[:4]) != "SNOD" || links > maxLinks {
			return 0, f.at(leaf.child, "it is no node of symbols, or the group has more than %d", maxLinks)
		}
		if b, err = f.bytes(leaf.child+8, 40*count); err != nil {
			return 0, err
		}
		for ; len(b) > 0; b = b[40:] {
			at := binary.LittleEndian.Uint64(b)
			if at >= uint64(len(names)) {
				return 0, f.at(leaf.child, "a name at %d, where there are %d bytes of names", at, len(names))
			}
			if found, _, _ := strings.Cut(string(names[at:min(at+uint64(len(name))+1, uint64(len(names)))]), "\x00"); found == name {
				return binary.LittleEndian.Uint64(b[8:]), nil
			}
		}
	}
	return 0, f.wrong(-1, fmt.Sprintf("there is no %s in it", path), "")
}

// heap reads the names of a group.
func (f *File) heap(address uint64) ([]byte, error) {
	b, err := f.bytes(address, 32)
	if err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint64(b[8:])
	if string(b[:4]) != "HEAP" || size > maxHeader {
		return nil, f.at(address, "it is no heap of names, or one of more than %d bytes", maxHeader)
	}
	return f.bytes(binary.LittleEndian.Uint64(b[24:]), size)
}

// The kinds of B-tree.
const (
	groupTree = 0
	chunkTree = 1
)

// tree collects the leaves of a B-tree of version 1.
type tree struct {
	file    *File
	keySize uint64
	leaves  []leaf
	nodes   int
}

// leaf is an entry of the lowest level.
type leaf struct {
	key   []byte
	child uint64
}

func (t *tree) walk(address uint64, kind byte) error {
	b, err := t.file.bytes(address, 24)
	if err != nil {
		return err
	}
	return t.node(address, kind, int(b[5]))
}

// node reads a node, which must be of the level below its parent's, so that the
// way down ends.
func (t *tree) node(address uint64, kind byte, level int) error {
	b, err := t.file.bytes(address, 24)
	if err != nil {
		return err
	}
	if t.nodes++; t.nodes > maxNodes {
		return t.file.at(address, "a B-tree of more than %d nodes", maxNodes)
	}
	if string(b[:4]) != "TREE" || b[4] != kind || int(b[5]) != level {
		return t.file.at(address, "it is no node of a B-tree of kind %d, level %d", kind, level)
	}
	count := uint64(binary.LittleEndian.Uint16(b[6:]))
	step := t.keySize + 8
	if b, err = t.file.bytes(address+24, count*step); err != nil {
		return err
	}
	for ; len(b) > 0; b = b[step:] {
		child := binary.LittleEndian.Uint64(b[t.keySize:])
		if level > 0 {
			if err := t.node(child, kind, level-1); err != nil {
				return err
			}
			continue
		}
		if t.leaves = append(t.leaves, leaf{b[:t.keySize:t.keySize], child}); len(t.leaves) > maxChunks {
			return t.file.at(address, "a B-tree of more than %d entries", maxChunks)
		}
	}
	return nil
}
