package onnx

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// skeleton is a file without the large values in it, numbers and texts: what
// else is wrong with a model is found before these take memory and time.
type skeleton struct {
	file     *os.File
	in       *bufio.Reader
	size     int
	smallest int    // from how many bytes on a value is left out
	pos      int    // up to where the file has been read or passed over
	data     []byte // what has been read
	pieces   []kept // where that lies in the file, in order
	last     int    // the piece that was asked for last
	at       map[int]hole
	broken   bool // it is no protobuf from pos on, as the parser explains
}

// kept is a part of a file between two holes.
type kept struct{ pos, from, to int } // its place, and data[from:to]

// hole is a part of a file that is left out: a field's content, or what follows
// the first element of a run.
type hole struct {
	start, end int
	count      int // varints in it, -1 where it is no list of them or that isn't asked
}

const (
	// smallestHole is from how many bytes on a value of a file is left out.
	smallestHole = 1 << 10
	// longestPath is how long the texts of external_data may be.
	longestPath = 4 << 10
	// maxKept bounds what remains: the largest Vision Transformers' graphs, with
	// the traces that PyTorch writes beside each node, take a tenth.
	maxKept     = 32 << 20
	usuallyKept = 1 << 20
)

// errShapeless ends the walk through a file that isn't protobuf.
var errShapeless = errors.New("not the fields that the schema expects")

func readSkeleton(f *os.File, size int64, smallest int) (*skeleton, error) {
	in := &recording{Reader: f}
	s := &skeleton{file: f, smallest: smallest, in: bufio.NewReaderSize(in, 1<<14), size: int(size), data: make([]byte, 0, min(size, usuallyKept)), pieces: []kept{{}}, at: map[int]hole{}}
	err := s.message("ModelProto", s.size, 1)
	if errors.Is(err, errShapeless) {
		s.broken = true
		head, _ := s.in.Peek(min(s.in.Size(), s.size-s.pos))
		err = s.read(len(head))
	}
	if in.err != nil { // what could not be read is no fault in what was
		err = in.err
	}
	if e := (*FormatError)(nil); err != nil && !errors.As(err, &e) {
		return nil, fmt.Errorf("read model %s: %w", f.Name(), err)
	}
	return s, err
}

// recording keeps the error of a file that can't be read to its end.
type recording struct {
	io.Reader
	err error
}

