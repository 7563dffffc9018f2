package onnx

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/encoding/protowire"
)

// skeleton is a file read without the large numbers in it, which are zeros until
// fill reads them: what else is wrong with a model is found before they take
// memory and time.
type skeleton struct {
	file  *os.File
	in    *bufio.Reader
	data  []byte
	pos   int      // up to where data has been read
	holes [][2]int // start and end of what is still zero
}

// smallestHole is from how many bytes on the data of a tensor are left out.
const smallestHole = 1 << 20

// errShapeless ends the walk through a file that isn't protobuf, which the
// parser explains.
var errShapeless = errors.New("not the fields that the schema expects")

func readSkeleton(f *os.File, size int64) (*skeleton, error) {
	s := &skeleton{file: f, in: bufio.NewReaderSize(f, 1<<16), data: make([]byte, size)}
	err := s.message("ModelProto", len(s.data), 1)
	if errors.Is(err, errShapeless) {
		err = s.read(len(s.data) - s.pos)
	}
	if err != nil {
		return nil, fmt.Errorf("read model %s: %w", f.Name(), err)
	}
	return s, nil
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
		value := protowire.ConsumeFieldValue(num, wire, head[tag:])
		length := uint64(0)
		if wire == protowire.BytesType {
			length, value = protowire.ConsumeVarint(head[tag:])
		}
		if value < 0 || length > uint64(end-s.pos-tag-value) {
			return errShapeless
		}
		if err := s.read(tag + value); err != nil {
			return err
		}
		var err error
		switch inner := schema[kind][num].msg; {
		case inner != "" && wire == protowire.BytesType:
			err = s.message(inner, s.pos+int(length), depth+1)
		case kind == "TensorProto" && num == tensorRaw && length >= smallestHole:
			err = s.skip(int(length))
		default:
			err = s.read(int(length))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *skeleton) read(n int) error {
	_, err := io.ReadFull(s.in, s.data[s.pos:s.pos+n])
	s.pos += n
	return err
}

func (s *skeleton) skip(n int) error {
	s.holes = append(s.holes, [2]int{s.pos, s.pos + n})
	s.pos += n
	_, err := s.file.Seek(int64(s.pos), io.SeekStart)
	s.in.Reset(s.file)
	return err
}

// fill reads what was left out, into the bytes that tensors refer to.
func (s *skeleton) fill() error {
	for _, h := range s.holes {
		if _, err := s.file.ReadAt(s.data[h[0]:h[1]], int64(h[0])); err != nil {
			return fmt.Errorf("read model %s: %w", s.file.Name(), err)
		}
	}
	return nil
}
