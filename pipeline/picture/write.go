package picture

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
)

// quick compresses an overlay of 224x224 in an eighth of the usual time, by
// which explaining pictures would be limited.
var quick = png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: &buffers{}}

// buffers keeps the memory of encoders.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() *png.EncoderBuffer {
	e, _ := b.pool.Get().(*png.EncoderBuffer)
	return e
}

func (b *buffers) Put(e *png.EncoderBuffer) { b.pool.Put(e) }

// WritePNG encodes p.
func (p *RGB) WritePNG(w io.Writer) error {
	rgba := image.NewNRGBA(p.Bounds())
	for i := range p.W * p.H {
		o := rgba.Pix[4*i : 4*i+4]
		o[0], o[1], o[2], o[3] = p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2], 255
	}
	return quick.Encode(w, rgba)
}

// WritePNG16 encodes m in 16 bits of grey.
func (m *Gray) WritePNG16(w io.Writer) error {
	gray := image.NewGray16(image.Rect(0, 0, m.W, m.H))
	for i, v := range m.Pix {
		binary.BigEndian.PutUint16(gray.Pix[2*i:], uint16(math.Round(math.MaxUint16*float64(min(max(v, 0), 1)))))
	}
	return quick.Encode(w, gray)
}

// WritePNG encodes m as an 8-bit mask, 0 to 255.
func (m *Gray) WritePNG(w io.Writer) error {
	gray := image.NewGray(image.Rect(0, 0, m.W, m.H))
	for i, v := range m.Pix {
		gray.Pix[i] = uint8(math.Round(255 * float64(min(max(v, 0), 1))))
	}
	return png.Encode(w, gray)
}

// SavePNG writes a PNG file; a reader never sees part of it.
func (p *RGB) SavePNG(path string) error { return writeFile(path, p.WritePNG) }

// SavePNG writes a mask file; a reader never sees part of it.
func (m *Gray) SavePNG(path string) error { return writeFile(path, m.WritePNG) }

// writeFile makes a file appear whole or not at all, whatever interrupts it:
// write fills a temporary file in the same folder, which is synced and renamed.
func writeFile(path string, write func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return reason(err)
	}
	defer os.Remove(f.Name()) // nothing is left there after the rename
	defer f.Close()
	b := bufio.NewWriter(f)
	if err := write(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return reason(err)
	}
	if err := f.Chmod(0o644); err != nil {
		return reason(err)
	}
	if err := f.Sync(); err != nil {
		return reason(err)
	}
	if err := f.Close(); err != nil {
		return reason(err)
	}
	return os.Rename(f.Name(), path)
}
