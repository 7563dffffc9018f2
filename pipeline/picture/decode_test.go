package picture

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	stdjpeg "image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/relevit/relevit/onnx/memtest"
	"github.com/relevit/relevit/pipeline/picture/jpeg"
)

// TestDecodeEqualsPIL compares every pixel of every shared photograph with
// PIL 13.0 on libjpeg-turbo 3.2: 4:4:4, 4:2:2, 4:2:0, 4:4:0 and grey files.
// Measured difference: none (mean 0, largest 0). The digests are SHA-256 over
// np.asarray(Image.open(f).convert("RGB")) of all files in sorted order.
func TestDecodeEqualsPIL(t *testing.T) {
	shared := sharedDir(t)
	for _, set := range []struct {
		glob, digest string
		files        int
	}{
		{"data/imagenet-samples/*/*", "e40870269d2b7906c1ac5fba8dae4157837d758ceef875c80a9fd03da94db859", 500},
		{"data/pets/images/*", "f192e41e666e131c0ac6b7d2ca4624563cd2c7e4be122d8f60f2d0ac883faf06", 50},
	} {
		files, err := filepath.Glob(filepath.Join(shared, set.glob))
		if err != nil || len(files) != set.files {
			t.Fatalf("%d files match %s, %d expected (%v)", len(files), set.glob, set.files, err)
		}
		digest := sha256.New()
		var p RGB
		for _, f := range files {
			if err := p.ReadFile(f); err != nil {
				t.Fatal(err)
			}
			digest.Write(p.Pix)
		}
		if got := fmt.Sprintf("%x", digest.Sum(nil)); got != set.digest {
			t.Errorf("%s: pixels differ from PIL's, digest %s", set.glob, got)
		}
	}
}

