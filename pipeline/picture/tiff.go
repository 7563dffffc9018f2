package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// Tags of a TIFF file.
const (
	tiffWidth        = 256
	tiffHeight       = 257
	tiffBits         = 258
	tiffCompression  = 259
	tiffPhotometric  = 262
	tiffFillOrder    = 266
	tiffStrips       = 273
	tiffSamples      = 277
	tiffRowsPerStrip = 278
	tiffStripBytes   = 279
	tiffPlanar       = 284
	tiffG3Options    = 292
	tiffPredictor    = 317
	tiffColours      = 320
	tiffTileWidth    = 322
	tiffTileHeight   = 323
	tiffTiles        = 324
	tiffTileBytes    = 325
	tiffExtra        = 338
	tiffFormat       = 339
)

// What colours a TIFF file's samples are.
const (
	tiffWhiteIsZero = iota
	tiffBlackIsZero
	tiffRGB
	tiffPalette
	_
	tiffCMYK
)

// tiffFile is the first picture of a file, and what its tags say.
type tiffFile struct {
	data  []byte
	order binary.ByteOrder
	tags  map[uint16][]uint32

	w, h, samples, depth                                      int
	compression, photometric, predictor, blockW, blockH, runs int
	planar                                                    bool
	offsets, sizes                                            []uint32 // of strips or tiles
}

// maxTIFFValues bounds the values of one tag; strips are the most numerous.
const maxTIFFValues = 1 << 20

func decodeTIFFConfig(data []byte) (image.Config, error) {
	f, err := readTIFF(data)
	if err != nil {
		return image.Config{}, err
	}
	return image.Config{Width: f.w, Height: f.h, ColorModel: color.RGBAModel}, nil
}

func readTIFF(data []byte) (*tiffFile, error) {
	f := &tiffFile{data: data, order: binary.LittleEndian, tags: map[uint16][]uint32{}}
	if data[0] == 'M' {
		f.order = binary.BigEndian
	}
	if len(data) < 8 {
		return nil, io.ErrUnexpectedEOF
	}
	at := int64(f.order.Uint32(data[4:]))
	if at+2 > int64(len(data)) {
		return nil, io.ErrUnexpectedEOF
	}
	entries := data[at+2:]
	for range f.order.Uint16(data[at:]) {
		if len(entries) < 12 {
			return nil, io.ErrUnexpectedEOF
		}
		if err := f.readTag(entries[:12]); err != nil {
			return nil, err
		}
		entries = entries[12:]
	}
	return f, f.check()
}

// readTag reads whole numbers; tags of other types are of no use here.
func (f *tiffFile) readTag(entry []byte) error {
	tag, kind, n := f.order.Uint16(entry), f.order.Uint16(entry[2:]), int64(f.order.Uint32(entry[4:]))
	width := map[uint16]int64{1: 1, 3: 2, 4: 4}[kind] // byte, short, long
	if width == 0 {
		return nil
	}
	value := entry[8:]
	if n*width > 4 {
		at := int64(f.order.Uint32(value))
		if n > maxTIFFValues || at+n*width > int64(len(f.data)) {
			return fmt.Errorf("tag %d with %d values: %w", tag, n, io.ErrUnexpectedEOF)
		}
		value = f.data[at:]
	}
	list := make([]uint32, n)
	for i := range list {
		switch v := value[int64(i)*width:]; width {
		case 1:
			list[i] = uint32(v[0])
		case 2:
			list[i] = uint32(f.order.Uint16(v))
		default:
			list[i] = f.order.Uint32(v)
		}
	}
	f.tags[tag] = list
	return nil
}

// first is a tag's first value, or what stands for it.
func (f *tiffFile) first(tag uint16, otherwise int) int {
	if v := f.tags[tag]; len(v) > 0 {
		return int(v[0])
	}
	return otherwise
}

