package jpeg

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Check looks for the end marker of a file of size bytes without taking memory
// for it. Files without one are refused where Decode would refuse them: those
// that are progressive, and those whose last scan isn't complete.
func Check(r io.ReaderAt, size int64) error {
	tail := make([]byte, min(size, 1<<10))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return err
	}
	if bytes.Contains(tail, []byte{0xff, markerEOI}) {
		return nil // mostly the last two bytes; if not, Decode sees what is wrong
	}
	ends, progressive := follow(bufio.NewReaderSize(io.NewSectionReader(r, 2, size-2), 1<<16))
	switch {
	case ends:
		return nil
	case progressive:
		return fmt.Errorf("%w: it ends at byte %d without an end marker", ErrTruncated, size)
	}
	w := &window{r: r, size: size}
	d := decoder{window: w, scratch: new(scratch)}
	if err := w.slide(&d, 0); err != nil {
		return err
	}
	return d.markers(false)
}

// follow goes from marker to marker, and reports whether there is an end marker,
// or something that Decode refuses, and whether the file is progressive.
func follow(in *bufio.Reader) (ends, progressive bool) {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return false, progressive
		}
		if b != 0xff {
			// up to the next marker, mostly in a scan
			for {
				part, _ := in.Peek(max(in.Buffered(), 1))
				if i := bytes.IndexByte(part, 0xff); i >= 0 || len(part) == 0 {
					in.Discard(max(i, 0))
					break
				}
				in.Discard(len(part))
			}
			continue
		}
		m, err := in.ReadByte()
		for m == 0xff && err == nil {
			m, err = in.ReadByte()
		}
		switch {
		case err != nil:
			return false, progressive
		case m == markerEOI:
			return true, progressive
		case m == 0 || m == markerTEM || m >= markerRST0 && m <= markerRST7:
			continue
		case m == markerSOF2:
			progressive = true
		}
		var length [2]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return false, progressive
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n < 2 {
			return true, progressive
		}
		in.Discard(n - 2)
	}
}

// window is the part of a file that a decoder sees which only checks whether
// its scans are complete.
type window struct {
	r    io.ReaderAt
	size int64
	base int64 // where the decoder's data begin
	data []byte
}

// leastWindow holds any segment, and the scans' rows of blocks of most files.
const leastWindow = 1 << 20

// slide moves the window on, to the decoder's position, where less than most
// bytes are left in it.
func (w *window) slide(d *decoder, most int) error {
	most = max(most, leastWindow)
	if len(d.data)-d.pos >= most || w.base+int64(len(d.data)) == w.size {
		return nil
	}
	w.base += int64(d.pos)
	left := w.size - w.base
	if size := min(int64(most+most/4), left); int64(len(w.data)) < size {
		w.data = make([]byte, size)
	}
	d.data, d.pos = w.data[:min(int64(len(w.data)), left)], 0
	if _, err := w.r.ReadAt(d.data, w.base); err != nil && err != io.EOF {
		return err
	}
	return nil
}

// longestRow is how many bytes a row of MCUs of a scan can take: each coefficient a
// code of 16 bits and as many further bits, and each byte may be stuffed.
func (d *decoder) longestRow(s *scanState) int {
	blocks := 0
	for i := range s.comps {
		blocks += s.comps[i].h * s.comps[i].v
	}
	if len(s.comps) == 1 {
		return s.comps[0].blocksX * 64 * 8
	}
	return d.mcusX * blocks * 64 * 8
}
