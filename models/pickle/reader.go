package pickle

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Reader is where pickles are read from, one after the other.
type Reader struct {
	b        *bufio.Reader
	at, size int64
}

// NewReader reads from r, which has size bytes.
func NewReader(r io.Reader, size int64) *Reader {
	return &Reader{b: bufio.NewReaderSize(io.LimitReader(r, size), 1<<16), size: size}
}

// Offset is the number of bytes that were read.
func (r *Reader) Offset() int64 { return r.at }

// errEnds is the fault of a pickle that is cut off.
var errEnds = errors.New("the pickle ends too early (an incomplete download?)")

func (r *Reader) byte() (byte, error) {
	c, err := r.b.ReadByte()
	if err != nil {
		return 0, ends(err)
	}
	r.at++
	return c, nil
}

// bytes reads the next n bytes. The source has them before memory is taken.
func (r *Reader) bytes(n uint64) ([]byte, error) {
	if n > uint64(r.size-r.at) {
		return nil, fmt.Errorf("%w: %d bytes are announced, %d are there", errEnds, n, r.size-r.at)
	}
	out := make([]byte, n)
	if _, err := io.ReadFull(r.b, out); err != nil {
		return nil, ends(err)
	}
	r.at += int64(n)
	return out, nil
}

// number reads n <= 8 bytes, little-endian.
func (r *Reader) number(n int) (uint64, error) {
	out := uint64(0)
	for i := range n {
		c, err := r.byte()
		if err != nil {
			return 0, err
		}
		out |= uint64(c) << (8 * i)
	}
	return out, nil
}

// line reads up to the next line feed, which it drops.
func (r *Reader) line(most int) (string, error) {
	var out []byte
	for {
		part, err := r.b.ReadSlice('\n')
		out = append(out, part...)
		r.at += int64(len(part))
		switch {
		case err == nil:
			return string(out[:len(out)-1]), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", ends(err)
		case len(out) > most:
			return "", fmt.Errorf("a line is longer than %d bytes", most)
		}
	}
}

func ends(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errEnds
	}
	return err
}
