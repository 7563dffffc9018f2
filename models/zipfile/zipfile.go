// Package zipfile reads zip archives of tensors from hostile hands.
//
// Unlike archive/zip it takes the whole directory in one piece of limited
// size, holds every entry to its place (inside the file, before the directory,
// overlapping no other), refuses names that appear twice, and refuses archives
// that would grow beyond measure when they are unpacked.
package zipfile

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// Limits of what archives of tensors need.
const (
	maxDirectory = 16 << 20
	maxEntries   = 100_000
	maxGrowth    = 16       // unpacked bytes for each byte of the file
	freeGrowth   = 16 << 20 // unpacked bytes that need no justification
)

// Entry is a file in an archive.
type Entry struct {
	Name   string
	Stored bool // as it is, not deflated
	Size   int64

	packed       int64
	crc          uint32
	header, data int64 // where the local header and the content begin
	checked      bool  // the checksum is right
}

// Archive is an opened archive.
type Archive struct {
	Path    string
	Entries []*Entry // in the directory's order

	file    io.ReaderAt
	size    int64
	byName  map[string]*Entry
	inflate io.ReadCloser // for Head, nil before its first use
}

// Error is a fault in an archive.
type Error struct {
	Path    string
	Entry   string // empty where the fault is no entry's
	Problem string
	Err     error // the cause, or nil
}

func (e *Error) Error() string {
	s := e.Path
	if e.Entry != "" {
		s += fmt.Sprintf(": entry %q", e.Entry)
	}
	s += ": " + e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ExitCode is that of a bad input file.
func (e *Error) ExitCode() int { return 3 }

func (a *Archive) fail(entry, format string, args ...any) error {
	if len(entry) > 100 {
		entry = entry[:100] + "..."
	}
	return &Error{Path: a.Path, Entry: entry, Problem: fmt.Sprintf(format, args...)}
}

// Open reads the directory of an archive of size bytes. The path only serves
// messages. Faults are of type *Error.
func Open(path string, file io.ReaderAt, size int64) (*Archive, error) {
	a := &Archive{Path: path, file: file, size: size, byName: map[string]*Entry{}}
	at, length, err := a.end()
	if err != nil {
		return nil, err
	}
	if length > maxDirectory {
		return nil, a.fail("", "the archive's directory has %d bytes; at most %d are read", length, maxDirectory)
	}
	directory, err := a.bytes(at, length)
	if err != nil {
		return nil, err
	}
	if err := a.directory(directory); err != nil {
		return nil, err
	}
	return a, a.place(at)
}

// Entry returns the entry of that name, nil if there is none.
func (a *Archive) Entry(name string) *Entry { return a.byName[name] }

// Section is a stored entry's content.
func (a *Archive) Section(e *Entry) (*io.SectionReader, error) {
	if !e.Stored {
		return nil, a.fail(e.Name, "it is compressed, and it must be stored as it is: pack the archive again without compression")
	}
	return io.NewSectionReader(a.file, e.data, e.Size), nil
}

// Head unpacks the first n bytes of an entry, or as many as it has.
func (a *Archive) Head(e *Entry, n int64) ([]byte, error) {
	r := io.Reader(io.NewSectionReader(a.file, e.data, e.packed))
	if !e.Stored {
		if a.inflate == nil {
			a.inflate = flate.NewReader(r)
		} else if err := a.inflate.(flate.Resetter).Reset(r, nil); err != nil {
			return nil, err
		}
		r = a.inflate
	}
	out := make([]byte, min(n, e.Size))
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, a.packed(e, err)
	}
	return out, nil
}

func (a *Archive) packed(e *Entry, err error) error {
	return &Error{Path: a.Path, Entry: e.Name, Problem: "it can't be unpacked", Err: err}
}

// Check checks a stored entry's checksum without taking memory for it. That of
// a deflated one is left to Read.
func (a *Archive) Check(e *Entry) error {
	if !e.Stored {
		return nil
	}
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, io.NewSectionReader(a.file, e.data, e.packed)); err != nil {
		return a.packed(e, err)
	}
	return a.compare(e, sum.Sum32())
}

