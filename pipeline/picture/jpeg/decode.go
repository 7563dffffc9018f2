// Package jpeg decodes baseline, extended and progressive Huffman JPEG files
// to the same pixels as libjpeg-turbo with its default settings, and so as PIL:
// the accurate integer inverse DCT, triangle-filtered chroma upsampling and the
// 16-bit fixed-point colour conversion. Go's own image/jpeg differs in all
// three by up to dozens of levels, which would change what a model sees.
//
// Terms are those of ITU-T T.81: a frame has components, each sampled at h x v
// relative to the largest; scans carry coefficients of 8x8 blocks, grouped in
// MCUs where a scan interleaves several components.
package jpeg

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors that Decode wraps: a file that ends too early or breaks the format,
// and one that uses a coding process which this decoder lacks.
var (
	ErrTruncated   = errors.New("JPEG data is truncated")
	ErrCorrupt     = errors.New("JPEG data is corrupt")
	ErrUnsupported = errors.New("JPEG feature is not supported")
)

// Config is what a file's frame header says.
type Config struct {
	Width, Height int
	Channels      int // 1 grey, 3 colour, 4 CMYK
}

// Image holds interleaved 8-bit samples, shape (Height,Width,Channels):
// grey for one channel, RGB for three, and for four CMYK exactly as stored,
// which in practice means inverted as Adobe writes it (255 is no ink).
type Image struct {
	Config
	Pix []uint8
}

const (
	markerSOF0  = 0xc0
	markerSOF1  = 0xc1
	markerSOF2  = 0xc2
	markerDHT   = 0xc4
	markerJPG   = 0xc8
	markerDAC   = 0xcc
	markerSOF15 = 0xcf
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDRI   = 0xdd
	markerAPP0  = 0xe0
	markerAPP14 = 0xee
	markerTEM   = 0x01

	maxScans = 1000 // bounds the work that a hostile progressive file can ask for
)

// Natural (row-major) position of the k-th coefficient in zig-zag order,
// with places behind the last that corrupt data lead to.
var natural = [128]uint8{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
}

type component struct {
	id            uint8
	h, v          int // sampling factors
	quantIndex    uint8
	width, height int // samples that the image needs
	blocksX       int // blocks across, without the padding to whole MCUs
	blocksY       int
	stride        int     // samples a row of plane, whole MCUs
	rows          int     // rows of plane, whole MCUs
	plane         []byte  // (rows,stride)
	coefs         []block // of all rows, or of one row of MCUs
	quant         *[64]int32
}

type decoder struct {
	data   []byte
	pos    int
	window *window // of a check, which decodes scans but no samples; nil for decoding

	width, height   int
	hMax, vMax      int
	mcusX, mcusY    int
	comps           []component
	progressive     bool
	restartInterval int
	scans           int

	quant      [4]*[64]int32 // natural order
	dc, ac     [4]*huffman
	jfif       bool
	adobe      bool
	adobeColor uint8
	scratch    *scratch
}

// DecodeConfig reads the markers up to the frame header.
func DecodeConfig(data []byte) (Config, error) {
	d := decoder{data: data}
	if err := d.markers(true); err != nil {
		return Config{}, err
	}
	return d.config(), nil
}

// Decode decodes a whole file. The samples go to pix's memory where its
// capacity suffices. Files which are cut off are errors, never grey areas.
func Decode(data, pix []byte) (*Image, error) {
	d := decoder{data: data, scratch: scratchPool.Get().(*scratch)}
	defer scratchPool.Put(d.scratch)
	if err := d.markers(false); err != nil {
		return nil, err
	}
	if d.progressive {
		for i := range d.comps {
			d.reconstruct(&d.comps[i], 0, d.comps[i].blocksY)
		}
	}
	img := &Image{Config: d.config()}
	n := d.width * d.height * img.Channels
	if cap(pix) < n {
		pix = make([]byte, n)
	}
	img.Pix = pix[:n]
	d.output(img.Pix)
	return img, nil
}

func (d *decoder) config() Config {
	return Config{Width: d.width, Height: d.height, Channels: len(d.comps)}
}

