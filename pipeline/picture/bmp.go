package picture

import (
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

func decodeBMPConfig(data []byte) (image.Config, error) {
	b, err := readBMPHeader(data)
	if err != nil {
		return image.Config{}, err
	}
	return image.Config{Width: b.w, Height: b.h, ColorModel: color.RGBAModel}, nil
}

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
	if b.compression == bmpRLE8 || b.compression == bmpRLE4 {
		return b.unpackRuns(data)
	}
	stride := (b.w*b.depth + 31) / 32 * 4
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
func (b *bmpHeader) unpackRuns(data []byte) (image.Image, error) {
	img := image.NewPaletted(image.Rect(0, 0, b.w, b.h), b.palette)
	x, y := 0, 0
	set := func(index uint8) {
		if x < b.w && y < b.h {
			row := y
			if !b.topDown {
				row = b.h - 1 - y
			}
			img.Pix[row*img.Stride+x] = index
		}
		x++
	}
	// colour is number i of colours that are packed as the file has them
	colour := func(packed []byte, i int) uint8 {
		if b.compression == bmpRLE8 {
			return packed[i]
		}
		return packed[i/2] >> (4 - i%2*4) & 15
	}
	for len(data) >= 2 {
		n, command := int(data[0]), data[1:2]
		data = data[2:]
		if n > 0 {
			if b.compression == bmpRLE8 {
				command = []byte{command[0], command[0]}
			}
			for i := range n {
				set(colour(command, i%2))
			}
			continue
		}
		switch n = int(command[0]); n {
		case 0:
			x, y = 0, y+1
		case 1:
			return img, nil
		case 2:
			if len(data) < 2 {
				return nil, io.ErrUnexpectedEOF
			}
			x, y = x+int(data[0]), y+int(data[1])
			data = data[2:]
		default:
			size := n
			if b.compression == bmpRLE4 {
				size = (n + 1) / 2
			}
			if len(data) < size+size%2 {
				return nil, io.ErrUnexpectedEOF
			}
			for i := range n {
				set(colour(data, i))
			}
			data = data[size+size%2:]
		}
	}
	if y < b.h-1 {
		return nil, io.ErrUnexpectedEOF
	}
	return img, nil
}
