package onnx

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"

	"google.golang.org/protobuf/encoding/protowire"
)

// skeleton is a file read without the large values in it, numbers and texts,
// which are zeros until fill reads them: what else is wrong with a model is
// found before they take memory and time.
type skeleton struct {
	file   *os.File
	in     *bufio.Reader
	data   []byte
	pos    int          // up to where data has been read or left out
	kept   int          // bytes that have been read
	holes  []hole       // in order
	at     map[int]hole // the same by their start
	broken bool         // it is no protobuf from pos on, as the parser explains
}

// hole is a part of a file that is left out: a field's content, or what follows
// the first elements of a run.
type hole struct {
	start, end int
	count      int // varints in it, -1 where it is no list of them or that isn't asked
}

const (
	// smallestHole is from how many bytes on a value is left out.
	smallestHole = 1 << 10
	// longestPath is how long the texts of external_data may be.
	longestPath = 4 << 10
	// maxKept bounds what remains: the largest Vision Transformers' graphs, with
	// the traces that PyTorch writes beside each node, take a tenth.
	maxKept = 32 << 20
)

// errShapeless ends the walk through a file that isn't protobuf.
var errShapeless = errors.New("not the fields that the schema expects")

func readSkeleton(f *os.File, size int64) (*skeleton, error) {
	s := &skeleton{file: f, in: bufio.NewReaderSize(f, 1<<14), data: make([]byte, size), at: map[int]hole{}}
	err := s.message("ModelProto", len(s.data), 1)
	if errors.Is(err, errShapeless) {
		s.broken = true
		head, _ := s.in.Peek(min(2*binary.MaxVarintLen64, len(s.data)-s.pos))
		err = s.read(len(head))
	}
	if e := (*FormatError)(nil); err != nil && !errors.As(err, &e) {
		return nil, fmt.Errorf("read model %s: %w", f.Name(), err)
	}
	return s, err
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
		case int(length) > longest(kind, num):
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
func longest(kind string, num protowire.Number) int {
	switch {
	case identifiers[schema[kind][num].name]:
		return int(fileLimits.name)
	case kind == "TensorProto" && num == tensorDims:
		return maxKept
	case kind == "StringStringEntryProto":
		return longestPath
	}
	return smallestHole - 1
}

func (s *skeleton) read(n int) error {
	if s.kept += n; s.kept > maxKept {
		return &FormatError{File: s.file.Name(), Offset: int64(s.pos), Problem: fmt.Sprintf("more than %d bytes besides the numbers", maxKept),
			Hint: "a Vision Transformer has far fewer"}
	}
	_, err := io.ReadFull(s.in, s.data[s.pos:s.pos+n])
	s.pos += n
	return err
}

// leaveOut passes over a field's content. Varints are counted, as their number
// can't be told from their length.
func (s *skeleton) leaveOut(kind string, num protowire.Number, n int) error {
	h := hole{start: s.pos, end: s.pos + n, count: -1}
	s.pos = h.end
	defer func() {
		s.holes = append(s.holes, h)
		s.at[h.start] = h
	}()
	if kind == "TensorProto" && (num == tensorInt32s || num == tensorInt64s || num == tensorUint64s) {
		var err error
		h.count, err = countVarints(s.in, n)
		return err
	}
	if n <= s.in.Buffered() {
		_, err := s.in.Discard(n)
		return err
	}
	_, err := s.file.Seek(int64(s.pos), io.SeekStart)
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
	if wire == protowire.StartGroupType || kind == "TensorProto" && num == tensorDims {
		return nil // which message reads one by one
	}
	h := hole{start: s.pos, end: s.pos}
	for s.pos < end {
		b, _ := s.in.Peek(min(smallestHole+2*binary.MaxVarintLen64, end-s.pos))
		if b, _ = s.in.Peek(min(s.in.Buffered(), end-s.pos)); len(b) == 0 {
			break
		}
		n, count := leadingRun(b, tag, wire)
		if h.end == h.start && n < smallestHole {
			return s.read(n)
		}
		if n == 0 {
			break
		}
		s.pos += n
		h.end, h.count = s.pos, h.count+count
		if err := discard(s.in, n); err != nil {
			return err
		}
	}
	if h.end > h.start {
		s.holes = append(s.holes, h)
		s.at[h.start] = h
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

// fill reads what was left out, into the bytes that fields refer to.
func (s *skeleton) fill() error {
	for _, h := range s.holes {
		if _, err := s.file.ReadAt(s.data[h.start:h.end], int64(h.start)); err != nil {
			return fmt.Errorf("read model %s: %w", s.file.Name(), err)
		}
	}
	return nil
}
