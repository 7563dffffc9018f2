package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
)

// decodeGIF decodes the first frame as PIL does: the transparent colour keeps
// its place in the palette, and a frame that covers part of the screen lies on
// the transparent or else the first colour. Go's decoder gives the frame alone,
// whose transparent colour is black.
func decodeGIF(data []byte) (image.Image, error) {
	img, err := gif.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	frame, ok := img.(*image.Paletted)
	if !ok {
		return img, nil
	}
	screen := image.Rect(0, 0, int(data[6])|int(data[7])<<8, int(data[8])|int(data[9])<<8)
	out := image.NewPaletted(screen, append(color.Palette(nil), frame.Palette...))
	table := gifColours(data)
	for i, c := range out.Palette {
		if _, _, _, a := c.RGBA(); a > 0 {
			continue
		}
		if 3*i+3 <= len(table) {
			out.Palette[i] = color.RGBA{table[3*i], table[3*i+1], table[3*i+2], 255}
		}
		for k := range out.Pix {
			out.Pix[k] = uint8(i)
		}
	}
	b := frame.Rect.Intersect(screen)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		copy(out.Pix[y*out.Stride+b.Min.X:][:b.Dx()], frame.Pix[frame.PixOffset(b.Min.X, y):])
	}
	return out, nil
}

// gifColours finds the table of colours of the first frame, 3 bytes each.
func gifColours(data []byte) []byte {
	table := func(at int, flags byte) (colours []byte, behind int) {
		if flags&0x80 == 0 {
			return nil, at
		}
		behind = min(at+3<<(flags&7+1), len(data))
		return data[min(at, behind):behind], behind
	}
	global, at := table(13, data[10])
	for at+10 <= len(data) {
		switch data[at] {
		case ',':
			if local, _ := table(at+10, data[at+9]); local != nil {
				return local
			}
			return global
		case '!': // an extension: blocks, each behind its length
			for at += 2; at < len(data) && data[at] > 0; {
				at += 1 + int(data[at])
			}
			at++
		default:
			return global
		}
	}
	return global
}