// markers walks the file; with configOnly it stops after the frame header.
func (d *decoder) markers(configOnly bool) error {
	if len(d.data) < 2 || d.data[0] != 0xff || d.data[1] != markerSOI {
		return fmt.Errorf("%w: no SOI marker at the start", ErrCorrupt)
	}
	d.pos = 2
	for {
		if err := d.slide(nil); err != nil {
			return err
		}
		marker, err := d.nextMarker()
		if err != nil {
			return err
		}
		switch {
		case marker == markerEOI:
			return d.end()
		case marker == markerTEM || marker >= markerRST0 && marker <= markerRST7:
			continue
		}
		segment, err := d.segment(marker)
		if err != nil {
			return err
		}
		if err := d.process(marker, segment); err != nil {
			return err
		}
		if configOnly && d.comps != nil || marker == markerSOS && !d.progressive && d.end() == nil {
			return nil
		}
	}
}

// end checks that the scans so far make a picture.
func (d *decoder) end() error {
	if d.comps == nil {
		return fmt.Errorf("%w: no frame header", ErrCorrupt)
	}
	for i := range d.comps {
		if d.comps[i].quant == nil {
			return fmt.Errorf("%w: no scan has component %d of %d", ErrTruncated, i, len(d.comps))
		}
	}
	return nil
}

// slide lets a check see what comes next: all of a scan's row, if there is one.
func (d *decoder) slide(s *scanState) error {
	if d.window == nil {
		return nil
	}
	if s == nil {
		return d.window.slide(d, 0)
	}
	d.pos = s.r.pos
	err := d.window.slide(d, d.longestRow(s))
	s.r.data, s.r.pos = d.data, d.pos
	return err
}

// nextMarker skips stray bytes, as libjpeg does, and fill bytes.
func (d *decoder) nextMarker() (uint8, error) {
	for d.pos+1 < len(d.data) {
		if d.data[d.pos] != 0xff {
			d.pos++
			continue
		}
		if m := d.data[d.pos+1]; m != 0 && m != 0xff {
			d.pos += 2
			return m, nil
		}
		d.pos++
	}
	return 0, fmt.Errorf("%w: it ends at byte %d without an end marker", ErrTruncated, len(d.data))
}

func (d *decoder) segment(marker uint8) ([]byte, error) {
	rest := d.data[d.pos:]
	if len(rest) < 2 {
		return nil, fmt.Errorf("%w: it ends in the length of marker %#x", ErrTruncated, marker)
	}
	n := int(binary.BigEndian.Uint16(rest))
	if n < 2 {
		return nil, fmt.Errorf("%w: marker %#x has length %d", ErrCorrupt, marker, n)
	}
	if n > len(rest) {
		return nil, fmt.Errorf("%w: marker %#x needs %d bytes, %d are left", ErrTruncated, marker, n, len(rest))
	}
	d.pos += n
	return rest[2:n], nil
}

func (d *decoder) process(marker uint8, s []byte) error {
	switch marker {
	case markerSOF0, markerSOF1, markerSOF2:
		d.progressive = marker == markerSOF2
		return d.frame(s)
	case markerDHT:
		return d.huffmanTables(s)
	case markerDQT:
		return d.quantTables(s)
	case markerDRI:
		if len(s) != 2 {
			return fmt.Errorf("%w: restart interval of %d bytes", ErrCorrupt, len(s))
		}
		d.restartInterval = int(binary.BigEndian.Uint16(s))
	case markerSOS:
		return d.scan(s)
	case markerAPP0:
		d.jfif = d.jfif || len(s) >= 5 && string(s[:5]) == "JFIF\x00"
	case markerAPP14:
		if len(s) >= 12 && string(s[:5]) == "Adobe" {
			d.adobe, d.adobeColor = true, s[11]
		}
	case markerDAC:
		return fmt.Errorf("%w: arithmetic coding", ErrUnsupported)
	default:
		if marker > markerSOF2 && marker <= markerSOF15 && marker != markerJPG {
			return fmt.Errorf("%w: coding process %#x (lossless, hierarchical or arithmetic)", ErrUnsupported, marker)
		}
	}
	return nil
}

func (d *decoder) quantTables(s []byte) error {
	for len(s) > 0 {
		wide, index := s[0]>>4, s[0]&15
		size := 64
		if wide != 0 {
			size = 128
		}
		if wide > 1 || index > 3 || len(s) < 1+size {
			return fmt.Errorf("%w: quantization table %#x with %d bytes", ErrCorrupt, s[0], len(s)-1)
		}
		table := new([64]int32)
		for k := range 64 {
			if wide != 0 {
				table[natural[k]] = int32(binary.BigEndian.Uint16(s[1+2*k:]))
			} else {
				table[natural[k]] = int32(s[1+k])
			}
		}
		d.quant[index] = table
		s = s[1+size:]
	}
	return nil
}