// check takes over the tags and refuses what can't be decoded.
func (f *tiffFile) check() error {
	f.w, f.h = f.first(tiffWidth, 0), f.first(tiffHeight, 0)
	if err := checkSize(f.w, f.h); err != nil {
		return err
	}
	f.samples, f.depth = f.first(tiffSamples, 1), f.first(tiffBits, 1)
	f.compression, f.photometric = f.first(tiffCompression, 1), f.first(tiffPhotometric, tiffBlackIsZero)
	f.predictor, f.runs = f.first(tiffPredictor, 1), f.first(tiffG3Options, 0)
	f.planar = f.first(tiffPlanar, 1) == 2 && f.samples > 1
	f.blockW, f.blockH = f.w, min(f.first(tiffRowsPerStrip, f.h), f.h)
	f.offsets, f.sizes = f.tags[tiffStrips], f.tags[tiffStripBytes]
	if f.tags[tiffTiles] != nil {
		f.blockW, f.blockH = f.first(tiffTileWidth, 0), f.first(tiffTileHeight, 0)
		f.offsets, f.sizes = f.tags[tiffTiles], f.tags[tiffTileBytes]
	}
	if err := checkSize(f.blockW, f.blockH); err != nil {
		return fmt.Errorf("strips or tiles: %w", err)
	}
	for _, bits := range f.tags[tiffBits] {
		if int(bits) != f.depth {
			return errors.New("unsupported: samples of different depths")
		}
	}
	least := map[int]int{tiffWhiteIsZero: 1, tiffBlackIsZero: 1, tiffRGB: 3, tiffPalette: 1, tiffCMYK: 4}[f.photometric]
	switch {
	case least == 0:
		return fmt.Errorf("unsupported: photometric interpretation %d", f.photometric)
	case f.samples < least || f.samples > least+4:
		return fmt.Errorf("%d samples a pixel, photometric interpretation %d has %d", f.samples, f.photometric, least)
	case f.depth != 8 && f.depth != 16 && (f.samples > 1 || f.depth != 1 && f.depth != 2 && f.depth != 4),
		f.photometric == tiffPalette && f.depth > 8:
		return fmt.Errorf("unsupported: %d samples of %d bits", f.samples, f.depth)
	case f.first(tiffFormat, 1) != 1:
		return errors.New("unsupported: samples that are no whole numbers from 0")
	case f.first(tiffFillOrder, 1) != 1:
		return errors.New("unsupported: bits in reverse order")
	case f.photometric == tiffPalette && len(f.tags[tiffColours]) < 3<<f.depth:
		return fmt.Errorf("a palette of %d numbers for %d bits", len(f.tags[tiffColours]), f.depth)
	case f.predictor > 2 || f.predictor == 2 && f.depth < 8:
		return fmt.Errorf("unsupported: predictor %d of %d bits", f.predictor, f.depth)
	}
	blocks := (f.w + f.blockW - 1) / f.blockW * ((f.h + f.blockH - 1) / f.blockH)
	if f.planar {
		blocks *= f.samples
	}
	if len(f.offsets) < blocks || len(f.sizes) < blocks {
		return fmt.Errorf("%d strips or tiles, %d expected", min(len(f.offsets), len(f.sizes)), blocks)
	}
	return nil
}

// decodeTIFF decodes the first picture of a file: grey, RGB, palette and CMYK,
// with further samples such as alpha passed over; 8 and 16 bits, fewer for one
// sample; strips or tiles; raw, PackBits, LZW, deflate and the fax codes.
func decodeTIFF(data []byte) (image.Image, error) {
	f, err := readTIFF(data)
	if err != nil {
		return nil, err
	}
	perBlock := f.samples // in a row of a block
	if f.planar {
		perBlock = 1
	}
	stride := (f.blockW*perBlock*f.depth + 7) / 8
	across := (f.w + f.blockW - 1) / f.blockW
	perPlane := across * ((f.h + f.blockH - 1) / f.blockH)
	var img *tiffImage
	for i := range perPlane * f.samples / perBlock {
		top, left := i%perPlane/across*f.blockH, i%perPlane%across*f.blockW
		rows, columns := min(f.blockH, f.h-top), min(f.blockW, f.w-left)
		block, err := f.block(i, stride, rows)
		if err != nil {
			return nil, fmt.Errorf("%dx%d pixels, strip or tile %d: %w", f.w, f.h, i, err)
		}
		if img == nil { // the first block is there: memory for all
			img = newTIFFImage(f)
		}
		for y := range rows {
			for x := range columns {
				for c := range perBlock {
					img.set(left+x, top+y, i/perPlane+c, f.sample(block[y*stride:], x*perBlock+c))
				}
			}
		}
	}
	return img.finish(), nil
}