func (a *Archive) compare(e *Entry, sum uint32) error {
	if e.checked = sum == e.crc; !e.checked {
		return a.fail(e.Name, "its checksum is wrong: the file is damaged")
	}
	return nil
}

// Read unpacks an entry and checks its checksum.
func (a *Archive) Read(e *Entry) ([]byte, error) {
	out := make([]byte, e.Size)
	r := io.Reader(io.NewSectionReader(a.file, e.data, e.packed))
	if !e.Stored {
		r = flate.NewReader(r)
	}
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, a.packed(e, err)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(r, 1)); n != 0 || err != nil {
		return nil, &Error{Path: a.Path, Entry: e.Name, Problem: fmt.Sprintf("it is longer than the %d bytes that the directory states", e.Size), Err: err}
	}
	if e.checked {
		return out, nil
	}
	return out, a.compare(e, crc32.ChecksumIEEE(out))
}

func (a *Archive) bytes(at, n int64) ([]byte, error) {
	if at < 0 || n < 0 || at > a.size || n > a.size-at {
		return nil, a.fail("", "the archive speaks of bytes beyond its end (an incomplete download?)")
	}
	out := make([]byte, n)
	if _, err := a.file.ReadAt(out, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, &Error{Path: a.Path, Problem: "reading the archive", Err: err}
	}
	return out, nil
}

// Signatures and fixed lengths of the format's records.
const (
	endSignature, endLength             = "PK\x05\x06", 22
	locatorSignature, locatorLength     = "PK\x06\x07", 20
	end64Signature, end64Length         = "PK\x06\x06", 56
	directorySignature, directoryLength = "PK\x01\x02", 46
	localSignature, localLength         = "PK\x03\x04", 30
)

var le = binary.LittleEndian

// end finds the directory by the record at the file's end.
func (a *Archive) end() (at, length int64, err error) {
	tail, err := a.bytes(max(0, a.size-endLength-1<<16), min(a.size, endLength+1<<16))
	if err != nil {
		return 0, 0, err
	}
	i := bytes.LastIndex(tail, []byte(endSignature))
	if i < 0 || len(tail)-i < endLength {
		return 0, 0, a.fail("", "the archive has no directory at its end (an incomplete download?)")
	}
	end := tail[i:]
	at, length = int64(le.Uint32(end[16:])), int64(le.Uint32(end[12:]))
	records := int64(le.Uint16(end[10:]))
	if at == 0xffffffff || length == 0xffffffff || records == 0xffff {
		if at, length, err = a.end64(a.size - int64(len(end)) - locatorLength); err != nil {
			return 0, 0, err
		}
	}
	if at < 0 || length < 0 || at > a.size || length > a.size-at {
		return 0, 0, a.fail("", "the archive's directory lies beyond the file's end")
	}
	return at, length, nil
}

func (a *Archive) end64(locator int64) (at, length int64, err error) {
	raw, err := a.bytes(locator, locatorLength)
	if err != nil {
		return 0, 0, err
	}
	if string(raw[:4]) != locatorSignature {
		return 0, 0, a.fail("", "the archive lacks the large form of its directory's place")
	}
	if raw, err = a.bytes(int64(le.Uint64(raw[8:])), end64Length); err != nil {
		return 0, 0, err
	}
	if string(raw[:4]) != end64Signature {
		return 0, 0, a.fail("", "the large form of the directory's place is broken")
	}
	return int64(le.Uint64(raw[48:])), int64(le.Uint64(raw[40:])), nil
}

