package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/png"
	"io"
	"os"

	"golang.org/x/image/webp"

	"github.com/relevit/relevit/pipeline/picture/jpeg"
)

// MaxPixels is the largest picture that is decoded; the header is asked first.
const MaxPixels = 200_000_000

// format is a format besides JPEG. It is told by the first bytes, never by a
// file's name; ? stands for any.
type format struct {
	name, magic string
	config      func(r io.ReaderAt, size int64) (image.Config, error)
	whole       func(r io.ReaderAt, size int64) error // whether it is cut off, see checkFile
	decode      func(data []byte) (image.Image, error)
	densest     int  // see checkStated
	blank       bool // pictures of one colour may be denser
}

var formats = []format{
	{"png", "\x89PNG\r\n\x1a\n", from(png.DecodeConfig), wholePNG, decodePNG, 8 * 1032, false},
	{"gif", "GIF8?a", from(gif.DecodeConfig), wholeGIF, decodeGIF, 4096, false},
	{"bmp", "BM", decodeBMPConfig, wholeBMP, decodeBMP, 128, false},
	{"tiff", "II*\x00", decodeTIFFConfig, wholeTIFF, decodeTIFF, 1 << 15, true},
	{"tiff", "MM\x00*", decodeTIFFConfig, wholeTIFF, decodeTIFF, 1 << 15, true},
	{"webp", "RIFF????WEBP", from(webp.DecodeConfig), wholeWebP, inMemory(webp.Decode), 1 << 15, true},
}

// decodePNG keeps 16-bit grey apart from grey with alpha: Go's decoder makes the
// same of both where one level is transparent.
func decodePNG(data []byte) (image.Image, error) {
	img, err := png.Decode(bytes.NewReader(data))
	m, ok := img.(*image.NRGBA64)
	if err != nil || !ok || data[25] != 0 { // colour type: grey
		return img, err
	}
	grey := image.NewGray16(m.Rect)
	for i := range len(grey.Pix) / 2 {
		copy(grey.Pix[2*i:2*i+2], m.Pix[8*i:])
	}
	return grey, nil
}

// densestJPEG is that of JPEG: each block takes a bit.
const densestJPEG = 8 * 64

// mostOfOneColour is up to how many pixels a file of a format with codes that
// take no bit for a pixel, or one for a row, may hold in any number of bytes.
// What larger ones are held to is beyond any mask of an object.
const mostOfOneColour = 1 << 23

func formatOf(data []byte) (*format, error) {
	for i, f := range formats {
		if len(data) < len(f.magic) {
			continue
		}
		same := true
		for k := range f.magic {
			same = same && (f.magic[k] == '?' || f.magic[k] == data[k])
		}
		if same {
			return &formats[i], nil
		}
	}
	return nil, errors.New("not an image in a known format (JPEG, PNG, GIF, BMP, TIFF, WebP)")
}

// maxFileBytes bounds what is read of one image file.
const maxFileBytes = 1 << 30

// ErrTooLarge is wrapped where a picture has more than MaxPixels pixels.
var ErrTooLarge = errors.New("picture is too large")

// Error is what every function here returns for a file that cannot be used.
type Error struct {
	Path    string
	Doing   string // such as "decode image"
	Err     error
	Content bool // the file could be read, but what it holds is unusable
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Doing, e.Path, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// ExitCode is that of a bad input file.
func (e *Error) ExitCode() int { return 3 }

// ReadFile decodes an image file as PIL's Image.open(path).convert("RGB") does:
// alpha is dropped, not blended, and an EXIF orientation is not applied.
// JPEG, PNG, GIF and WebP (first frame), BMP and TIFF are known by their content.
// Every pixel equals PIL's; of 16-bit grey that means cut off at 255.
func ReadFile(path string) (*RGB, error) {
	p := new(RGB)
	if err := p.ReadFile(path); err != nil {
		return nil, err
	}
	return p, nil
}

// ReadFile is like the function, but reuses p's memory.
func (p *RGB) ReadFile(path string) error {
	return use(path, "decode image", p.Decode)
}

// use hands a file's content to decode, and names the file in any error.
func use(path, doing string, decode func(data []byte) error) error {
	f, size, err := openFile(path)
	if err != nil {
		return &Error{Path: path, Doing: doing, Err: err}
	}
	defer f.Close()
	in := &recording{ReaderAt: f}
	if err := checkFile(in, size); in.err != nil {
		return &Error{Path: path, Doing: doing, Err: reason(in.err)}
	} else if err != nil {
		return &Error{Path: path, Doing: doing, Err: err, Content: true}
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return &Error{Path: path, Doing: doing, Err: reason(err)}
	}
	if err := decode(data); err != nil {
		return &Error{Path: path, Doing: doing, Err: err, Content: true}
	}
	return nil
}

// recording keeps the error of a file that can't be read, which decoders take for
// its end.
type recording struct {
	io.ReaderAt
	err error
}

func (r *recording) ReadAt(p []byte, at int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, at)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func openFile(path string) (f *os.File, size int64, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, 0, reason(err)
	case info.IsDir():
		return nil, 0, errors.New("is a folder, not an image file")
	case !info.Mode().IsRegular(): // opening a pipe waits
		return nil, 0, errors.New("is no file")
	case info.Size() > maxFileBytes:
		return nil, 0, fmt.Errorf("%w: file of %d bytes, at most %d are read", ErrTooLarge, info.Size(), maxFileBytes)
	}
	if f, err = os.Open(path); err != nil {
		return nil, 0, reason(err)
	}
	return f, info.Size(), nil
}