// sample is number i of a row.
func (f *tiffFile) sample(row []byte, i int) uint16 {
	switch f.depth {
	case 8:
		return uint16(row[i])
	case 16:
		return f.order.Uint16(row[2*i:])
	}
	bit := i * f.depth
	return uint16(row[bit/8]) >> (8 - f.depth - bit%8) & (1<<f.depth - 1)
}

// block unpacks a strip or tile, and undoes the difference of each sample from
// its neighbour.
func (f *tiffFile) block(i, stride, rows int) ([]byte, error) {
	at, size := int64(f.offsets[i]), int64(f.sizes[i])
	if at+size > int64(len(f.data)) {
		return nil, io.ErrUnexpectedEOF
	}
	packed := f.data[at : at+size]
	want := stride * rows
	if want > 4*MaxPixels {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are unpacked", ErrTooLarge, want, 4*MaxPixels)
	}
	var r io.Reader
	switch f.compression {
	case 1:
		if len(packed) < want {
			return nil, io.ErrUnexpectedEOF
		}
		return f.undo(packed[:want], stride, true), nil
	case 3, 4:
		if f.depth != 1 || f.samples != 1 {
			return nil, errors.New("a fax code with more than one bit")
		}
		// The codes name the colours white and black; TIFF's bits are 1 for black.
		o, kind := &ccitt.Options{Invert: true}, ccitt.Group3
		if f.compression == 4 {
			kind = ccitt.Group4
		} else if f.runs&1 != 0 {
			return nil, errors.New("unsupported: fax code of two dimensions")
		}
		r = ccitt.NewReader(bytes.NewReader(packed), ccitt.MSB, kind, f.blockW, rows, o)
	case 5:
		l := lzw.NewReader(bytes.NewReader(packed), lzw.MSB, 8)
		defer l.Close()
		r = l
	case 8, 32946:
		z, err := zlib.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	case 32773:
		r = bytes.NewReader(unpackBits(packed, want))
	default:
		return nil, fmt.Errorf("unsupported: compression %d; save it with LZW or deflate", f.compression)
	}
	// As much memory as there is content, whatever the header says.
	out, err := io.ReadAll(io.LimitReader(r, int64(want)))
	if err != nil {
		return nil, err
	}
	if len(out) < want {
		return nil, io.ErrUnexpectedEOF
	}
	return f.undo(out, stride, false), nil
}

// undo adds up the differences, in a copy if the memory is the file's.
func (f *tiffFile) undo(b []byte, stride int, shared bool) []byte {
	if f.predictor != 2 {
		return b
	}
	if shared {
		b = bytes.Clone(b)
	}
	step := f.samples
	if f.planar {
		step = 1
	}
	for at := 0; at < len(b); at += stride {
		row := b[at : at+stride]
		if f.depth == 8 {
			for x := step; x < len(row); x++ {
				row[x] += row[x-step]
			}
			continue
		}
		for x := 2 * step; x+1 < len(row); x += 2 {
			f.order.PutUint16(row[x:], f.order.Uint16(row[x:])+f.order.Uint16(row[x-2*step:]))
		}
	}
	return b
}

// unpackBits undoes Apple's run lengths: n below 128 for n+1 bytes as they are,
// n above for one byte 257-n times.
func unpackBits(data []byte, most int) []byte {
	var out []byte
	for len(data) > 1 && len(out) < most {
		n := int(data[0])
		switch {
		case n < 128:
			n = min(n+1, len(data)-1)
			out = append(out, data[1:1+n]...)
			data = data[1+n:]
		case n > 128:
			out = append(out, bytes.Repeat(data[1:2], 257-n)...)
			data = data[2:]
		default:
			data = data[1:]
		}
	}
	return out
}
