package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protowire"
)

// Document is an ONNX file as it lies on disk: a tree of its fields, which
// serialises to the very same bytes, unknown fields and odd encodings included.
// Edits replace single values and leave everything else alone.
type Document struct {
	path string // "" if it came from memory
	dir  string // where its external data is, "" if nowhere
	root *message

	sketch bool           // decoding goes without large and external data
	absent map[int64]hole // where such data lie that weren't read, see parser

	loaded  map[string]*dataFile // external files read so far
	used    map[string][]extent  // where tensors lie in them, once one is read
	patches map[*message]*patch  // external tensors given new data
	created string               // the data file that Externalize lays out
}

// ReadDocument reads a file. External data is not read before Model needs it.
// What isn't an ONNX file gives a *FormatError.
func ReadDocument(path string) (*Document, error) {
	s, err := open(path)
	if err != nil {
		return nil, err
	}
	defer s.file.Close()
	if !s.complete() {
		if _, err := s.parse(); err != nil {
			return nil, err
		}
	}
	data, err := s.whole()
	if err != nil {
		return nil, err
	}
	return parseDocument(data, path, filepath.Dir(path), fileLimits)
}

// parse parses what has been read of a file.
func (s *skeleton) parse() (*Document, error) {
	path := s.file.Name()
	p := &parser{sparse: s, size: s.size, limits: fileLimits, absent: map[int64]hole{}}
	d, err := p.document(path, filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if s.broken { // which the parser would have found too
		return nil, &FormatError{File: path, Offset: int64(s.pos), Problem: "it is no protobuf from here on", Hint: "is the download incomplete?"}
	}
	d.absent = p.absent
	return d, nil
}

// open opens a file and reads its skeleton.
func open(path string) (s *skeleton, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	switch {
	case info.IsDir():
		return nil, &FormatError{File: path, Offset: -1, Problem: "it is a folder, expected an ONNX file"}
	case !info.Mode().IsRegular(): // a device may have no end
		return nil, &FormatError{File: path, Offset: -1, Problem: "it is no file, expected an ONNX file"}
	case info.Size() > fileLimits.bytes:
		return nil, tooBig(path, info.Size(), fileLimits)
	}
	if err := skim(f, info.Size()); err != nil {
		err.File = path
		return nil, err
	}
	return readSkeleton(f, info.Size(), smallestHole)
}

// skim looks for the end of what a large file says it holds, so that one that is
// cut off isn't read first.
func skim(r io.ReaderAt, size int64) *FormatError {
	const (
		large = 16 << 20
		most  = 1000 // outermost fields
		head  = 2 * binary.MaxVarintLen64
	)
	if size < large {
		return nil
	}
	buf := make([]byte, head)
	for pos, i := int64(0), 0; pos < size && i < most; i++ {
		n, _ := r.ReadAt(buf, pos)
		num, wire, tag := protowire.ConsumeTag(buf[:n])
		if tag < 0 {
			return nil // which the parser explains
		}
		if wire != protowire.BytesType {
			value := protowire.ConsumeFieldValue(num, wire, buf[tag:n])
			if value < 0 {
				return nil
			}
			pos += int64(tag + value)
			continue
		}
		length, varint := protowire.ConsumeVarint(buf[tag:n])
		if varint < 0 {
			return nil
		}
		pos += int64(tag + varint)
		if length > uint64(size-pos) {
			return &FormatError{Offset: pos, Where: schema["ModelProto"][num].name, Problem: fmt.Sprintf(
				"the file is truncated: the field says %d bytes, %d are left", length, size-pos), Hint: "is the download incomplete?"}
		}
		pos += int64(length)
	}
	return nil
}

func tooBig(path string, size int64, l limits) *FormatError {
	return &FormatError{File: path, Offset: -1,
		Problem: fmt.Sprintf("the file has %d bytes, protobuf ends at %d", size, l.bytes),
		Hint:    "bigger models keep their weights in an external data file"}
}

// ParseDocument parses a file's bytes, which it keeps: don't change them. dir
// is the folder of external data, "" if there is none.
func ParseDocument(data []byte, dir string) (*Document, error) {
	return parseDocument(data, "", dir, fileLimits)
}

func parseDocument(data []byte, path, dir string, l limits) (*Document, error) {
	if int64(len(data)) > l.bytes {
		return nil, tooBig(path, int64(len(data)), l)
	}
	return newParser(data, l).document(path, dir)
}

func (p *parser) document(path, dir string) (*Document, error) {
	root, err := p.message("ModelProto", 0, uint64(p.size), p.size, 1)
	if err != nil {
		err.File = path
		hintFor(err, p.from(0, p.size))
		return nil, err
	}
	return &Document{path: path, dir: dir, root: root, loaded: map[string]*dataFile{}, patches: map[*message]*patch{}}, nil
}

// Bytes returns the file's bytes: those it was parsed from, with the edits.
func (d *Document) Bytes() []byte {
	var w parts
	d.root.write(&w)
	return w.join()
}

// WriteFile writes the document, and beside it the external data files it
// refers to. The files appear complete or not at all. External data of another
// model is not overwritten.
func (d *Document) WriteFile(path string) error {
	var w parts
	d.root.write(&w)
	var s staging
	defer s.abandon()
	if err := d.stageExternal(&s, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := s.file(path, w.writeTo); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := s.commit(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// ReadModel reads a file and decodes it. The document is what to edit for
// giving the user's own file new values.
func ReadModel(path string) (*Model, *Document, error) {
	s, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	defer s.file.Close()
	if !s.complete() {
		sketch, err := s.parse()
		if err == nil {
			err = sketch.structure()
		}
		if err != nil {
			return nil, nil, err
		}
	}
	data, err := s.whole()
	if err != nil {
		return nil, nil, err
	}
	d, err := parseDocument(data, path, filepath.Dir(path), fileLimits)
	if err != nil {
		return nil, nil, err
	}
	m, err := d.Model()
	if err != nil {
		return nil, nil, err
	}
	return m, d, nil
}

// fail turns err into a *FormatError of this file, if it isn't one.
func (d *Document) fail(err error) error {
	var fe *FormatError
	if !errors.As(err, &fe) {
		fe = &FormatError{Offset: -1, Problem: err.Error()}
	}
	if fe.File == "" {
		fe.File = d.path
	}
	return fe
}
