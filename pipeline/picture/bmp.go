package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"io"
	"math/bits"
	"slices"
)

// bmpHeader is what BITMAPINFOHEADER and its longer successors say.
type bmpHeader struct {
	w, h        int
	topDown     bool
	depth       int // bits of a pixel
	compression uint32
	masks       [3]uint32 // of red, green and blue, for 16 and 32 bits
	palette     color.Palette
	pixels      int // where they begin
}

// The compressions of BMP files.
const (
	bmpPlain = iota
	bmpRLE8
	bmpRLE4
	bmpMasks
)

func readBMPHeader(data []byte) (*bmpHeader, error) {
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(data[at:])) }
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(data[at:]) }
	if len(data) < 54 {
		return nil, io.ErrUnexpectedEOF
	}
	size := int(u32(14))
	if size < 40 || size > 124 {
		return nil, fmt.Errorf("bmp: a header of %d bytes, expected 40 to 124", size)
	}
	w, h := int(int32(u32(18))), int(int32(u32(22)))
	b := &bmpHeader{w: w, h: max(h, -h), topDown: h < 0, depth: u16(28), compression: u32(30), pixels: int(u32(10))}
	known := map[int][]uint32{1: {bmpPlain}, 4: {bmpPlain, bmpRLE4}, 8: {bmpPlain, bmpRLE8}, 16: {bmpPlain, bmpMasks}, 24: {bmpPlain}, 32: {bmpPlain, bmpMasks}}
	if !slices.Contains(known[b.depth], b.compression) {
		return nil, fmt.Errorf("bmp: unsupported: compression %d of %d bits", b.compression, b.depth)
	}
	switch {
	case b.compression == bmpMasks && len(data) < 66:
		return nil, io.ErrUnexpectedEOF
	case b.compression == bmpMasks:
		b.masks = [3]uint32{u32(54), u32(58), u32(62)}
	case b.depth == 16:
		b.masks = [3]uint32{0x7c00, 0x3e0, 0x1f}
	case b.depth == 32:
		b.masks = [3]uint32{0xff0000, 0xff00, 0xff}
	}
	if b.depth <= 8 {
		colours := int(u32(46))
		if colours <= 0 || colours > 1<<b.depth {
			colours = 1 << b.depth
		}
		for at := 14 + size; colours > 0; at, colours = at+4, colours-1 {
			if at+4 > len(data) {
				return nil, io.ErrUnexpectedEOF
			}
			b.palette = append(b.palette, color.RGBA{data[at+2], data[at+1], data[at], 255})
		}
	}
	return b, nil
}

func decodeBMPConfig(r io.ReaderAt, size int64) (image.Config, error) {
	b, err := bmpHeaderOf(r, size)
	if err != nil {
		return image.Config{}, err
	}
	return image.Config{Width: b.w, Height: b.h, ColorModel: color.RGBAModel}, nil
}

// runs reports whether the pixels are coded as run lengths.
func (b *bmpHeader) runs() bool { return b.compression == bmpRLE8 || b.compression == bmpRLE4 }

// stride is the bytes of a row.
func (b *bmpHeader) stride() int { return (b.w*b.depth + 31) / 32 * 4 }

// decodeBMP decodes what PIL does: 1, 4 and 8 bits with a palette, run lengths
// included, 16 and 32 bits with masks, and 24. Alpha is not looked at.
func decodeBMP(data []byte) (image.Image, error) {
	b, err := readBMPHeader(data)
	if err != nil {
		return nil, err
	}
	if b.pixels > len(data) {
		return nil, io.ErrUnexpectedEOF
	}
	data = data[b.pixels:]
	if b.runs() {
		img := image.NewPaletted(image.Rect(0, 0, b.w, b.h), b.palette)
		return img, b.unpackRuns(bufio.NewReader(bytes.NewReader(data)), img)
	}
	stride := b.stride()
	if len(data) < stride*(b.h-1)+(b.w*b.depth+7)/8 {
		return nil, io.ErrUnexpectedEOF
	}
	row := func(y int) []byte {
		if !b.topDown {
			y = b.h - 1 - y
		}
		return data[y*stride:]
	}
	if b.depth <= 8 {
		img := image.NewPaletted(image.Rect(0, 0, b.w, b.h), b.palette)
		for y := range b.h {
			in, out := row(y), img.Pix[y*img.Stride:]
			for x := range b.w {
				bit := x * b.depth
				out[x] = in[bit/8] >> (8 - b.depth - bit%8) & (1<<b.depth - 1)
			}
		}
		return img, nil
	}
	img := image.NewNRGBA(image.Rect(0, 0, b.w, b.h))
	for y := range b.h {
		in, out := row(y), img.Pix[y*img.Stride:]
		for x := range b.w {
			o := out[4*x : 4*x+4]
			o[3] = 255
			switch b.depth {
			case 16:
				b.unmask(o, uint32(binary.LittleEndian.Uint16(in[2*x:])))
			case 24:
				o[0], o[1], o[2] = in[3*x+2], in[3*x+1], in[3*x]
			case 32:
				b.unmask(o, binary.LittleEndian.Uint32(in[4*x:]))
			}
		}
	}
	return img, nil
}

// unmask takes a pixel apart and stretches each part to 8 bits.
func (b *bmpHeader) unmask(out []uint8, v uint32) {
	for i, mask := range b.masks {
		if mask != 0 {
			shift := bits.TrailingZeros32(mask)
			out[i] = uint8(uint64(v&mask>>shift) * 255 / uint64(mask>>shift))
		}
	}
}

// unpackRuns decodes run lengths: a count and a colour, or 0 and a command: 0
// ends the line, 1 the picture, 2 moves on, more are so many colours as they are.
// Without an image it only looks for the end.
func (b *bmpHeader) unpackRuns(r *bufio.Reader, img *image.Paletted) error {
	x, y := 0, 0
	// set takes n colours that are packed as the file has them, as long as there
	// are any: a run's are two in turn.
	set := func(n int, packed []byte, run bool) {
		for i := range n {
			if img == nil || x+i >= b.w || y >= b.h {
				break
			}
			k, row := i, y
			if run {
				k = i % 2
			}
			index := packed[0]
			if b.compression == bmpRLE4 {
				index = packed[k/2] >> (4 - k%2*4) & 15
			} else if !run {
				index = packed[k]
			}
			if !b.topDown {
				row = b.h - 1 - y
			}
			img.Pix[row*img.Stride+x+i] = index
		}
		x += n
	}
	var command [2]byte
	var packed [256]byte
	for y < b.h {
		if _, err := io.ReadFull(r, command[:]); err != nil {
			if y < b.h-1 {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		n := int(command[1])
		switch {
		case command[0] > 0:
			set(int(command[0]), command[1:], true)
		case n == 0:
			x, y = 0, y+1
		case n == 1:
			return nil
		case n == 2:
			if _, err := io.ReadFull(r, command[:]); err != nil {
				return io.ErrUnexpectedEOF
			}
			x, y = x+int(command[0]), y+int(command[1])
		default:
			size := n
			if b.compression == bmpRLE4 {
				size = (n + 1) / 2
			}
			if _, err := io.ReadFull(r, packed[:size+size%2]); err != nil {
				return io.ErrUnexpectedEOF
			}
			set(n, packed[:], false)
		}
	}
	return nil
}
