package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/relevit/relevit/pipeline/picture/jpeg"
)

// maxParts bounds the chunks of a PNG or WebP file, and maxBlocks the blocks of
// a GIF file, which have up to 255 bytes each.
const (
	maxParts  = 1 << 20
	maxBlocks = 1 << 23
)

// checkFile checks what size, header and structure of a file of size bytes
// tell, before its content takes memory: files that are cut off say so there.
// It refuses none that would be decoded.
func checkFile(r io.ReaderAt, size int64) (err error) {
	defer recovered(&err)
	if size == 0 {
		return nil // which Decode says
	}
	head := make([]byte, min(size, 12))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return reason(err)
	}
	if isJPEG(head) {
		return jpeg.Check(r, size)
	}
	f, err := formatOf(head)
	if err != nil {
		return err
	}
	if err := f.check(r, size); err != nil {
		return err
	}
	if err := f.whole(r, size); err != nil {
		return fmt.Errorf("%s: %w", f.name, explain(err))
	}
	return nil
}

func wholePNG(r io.ReaderAt, size int64) error {
	in := bufio.NewReaderSize(io.NewSectionReader(r, 8, size-8), 1<<16)
	var head [8]byte
	for range maxParts {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		sum := crc32.NewIEEE()
		sum.Write(head[4:])
		if _, err := io.CopyN(sum, in, int64(binary.BigEndian.Uint32(head[:]))); err != nil {
			return err
		}
		var stated [4]byte
		if _, err := io.ReadFull(in, stated[:]); err != nil {
			return err
		}
		if binary.BigEndian.Uint32(stated[:]) != sum.Sum32() {
			return fmt.Errorf("the checksum of chunk %q is wrong", head[4:])
		}
		if string(head[4:]) == "IEND" {
			return nil
		}
	}
	return fmt.Errorf("more than %d chunks", maxParts)
}

// wholeGIF follows the blocks up to the end of the first frame.
func wholeGIF(r io.ReaderAt, size int64) error {
	in := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16)
	blocks := 0
	skip := func(n int) error {
		_, err := in.Discard(n)
		return err
	}
	table := func(flags byte) error {
		if flags&0x80 == 0 {
			return nil
		}
		return skip(3 << (flags&7 + 1))
	}
	chain := func() error { // blocks behind their lengths, up to an empty one
		for ; blocks < maxBlocks; blocks++ {
			n, err := in.ReadByte()
			if n == 0 || err != nil {
				return err
			}
			if err := skip(int(n)); err != nil {
				return err
			}
		}
		return fmt.Errorf("more than %d blocks", maxBlocks)
	}
	head := make([]byte, 13)
	if _, err := io.ReadFull(in, head); err != nil {
		return err
	}
	if err := table(head[10]); err != nil {
		return err
	}
	for {
		kind, err := in.ReadByte()
		if err != nil {
			return err
		}
		switch kind {
		case '!':
			label, err := in.ReadByte()
			if err == nil && label == 1 { // plain text
				err = skip(13)
			}
			if err == nil {
				err = chain()
			}
			if err != nil {
				return err
			}
		case ',':
			if _, err := io.ReadFull(in, head[:9]); err != nil {
				return err
			}
			err := table(head[8])
			if err == nil {
				err = skip(1) // the width of its codes
			}
			if err == nil {
				err = chain()
			}
			return err
		default: // the end, or what the decoder refuses
			return nil
		}
	}
}

// wholeWebP follows the chunks up to that of the picture, or of the first frame.
func wholeWebP(r io.ReaderAt, size int64) error {
	var head [8]byte
	at := int64(12)
	for range maxParts {
		if _, err := r.ReadAt(head[:], at); err != nil {
			return err
		}
		n := int64(binary.LittleEndian.Uint32(head[4:]))
		switch kind := string(head[:4]); {
		case kind != "VP8 " && kind != "VP8L" && kind != "ALPH" && kind != "ANMF":
		case n > size-at-8:
			return io.ErrUnexpectedEOF
		case kind != "ALPH":
			return nil
		}
		at += 8 + n + n&1
	}
	return fmt.Errorf("more than %d chunks", maxParts)
}

func wholeBMP(r io.ReaderAt, size int64) error {
	b, err := bmpHeaderOf(r, size)
	if err != nil {
		return err
	}
	at := int64(b.pixels)
	if at > size {
		return io.ErrUnexpectedEOF
	}
	if b.runs() {
		return b.unpackRuns(bufio.NewReaderSize(io.NewSectionReader(r, at, size-at), 1<<16), nil)
	}
	if size-at < int64(b.stride()*(b.h-1)+(b.w*b.depth+7)/8) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// bmpHeaderOf reads a file's header, with its palette.
func bmpHeaderOf(r io.ReaderAt, size int64) (*bmpHeader, error) {
	head := make([]byte, min(size, 14+124+4*256))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, reason(err)
	}
	return readBMPHeader(head)
}

func wholeTIFF(r io.ReaderAt, size int64) error {
	f, err := readTIFF(r, size)
	if err != nil {
		return err
	}
	for i := range f.blocks() {
		if int64(f.offsets[i])+int64(f.sizes[i]) > size || f.compression == 1 && int64(f.sizes[i]) < int64(f.stride()*f.rows(i)) {
			return fmt.Errorf("%dx%d pixels, strip or tile %d: %w", f.w, f.h, i, io.ErrUnexpectedEOF)
		}
	}
	return nil
}

// from makes a reader of a whole file one of any part of it.
func from[T any](decode func(io.Reader) (T, error)) func(r io.ReaderAt, size int64) (T, error) {
	return func(r io.ReaderAt, size int64) (T, error) {
		return decode(bufio.NewReader(io.NewSectionReader(r, 0, size)))
	}
}

// inMemory gives a decoder the whole content.
func inMemory[T any](decode func(io.Reader) (T, error)) func(data []byte) (T, error) {
	return func(data []byte) (T, error) { return decode(bytes.NewReader(data)) }
}