func (r *recording) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// message reads the fields of a message up to end.
func (s *skeleton) message(kind string, end, depth int) error {
	if depth > fileLimits.depth {
		return errShapeless
	}
	for s.pos < end {
		head, _ := s.in.Peek(min(2*binary.MaxVarintLen64, end-s.pos)) // shorter at the end
		num, wire, tag := protowire.ConsumeTag(head)
		if tag < 0 {
			return errShapeless
		}
		if wire == protowire.StartGroupType { // no field of ONNX's
			head, _ = s.in.Peek(min(s.in.Size(), end-s.pos))
		}
		value := protowire.ConsumeFieldValue(num, wire, head[tag:])
		length := uint64(0)
		if wire == protowire.BytesType {
			length, value = protowire.ConsumeVarint(head[tag:])
		}
		if value < 0 {
			return errShapeless
		}
		field := string(head[:tag])
		if err := s.read(tag + value); err != nil {
			return err
		}
		var err error
		switch inner := schema[kind][num].msg; {
		case wire != protowire.BytesType:
			err = s.run(kind, num, field, wire, end)
		case inner != "" && length > uint64(end-s.pos): // down to what is cut off
			if err = s.message(inner, end, depth+1); err == nil {
				err = errShapeless
			}
		case inner != "":
			err = s.message(inner, s.pos+int(length), depth+1)
		case length > uint64(end-s.pos):
			err = errShapeless
		case int(length) > s.longest(kind, num):
			err = s.leaveOut(kind, num, int(length))
		default:
			err = s.read(int(length))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// longest is up to how many bytes of a field are read at once: of names all that
// the parser lets pass, and of dims all.
func (s *skeleton) longest(kind string, num protowire.Number) int {
	switch {
	case identifiers[schema[kind][num].name]:
		return int(fileLimits.name)
	case kind == "TensorProto" && num == tensorDims:
		return maxKept
	case kind == "StringStringEntryProto":
		return longestPath
	}
	return s.smallest - 1
}

func (s *skeleton) read(n int) error {
	at := len(s.data)
	if at+n > maxKept {
		return &FormatError{File: s.file.Name(), Offset: int64(s.pos), Problem: fmt.Sprintf("more than %d bytes besides the numbers", maxKept),
			Hint: "a Vision Transformer has far fewer"}
	}
	if at+n > cap(s.data) { // once: steps would leave as much behind, and this takes what is written only
		s.data = append(make([]byte, 0, maxKept), s.data...)
	}
	s.data = s.data[:at+n]
	_, err := io.ReadFull(s.in, s.data[at:])
	s.pos += n
	s.pieces[len(s.pieces)-1].to = at + n
	return err
}

// pass notes that the file was passed over up to a hole's end.
func (s *skeleton) pass(h hole) {
	s.pos = h.end
	s.at[h.start] = h
	s.pieces = append(s.pieces, kept{h.end, len(s.data), len(s.data)})
}

// from is what there is of the file from pos on, up to stop or the next hole.
func (s *skeleton) from(pos, stop int) []byte {
	p := s.pieces[s.last]
	if pos < p.pos || pos > p.pos+p.to-p.from {
		i, exact := slices.BinarySearchFunc(s.pieces, pos, func(p kept, pos int) int { return p.pos - pos })
		if !exact {
			i--
		}
		s.last, p = i, s.pieces[i]
	}
	start := min(p.from+pos-p.pos, p.to)
	return s.data[start:min(start+stop-pos, p.to)]
}

// leaveOut passes over a field's content. Varints are counted, as their number
// can't be told from their length.
func (s *skeleton) leaveOut(kind string, num protowire.Number, n int) error {
	h := hole{start: s.pos, end: s.pos + n, count: -1}
	defer func() { s.pass(h) }()
	if kind == "TensorProto" && (num == tensorInt32s || num == tensorInt64s || num == tensorUint64s) {
		var err error
		h.count, err = countVarints(s.in, n)
		return err
	}
	if n <= s.in.Buffered() {
		return discard(s.in, n)
	}
	_, err := s.file.Seek(int64(h.end), io.SeekStart)
	s.in.Reset(s.file)
	return err
}

// countVarints is the number of varints in n bytes of r, -1 if they are none.
func countVarints(r *bufio.Reader, n int) (count int, err error) {
	const high = 0x8080808080808080
	row := 0 // bytes since the last one that ends a number
	for n > 0 {
		b, err := r.Peek(min(n, max(r.Buffered(), 1)))
		if err != nil {
			return 0, err
		}
		n -= len(b)
		r.Discard(len(b)) // which b outlives up to the next Peek
		for ; len(b) >= 8; b = b[8:] {
			ends := ^binary.LittleEndian.Uint64(b) & high
			if row+bits.TrailingZeros64(ends)/8 >= binary.MaxVarintLen64 {
				return -1, discard(r, n)
			}
			if row += 8; ends != 0 {
				row = bits.LeadingZeros64(ends) / 8
			}
			count += bits.OnesCount64(ends)
		}
		for _, c := range b {
			if row++; c < 0x80 {
				row, count = 0, count+1
			}
		}
	}
	if row > 0 {
		return -1, nil
	}
	return count, nil
}

func discard(r *bufio.Reader, n int) error {
	_, err := r.Discard(n)
	return err
}

// run passes over the scalars that follow under the same tag. Few are read.
func (s *skeleton) run(kind string, num protowire.Number, tag string, wire protowire.Type, end int) error {
	numbers := kind == "TensorProto" && num != tensorDims || kind == "AttributeProto"
	if !numbers || !schema[kind][num].many {
		return nil // message reads them one by one
	}
	h := hole{start: s.pos, end: s.pos}
	for h.end < end {
		s.in.Peek(min(s.smallest+2*binary.MaxVarintLen64, end-h.end)) // so much at least, where there is as much
		b, _ := s.in.Peek(min(s.in.Buffered(), end-h.end))
		if len(b) == 0 {
			break
		}
		n, count := leadingRun(b, tag, wire)
		if h.end == h.start && n < s.smallest {
			return s.read(n)
		}
		if n == 0 {
			break
		}
		h.end, h.count = h.end+n, h.count+count
		if err := discard(s.in, n); err != nil {
			return err
		}
	}
	if h.end > h.start {
		s.pass(h)
	}
	return nil
}

// leadingRun is how many bytes at the start of b are scalars under a tag, and
// how many scalars these are.
func leadingRun(b []byte, tag string, wire protowire.Type) (n, count int) {
	size := 0
	switch wire {
	case protowire.Fixed32Type:
		size = 4
	case protowire.Fixed64Type:
		size = 8
	}
	for len(b)-n >= len(tag)+max(size, 1) && string(b[n:n+len(tag)]) == tag {
		step := size
		if size == 0 {
			if step = 1; b[n+len(tag)] >= 0x80 {
				if _, step = protowire.ConsumeVarint(b[n+len(tag):]); step < 0 {
					break
				}
			}
		}
		n += len(tag) + step
		count++
	}
	return n, count
}

// complete reports whether nothing is left out.
func (s *skeleton) complete() bool { return len(s.at) == 0 && !s.broken }

// whole reads the file with all that is in it.
func (s *skeleton) whole() ([]byte, error) {
	if s.complete() {
		return s.data, nil
	}
	data := make([]byte, s.size)
	if _, err := s.file.ReadAt(data, 0); err != nil {
		return nil, fmt.Errorf("read model %s: %w", s.file.Name(), err)
	}
	return data, nil
}
