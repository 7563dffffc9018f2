package picture

import (
	"bytes"
	"cmp"
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
	r      io.ReaderAt
	size   int64
	order  binary.ByteOrder
	tags   map[uint16][]uint32
	values int64 // of all tags

	w, h, samples, depth                                      int
	compression, photometric, predictor, blockW, blockH, runs int
	planar                                                    bool
	offsets, sizes                                            []uint32 // of strips or tiles
}

// maxTIFFValues bounds the values of one tag, of which strips have the most, and
// four times as many those of all.
const maxTIFFValues = 1 << 20

// maxTIFFTile is how wide tiles may be that are wider than the picture.
const maxTIFFTile = 1 << 13

func decodeTIFFConfig(r io.ReaderAt, size int64) (image.Config, error) {
	f, err := readTIFF(r, size)
	if err != nil {
		return image.Config{}, err
	}
	return image.Config{Width: f.w, Height: f.h, ColorModel: color.RGBAModel}, nil
}

func readTIFF(r io.ReaderAt, size int64) (*tiffFile, error) {
	f := &tiffFile{r: r, size: size, order: binary.LittleEndian, tags: map[uint16][]uint32{}}
	head, err := f.bytes(0, 8)
	if err != nil {
		return nil, err
	}
	if head[0] == 'M' {
		f.order = binary.BigEndian
	}
	at := int64(f.order.Uint32(head[4:]))
	count, err := f.bytes(at, 2)
	if err != nil {
		return nil, err
	}
	n := int64(f.order.Uint16(count))
	entries, err := f.bytes(at+2, min(12*n, max(0, size-at-2)/12*12))
	if err != nil {
		return nil, err
	}
	for ; n > 0; n-- {
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

func (f *tiffFile) bytes(at, n int64) ([]byte, error) {
	if at+n > f.size {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	if _, err := f.r.ReadAt(b, at); err != nil && (err != io.EOF || n > 0 && at+n < f.size) {
		return nil, reason(err)
	}
	return b, nil
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
		if f.values += n; n > maxTIFFValues || f.values > 4*maxTIFFValues || at+n*width > f.size {
			return fmt.Errorf("tag %d with %d values: %w", tag, n, io.ErrUnexpectedEOF)
		}
		var err error
		if value, err = f.bytes(at, n*width); err != nil {
			return err
		}
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
		if f.blockW > max(f.w, maxTIFFTile) {
			return fmt.Errorf("%w: tiles %d pixels wide, the picture is %d", ErrTooLarge, f.blockW, f.w)
		}
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
	if blocks := f.blocks(); len(f.offsets) < blocks || len(f.sizes) < blocks {
		return fmt.Errorf("%d strips or tiles, %d expected", min(len(f.offsets), len(f.sizes)), blocks)
	}
	return nil
}

// across and perPlane are how many strips or tiles lie beside each other and in
// a plane, blocks how many there are in all.
func (f *tiffFile) across() int   { return (f.w + f.blockW - 1) / f.blockW }
func (f *tiffFile) perPlane() int { return f.across() * ((f.h + f.blockH - 1) / f.blockH) }
func (f *tiffFile) blocks() int   { return f.perPlane() * f.samples / f.perBlock() }

// perBlock is how many samples of a pixel lie beside each other.
func (f *tiffFile) perBlock() int {
	if f.planar {
		return 1
	}
	return f.samples
}

// stride is the bytes of a row of a strip or tile, and rows how many of them
// belong to the picture.
func (f *tiffFile) stride() int { return (f.blockW*f.perBlock()*f.depth + 7) / 8 }
func (f *tiffFile) rows(i int) int {
	return min(f.blockH, f.h-i%f.perPlane()/f.across()*f.blockH)
}

// decodeTIFF decodes the first picture of a file: grey, RGB, palette and CMYK,
// with further samples such as alpha passed over; 8 and 16 bits, fewer for one
// sample; strips or tiles; raw, PackBits, LZW, deflate and the fax codes.
func decodeTIFF(data []byte) (image.Image, error) {
	f, err := readTIFF(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	perBlock, across, perPlane := f.perBlock(), f.across(), f.perPlane()
	row := make([]byte, f.stride())
	var img *tiffImage
	for i := range f.blocks() {
		top, left := i%perPlane/across*f.blockH, i%perPlane%across*f.blockW
		columns := min(f.blockW, f.w-left)
		block, err := f.open(data, i)
		for y := 0; err == nil && y < f.rows(i); y++ {
			if _, err = io.ReadFull(block, row); err != nil {
				break
			}
			f.undo(row)
			if img == nil { // the first row is there: memory for all
				img = newTIFFImage(f)
			}
			for x := range columns {
				for c := range perBlock {
					img.set(left+x, top+y, i/perPlane+c, f.sample(row, x*perBlock+c))
				}
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%dx%d pixels, strip or tile %d: %w", f.w, f.h, i, err)
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

// open unpacks a strip or tile.
func (f *tiffFile) open(data []byte, i int) (io.Reader, error) {
	at, size := int64(f.offsets[i]), int64(f.sizes[i])
	if at+size > int64(len(data)) {
		return nil, io.ErrUnexpectedEOF
	}
	packed := bytes.NewReader(data[at : at+size])
	if want := f.stride() * f.rows(i); want > 4*MaxPixels {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are unpacked", ErrTooLarge, want, 4*MaxPixels)
	}
	switch f.compression {
	case 1:
		return packed, nil
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
		return ccitt.NewReader(packed, ccitt.MSB, kind, f.blockW, f.rows(i), o), nil
	case 5:
		return lzw.NewReader(packed, lzw.MSB, 8), nil
	case 8, 32946:
		return zlib.NewReader(packed)
	case 32773:
		return &packBits{packed: packed}, nil
	}
	return nil, fmt.Errorf("unsupported: compression %d; save it with LZW or deflate", f.compression)
}

// undo adds up a row's differences of each sample from its neighbour.
func (f *tiffFile) undo(row []byte) {
	if f.predictor != 2 {
		return
	}
	step := f.perBlock()
	if f.depth == 8 {
		for x := step; x < len(row); x++ {
			row[x] += row[x-step]
		}
		return
	}
	for x := 2 * step; x+1 < len(row); x += 2 {
		f.order.PutUint16(row[x:], f.order.Uint16(row[x:])+f.order.Uint16(row[x-2*step:]))
	}
}

// packBits undoes Apple's run lengths: n below 128 for n+1 bytes as they are, n
// above for one byte 257-n times.
type packBits struct {
	packed *bytes.Reader
	left   int // bytes to come of the present length
	run    bool
	value  byte // of a run
}

func (p *packBits) Read(out []byte) (n int, err error) {
	for n < len(out) {
		if p.left == 0 {
			if err := p.next(); err != nil {
				return n, err
			}
			continue
		}
		part := out[n:min(len(out), n+p.left)]
		if p.run {
			for i := range part {
				part[i] = p.value
			}
		} else if k, err := p.packed.Read(part); k < len(part) {
			return n + k, cmp.Or(err, io.EOF)
		}
		p.left -= len(part)
		n += len(part)
	}
	return n, nil
}

// next reads a length.
func (p *packBits) next() error {
	b, err := p.packed.ReadByte()
	switch {
	case err != nil:
		return err
	case b < 128:
		p.left, p.run = int(b)+1, false
	case b > 128:
		p.left, p.run = 257-int(b), true
		p.value, err = p.packed.ReadByte()
	}
	return err
}
