package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"iter"

	"golang.org/x/image/webp"
)

// decodeWebP decodes a WebP file, of an animation the first frame. Lossy ones
// get libwebp's colours: golang.org/x/image decodes the same Y, Cb and Cr, but
// takes them for JPEG's full range and repeats chroma instead of interpolating.
func (p *RGB) decodeWebP(data []byte) error {
	if err := wholeWebP(bytes.NewReader(data), int64(len(data))); err != nil { // as libwebp, even if the bytes aren't needed
		return explain(err)
	}
	frame, at, size, err := firstFrame(data)
	if err != nil {
		return err
	}
	if err := checkBitstream(frame.data, frame.size); err != nil {
		return err
	}
	img, err := webp.Decode(bytes.NewReader(frame.data))
	if err != nil {
		return explain(err)
	}
	var q RGB
	switch m := img.(type) {
	case *image.YCbCr:
		q.fromVP8(m)
	case *image.NYCbCrA:
		q.fromVP8(&m.YCbCr)
	default:
		q.convert(img)
	}
	if size == (image.Point{}) || size == q.Bounds().Size() {
		*p = q
		return nil
	}
	*p = *NewRGB(size.X, size.Y) // black where the frame doesn't reach
	p.paste(&q, at.X, at.Y)
	return nil
}

// webpStill is a file of one picture, whose header states a size; none where there
// is only the coded picture.
type webpStill struct {
	data []byte
	size image.Point
}

// firstFrame makes a still file of an animation's first frame, which lies at a
// place of a screen; any other file is given back as it is, with no screen.
func firstFrame(data []byte) (frame webpStill, at, screen image.Point, err error) {
	frame.data = data
	if len(data) < 30 || string(data[12:16]) != "VP8X" {
		return frame, at, screen, nil
	}
	u24 := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
	canvas := image.Pt(u24(data[24:])+1, u24(data[27:])+1)
	if data[20]&2 == 0 {
		frame.size = canvas
		return frame, at, screen, nil
	}
	for kind, content := range chunks(data) {
		if kind != "ANMF" || len(content) < 24 {
			continue
		}
		at = image.Pt(2*u24(content), 2*u24(content[3:]))
		frame.size = image.Pt(u24(content[6:])+1, u24(content[9:])+1)
		if end := at.Add(frame.size); end.X > canvas.X || end.Y > canvas.Y {
			return frame, at, canvas, fmt.Errorf("a frame of %v at %v, outside of its %v pixels", frame.size, at, canvas)
		}
		head := []byte("RIFF\x00\x00\x00\x00WEBP")
		if bytes.HasPrefix(content[16:], []byte("ALPH")) {
			head = append(head, "VP8X\x0a\x00\x00\x00\x10\x00\x00\x00"...) // with alpha
			head = append(head, content[6:12]...)                          // width and height less one
		}
		frame.data = append(head, content[16:]...)
		binary.LittleEndian.PutUint32(frame.data[4:], uint32(len(frame.data)-8))
		return frame, at, canvas, nil
	}
	return frame, at, canvas, errors.New("the file is truncated: an animation without a frame")
}

// chunks lists the parts of a WebP file with their kinds, as far as they are whole.
func chunks(data []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for rest := data[12:]; len(rest) >= 8; {
			size := int64(binary.LittleEndian.Uint32(rest[4:]))
			if size > int64(len(rest)-8) || !yield(string(rest[:4]), rest[8:8+size]) {
				return
			}
			rest = rest[min(8+size+size&1, int64(len(rest))):]
		}
	}
}

// checkBitstream checks the size that the coded picture itself states, which may
// be another than the file's header says: libwebp refuses that, too.
func checkBitstream(data []byte, stated image.Point) error {
	for kind, c := range chunks(data) {
		var size image.Point
		switch {
		case kind == "VP8 " && len(c) >= 10:
			size = image.Pt(int(binary.LittleEndian.Uint16(c[6:])&0x3fff), int(binary.LittleEndian.Uint16(c[8:])&0x3fff))
		case kind == "VP8L" && len(c) >= 5:
			bits := binary.LittleEndian.Uint32(c[1:])
			size = image.Pt(int(bits&0x3fff)+1, int(bits>>14&0x3fff)+1)
		default:
			continue
		}
		if stated != (image.Point{}) && size != stated {
			return fmt.Errorf("the coded picture is of %dx%d pixels, the header says %dx%d", size.X, size.Y, stated.X, stated.Y)
		}
		return checkSize(size.X, size.Y)
	}
	return nil
}

// fromVP8 converts as libwebp does: chroma is interpolated, with weights of 9, 3,
// 3 and 1 sixteenths for the nearest samples, and Y from 16 to 235 is stretched.
func (p *RGB) fromVP8(m *image.YCbCr) {
	p.reset(m.Rect.Dx(), m.Rect.Dy())
	columns, rows := (p.W+1)/2, (p.H+1)/2
	mix := func(c []uint8, x, y int) int {
		// near is the sample that covers the pixel, far the next one on its side
		nearX, nearY := x/2, y/2
		farX, farY := min(max(nearX-1+2*(x&1), 0), columns-1), min(max(nearY-1+2*(y&1), 0), rows-1)
		near, side := int(c[nearY*m.CStride+nearX]), int(c[nearY*m.CStride+farX])
		over, across := int(c[farY*m.CStride+nearX]), int(c[farY*m.CStride+farX])
		if nearX == farX { // the first and last column: of two samples only
			return (3*near + over + 2) >> 2
		}
		diagonal := (near + side + over + across + 8 + 2*(side+over)) >> 3
		return (diagonal + near) >> 1
	}
	p.fill(func(x, y int) (r, g, b uint8) {
		luma := int(m.Y[y*m.YStride+x]) * 19077 >> 8
		u, v := mix(m.Cb, x, y), mix(m.Cr, x, y)
		return clip6(luma + v*26149>>8 - 14234), clip6(luma - u*6419>>8 - v*13320>>8 + 8708), clip6(luma + u*33050>>8 - 17685)
	})
}

// clip6 drops six fractional bits.
func clip6(v int) uint8 { return uint8(min(max(v>>6, 0), 255)) }
