package picture

import (
	"encoding/binary"
	"image"
	"image/png"
	"io"
	"math"
	"sync"

	"github.com/relevit/relevit/models/atomic"
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
func (p *RGB) SavePNG(path string) error { return atomic.Write(path, p.WritePNG) }

// SavePNG writes a mask file; a reader never sees part of it.
func (m *Gray) SavePNG(path string) error { return atomic.Write(path, m.WritePNG) }