// directory reads all entries' descriptions.
func (a *Archive) directory(raw []byte) error {
	total := int64(0)
	for len(raw) > 0 {
		if len(a.Entries) == maxEntries {
			return a.fail("", "the archive has more than %d entries", maxEntries)
		}
		if len(raw) < directoryLength || string(raw[:4]) != directorySignature {
			return a.fail("", "the archive's directory is broken at entry %d", len(a.Entries))
		}
		n, extra, comment := int(le.Uint16(raw[28:])), int(le.Uint16(raw[30:])), int(le.Uint16(raw[32:]))
		if len(raw) < directoryLength+n+extra+comment {
			return a.fail("", "the archive's directory is broken at entry %d", len(a.Entries))
		}
		e := &Entry{Name: string(raw[directoryLength : directoryLength+n]), crc: le.Uint32(raw[16:]),
			packed: int64(le.Uint32(raw[20:])), Size: int64(le.Uint32(raw[24:])), header: int64(le.Uint32(raw[42:]))}
		if err := a.describe(e, raw, raw[directoryLength+n:directoryLength+n+extra]); err != nil {
			return err
		}
		if total += e.Size; total > maxGrowth*a.size+freeGrowth {
			return a.fail(e.Name, "the archive of %d bytes would unpack to more than %d: a zip bomb?", a.size, maxGrowth*a.size+freeGrowth)
		}
		a.Entries = append(a.Entries, e)
		a.byName[e.Name] = e
		raw = raw[directoryLength+n+extra+comment:]
	}
	return nil
}

// describe reads what an entry's fixed fields leave open, and checks it.
func (a *Archive) describe(e *Entry, fixed, extra []byte) error {
	for len(extra) >= 4 {
		n := int(le.Uint16(extra[2:]))
		if len(extra) < 4+n {
			return a.fail(e.Name, "its extra fields are broken")
		}
		if le.Uint16(extra) == 1 {
			wide := extra[4 : 4+n]
			for _, v := range []*int64{&e.Size, &e.packed, &e.header} {
				if *v == 0xffffffff && len(wide) >= 8 {
					*v = int64(le.Uint64(wide))
					wide = wide[8:]
				}
			}
		}
		extra = extra[4+n:]
	}
	method := le.Uint16(fixed[10:])
	e.Stored = method == 0
	switch {
	case a.byName[e.Name] != nil:
		return a.fail(e.Name, "two entries have this name")
	case le.Uint16(fixed[8:])&1 != 0:
		return a.fail(e.Name, "it is encrypted")
	case method != 0 && method != 8:
		return a.fail(e.Name, "it is compressed by method %d; only deflate is known", method)
	case e.Size < 0 || e.packed < 0 || e.header < 0 || e.packed > a.size || e.header > a.size:
		return a.fail(e.Name, "it lies beyond the file's end (an incomplete download?)")
	case e.Stored && e.Size != e.packed:
		return a.fail(e.Name, "it is stored as it is, yet of %d bytes and %d", e.Size, e.packed)
	case e.Size > 1032*e.packed:
		return a.fail(e.Name, "%d bytes can't unpack to %d", e.packed, e.Size)
	}
	return nil
}

// place finds the entries' contents by their local headers. None may overlap
// another or the directory.
func (a *Archive) place(directory int64) error {
	order := slices.Clone(a.Entries)
	slices.SortStableFunc(order, func(x, y *Entry) int { return cmp.Compare(x.header, y.header) })
	end := int64(0)
	for _, e := range order {
		raw, err := a.bytes(e.header, localLength)
		if err != nil {
			return err
		}
		if string(raw[:4]) != localSignature {
			return a.fail(e.Name, "its header is broken")
		}
		n, extra := int64(le.Uint16(raw[26:])), int64(le.Uint16(raw[28:]))
		name, err := a.bytes(e.header+localLength, n)
		if err != nil {
			return err
		}
		e.data = e.header + localLength + n + extra
		switch {
		case string(name) != e.Name:
			return a.fail(e.Name, "its header has another name than the directory")
		case e.header < end:
			return a.fail(e.Name, "it overlaps another entry")
		case e.data > directory || e.packed > directory-e.data:
			return a.fail(e.Name, "it overlaps the archive's directory")
		}
		end = e.data + e.packed
	}
	return nil
}