// reason drops the path that os errors repeat.
func reason(err error) error {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// Decode decodes an image file's content into p, reusing p's memory.
func (p *RGB) Decode(data []byte) (err error) {
	defer recovered(&err)
	if len(data) == 0 {
		return errors.New("the file is empty")
	}
	if isJPEG(data) {
		return p.decodeJPEG(data)
	}
	if f, err := formatOf(data); err == nil && f.name == "webp" {
		if err := f.check(bytes.NewReader(data), int64(len(data))); err != nil {
			return err
		}
		return p.decodeWebP(data)
	}
	img, err := decodeStandard(data)
	if err != nil {
		return err
	}
	p.convert(img)
	return nil
}

func isJPEG(data []byte) bool { return len(data) > 2 && data[0] == 0xff && data[1] == 0xd8 }

// recovered turns a panic of a decoder, ours or a library's, into an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the decoder failed on corrupt data: %v", r)
	}
}

func decodeStandard(data []byte) (image.Image, error) {
	f, err := formatOf(data)
	if err == nil {
		err = f.check(bytes.NewReader(data), int64(len(data)))
	}
	if err != nil {
		return nil, err
	}
	img, err := f.decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, explain(err))
	}
	return img, nil
}

// check checks the size that a file's header states.
func (f *format) check(r io.ReaderAt, size int64) error {
	config, err := f.config(r, size)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, explain(err))
	}
	return checkStated(config.Width, config.Height, f.name, f.densest, f.blank, int(size))
}

// explain says what an early end means. It never wraps io.EOF, by which callers
// know the end of their own list.
func explain(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the file is truncated: %w", err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the file is truncated: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// checkStated checks a size that a file's header states, also against what so
// many bytes can fill: memory is taken before their end shows. densest is how
// many pixels a byte can hold: deflate makes no more than 1032 bytes of one, an
// LZW code of 12 bits no more than 4096 pixels, and two bytes of run lengths
// 255. With blank, small pictures aren't held to it.
func checkStated(w, h int, format string, densest int, blank bool, bytes int) error {
	if err := checkSize(w, h); err != nil {
		return err
	}
	if w*h/densest <= bytes || blank && w*h <= mostOfOneColour {
		return nil
	}
	return fmt.Errorf("the file is truncated, or a bomb: %s says %dx%d pixels in %d bytes", format, w, h, bytes)
}

func checkSize(w, h int) error {
	if w <= 0 || h <= 0 {
		return fmt.Errorf("size %dx%d", w, h)
	}
	if w > MaxPixels/h {
		return fmt.Errorf("%w: %dx%d pixels, at most %d are decoded", ErrTooLarge, w, h, MaxPixels)
	}
	return nil
}

func (p *RGB) decodeJPEG(data []byte) error {
	config, err := jpeg.DecodeConfig(data)
	if err != nil {
		return err
	}
	if err := checkStated(config.Width, config.Height, "jpeg", densestJPEG, false, len(data)); err != nil {
		return err
	}
	img, err := jpeg.Decode(data, p.Pix)
	if err != nil {
		return err
	}
	switch img.Channels {
	case 3:
		p.W, p.H, p.Pix = img.Width, img.Height, img.Pix
	case 1:
		// The samples may lie in p's own memory: expand into fresh memory.
		*p = *NewRGB(img.Width, img.Height)
		for i, v := range img.Pix {
			p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2] = v, v, v
		}
	case 4:
		*p = *NewRGB(img.Width, img.Height)
		for i := range img.Width * img.Height {
			cmyk := img.Pix[4*i : 4*i+4]
			for k := range 3 {
				p.Pix[3*i+k] = inkToRGB(255-cmyk[k], 255-cmyk[3])
			}
		}
	}
	return nil
}

// inkToRGB is PIL's conversion of one ink and black, both 255 for full ink.
func inkToRGB(ink, black uint8) uint8 {
	light := int(255 - black)
	t := int(ink)*light + 128
	return uint8(max(light-(t>>8+t)>>8, 0))
}