func encodeWith(t testing.TB, encode func(b *bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecodeDropsAlphaWithoutBlending(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	img.SetNRGBA(0, 0, color.NRGBA{200, 100, 50, 3})
	img.SetNRGBA(1, 0, color.NRGBA{10, 20, 30, 0})
	var p RGB
	if err := p.Decode(encodeWith(t, func(b *bytes.Buffer) error { return png.Encode(b, img) })); err != nil {
		t.Fatal(err)
	}
	if want := []uint8{200, 100, 50, 10, 20, 30}; !bytes.Equal(p.Pix, want) {
		t.Errorf("pixels %v, want %v", p.Pix, want)
	}
}

func TestDecodeKnowsFormatsByContent(t *testing.T) {
	img := image.NewPaletted(image.Rect(0, 0, 9, 7), color.Palette{color.RGBA{1, 2, 3, 255}, color.RGBA{250, 128, 7, 255}})
	for i := range img.Pix {
		img.Pix[i] = uint8(i % 2)
	}
	for name, data := range map[string][]byte{
		"png":  encodeWith(t, func(b *bytes.Buffer) error { return png.Encode(b, img) }),
		"gif":  encodeWith(t, func(b *bytes.Buffer) error { return gif.Encode(b, img, nil) }),
		"bmp":  encodeWith(t, func(b *bytes.Buffer) error { return bmp.Encode(b, img) }),
		"tiff": encodeWith(t, func(b *bytes.Buffer) error { return tiff.Encode(b, img, nil) }),
	} {
		var p RGB
		if err := p.Decode(data); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.W != 9 || p.H != 7 || !bytes.Equal(p.Pix[:6], []uint8{1, 2, 3, 250, 128, 7}) {
			t.Errorf("%s: %dx%d, pixels %v", name, p.W, p.H, p.Pix[:6])
		}
	}
}

func TestSixteenBitGreyIsCutOffAt255AsInPIL(t *testing.T) {
	img := image.NewGray16(image.Rect(0, 0, 2, 1))
	img.SetGray16(0, 0, color.Gray16{Y: 0x9c31})
	img.SetGray16(1, 0, color.Gray16{Y: 0x31})
	var p RGB
	if err := p.Decode(encodeWith(t, func(b *bytes.Buffer) error { return png.Encode(b, img) })); err != nil {
		t.Fatal(err)
	}
	if p.Pix[0] != 255 || p.Pix[3] != 0x31 {
		t.Errorf("levels %v", p.Pix)
	}
}

func TestBadFilesGiveOneErrorThatNamesTheFile(t *testing.T) {
	photo := image.NewRGBA(image.Rect(0, 0, 50, 40))
	jpegData := encodeWith(t, func(b *bytes.Buffer) error { return stdjpeg.Encode(b, photo, nil) })
	pngData := encodeWith(t, func(b *bytes.Buffer) error { return png.Encode(b, photo) })
	huge := bytes.Clone(pngData)
	copy(huge[16:24], []byte{0, 1, 0, 0, 0, 1, 0, 0}) // 65536 x 65536 in the header
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"cut.jpg":   jpegData[:len(jpegData)*2/3],
		"cut.png":   pngData[:len(pngData)/2],
		"text.jpg":  []byte("not an image"),
		"empty.png": {},
		"huge.png":  huge,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := ReadFile(path)
		var fileError *Error
		if !errors.As(err, &fileError) || fileError.Path != path || fileError.ExitCode() != 3 || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := ReadFile(dir); err == nil {
		t.Error("a folder was decoded")
	}
	_, err := ReadFile(filepath.Join(dir, "absent.png"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}

// TestBombsTakeNoMemory decodes files of few bytes that say how large they are.
func TestBombsTakeNoMemory(t *testing.T) {
	sized := func(data []byte, at int, width int, big bool) []byte {
		data = bytes.Clone(data)
		for i := range 2 {
			switch {
			case big && width == 4:
				binary.BigEndian.PutUint32(data[at+4*i:], 14000)
			case big:
				binary.BigEndian.PutUint16(data[at+2*i:], 14000)
			case width == 4:
				binary.LittleEndian.PutUint32(data[at+4*i:], 14000)
			default:
				binary.LittleEndian.PutUint16(data[at+2*i:], 14000)
			}
		}
		return data
	}
	img := image.NewGray(image.Rect(0, 0, 8, 8))
	p := encodeWith(t, func(b *bytes.Buffer) error { return png.Encode(b, img) })
	sum := crc32.ChecksumIEEE(sized(p, 16, 4, true)[12:29])
	j := encodeWith(t, func(b *bytes.Buffer) error { return stdjpeg.Encode(b, img, nil) })
	for name, data := range map[string][]byte{
		"png":                     append(sized(p, 16, 4, true)[:29], append(binary.BigEndian.AppendUint32(nil, sum), p[33:]...)...),
		"jpeg":                    sized(j, bytes.Index(j, []byte{0xff, 0xc0})+5, 2, true),
		"gif":                     sized(encodeWith(t, func(b *bytes.Buffer) error { return gif.Encode(b, img, nil) }), 6, 2, false),
		"bmp":                     sized(encodeWith(t, func(b *bytes.Buffer) error { return bmp.Encode(b, img) }), 18, 4, false),
		"webp":                    blankWebP(14000, 14000),
		"tiff":                    sizedTIFF(14000),
		"webp in a header of 8x8": extendedWebP(8, 8, blankWebP(14000, 14000)),
		"tiff in tiles":           tiledTIFF(8, 14000),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := new(RGB).Decode(data)
		masked := new(Gray).DecodeMask(data, MaskOptions{})
		runtime.ReadMemStats(&after)
		if err == nil || masked == nil || !strings.Contains(err.Error(), "14000") {
			t.Errorf("%s: %v, as a mask %v", name, err, masked)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s took %d bytes", name, n)
		}
	}
}

// blankWebP is a whole lossless file: a size, and five codes of one symbol, so
// that a pixel takes no bit.
func blankWebP(w, h uint32) []byte {
	data := []byte("RIFF\x18\x00\x00\x00WEBPVP8L\x0b\x00\x00\x00\x2f")
	data = binary.LittleEndian.AppendUint32(data, w-1|(h-1)<<14)
	return append(data, 0x88, 0x88, 0x08, 0, 0, 0, 0)
}

// extendedWebP puts a still file's picture behind a header that states a size.
func extendedWebP(w, h uint32, still []byte) []byte {
	data := []byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00")
	for _, n := range []uint32{w - 1, h - 1} {
		data = append(data, byte(n), byte(n>>8), byte(n>>16))
	}
	data = append(data, still[12:]...)
	binary.LittleEndian.PutUint32(data[4:], uint32(len(data)-8))
	return data
}

func TestPicturesOfOneColourMayBeDense(t *testing.T) {
	var p RGB
	if err := p.Decode(blankWebP(2800, 2900)); err != nil || p.W != 2800 || p.H != 2900 {
		t.Errorf("%dx%d: %v", p.W, p.H, err)
	}
}

// TestCutPicturesAreRefusedBeforeTheyAreDecoded cuts each form of a picture at
// every byte: whatever isn't decoded any more because bytes are missing says so
// by its structure alone, but for those whose codes end early by themselves.
func TestCutPicturesAreRefusedBeforeTheyAreDecoded(t *testing.T) {
	for name, data := range formatFiles(t) {
		if strings.HasSuffix(name, ".rgb") {
			continue
		}
		for n := range data {
			cut := data[:n]
			decoded, checked := new(RGB).Decode(cut), checkFile(bytes.NewReader(cut), int64(n))
			if n > 0 && (decoded == nil) != (checked == nil) {
				t.Errorf("%s cut at %d of %d: %v, before decoding %v", name, n, len(data), decoded, checked)
				break
			}
		}
	}
}

// large tells pictures that fuzzing has no time for, by their header.
func large(data []byte) bool { return statedPixels(data) > 1<<20 }

// statedPixels is how many pixels the header states.
func statedPixels(data []byte) int {
	if c, err := jpeg.DecodeConfig(data); err == nil {
		return c.Width * c.Height
	}
	f, err := formatOf(data)
	if err != nil {
		return 0
	}
	c, err := f.config(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return 0
	}
	return c.Width * c.Height
}

// decodedWithin fails the test where decoding takes more memory than what a
// decoder holds for each pixel that the header states, in 16 bits a channel
// and converted, and some of the file's content.
func decodedWithin(t *testing.T, data []byte, decode func()) {
	t.Helper()
	memtest.Within(t, len(data)+statedPixels(data), 40, 2<<20, decode)
}

// sizedTIFF is a file that says how large it is, and little more.
func sizedTIFF(size uint32) []byte {
	return taggedTIFF([][2]uint32{{tiffWidth, size}, {tiffHeight, size}, {tiffBits, 8}, {tiffStrips, 8}, {tiffRowsPerStrip, size}, {tiffStripBytes, 40}})
}

// tiledTIFF is a small picture in one tile of another width.
func tiledTIFF(size, tile uint32) []byte {
	return taggedTIFF([][2]uint32{{tiffWidth, size}, {tiffHeight, size}, {tiffBits, 8}, {tiffTileWidth, tile}, {tiffTileHeight, size}, {tiffTiles, 8}, {tiffTileBytes, 40}})
}

// taggedTIFF is a file of one number to a tag.
func taggedTIFF(tags [][2]uint32) []byte {
	data := []byte("II*\x00\x08\x00\x00\x00")
	data = binary.LittleEndian.AppendUint16(data, uint16(len(tags)))
	for _, tag := range tags {
		data = binary.LittleEndian.AppendUint16(data, uint16(tag[0]))
		data = binary.LittleEndian.AppendUint16(data, 4)
		data = binary.LittleEndian.AppendUint32(data, 1)
		data = binary.LittleEndian.AppendUint32(data, tag[1])
	}
	return append(data, 0, 0, 0, 0)
}

func FuzzDecode(f *testing.F) {
	img := image.NewNRGBA(image.Rect(0, 0, 5, 4))
	f.Add(encodeWith(f, func(b *bytes.Buffer) error { return stdjpeg.Encode(b, img, nil) }))
	f.Add(blankWebP(5, 4))
	for name, data := range formatFiles(f) {
		if !strings.HasSuffix(name, ".rgb") {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var err error
		memtest.Within(t, len(data), 16, 1<<20, func() { checkFile(bytes.NewReader(data), int64(len(data))) })
		if large(data) {
			return
		}
		var p RGB
		decodedWithin(t, data, func() { err = p.Decode(data) })
		if err == nil && len(p.Pix) != 3*p.W*p.H {
			t.Fatalf("%dx%d has %d samples", p.W, p.H, len(p.Pix))
		}
		if whole := checkFile(bytes.NewReader(data), int64(len(data))); err == nil && whole != nil {
			t.Fatalf("it is refused before it is decoded: %v", whole)
		}
	})
}

func BenchmarkDecodePhotograph(b *testing.B) {
	files, err := filepath.Glob(filepath.Join(sharedDir(b), "data/imagenet-samples/*/*"))
	if err != nil {
		b.Fatal(err)
	}
	var data [][]byte
	for _, f := range files[:100] {
		d, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		data = append(data, d)
	}
	b.ReportAllocs()
	var p RGB
	count := 0
	for b.Loop() {
		if err := p.Decode(data[count%len(data)]); err != nil {
			b.Fatal(err)
		}
		count++
	}
	b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "images/s")
}
