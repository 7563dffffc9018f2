package picture

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func grayPNG(t testing.TB, levels ...uint8) []byte {
	img := &image.Gray{Pix: levels, Stride: len(levels), Rect: image.Rect(0, 0, len(levels), 1)}
	return encodeWith(t, func(b *bytes.Buffer) error { return png.Encode(b, img) })
}

func gray16PNG(t testing.TB, levels ...uint16) []byte {
	img := image.NewGray16(image.Rect(0, 0, len(levels), 1))
	for i, v := range levels {
		img.SetGray16(i, 0, color.Gray16{Y: v})
	}
	return encodeWith(t, func(b *bytes.Buffer) error { return png.Encode(b, img) })
}

func colourPNG(t testing.TB, colours ...color.RGBA) []byte {
	img := image.NewRGBA(image.Rect(0, 0, len(colours), 1))
	for i, c := range colours {
		c.A = 255
		img.SetRGBA(i, 0, c)
	}
	return encodeWith(t, func(b *bytes.Buffer) error { return png.Encode(b, img) })
}

func palettePNG(t testing.TB, indices ...uint8) []byte {
	img := image.NewPaletted(image.Rect(0, 0, len(indices), 1), color.Palette{
		color.RGBA{0, 0, 0, 255}, color.RGBA{128, 0, 0, 255}, color.RGBA{0, 128, 0, 255}, color.RGBA{0, 0, 128, 255}})
	copy(img.Pix, indices)
	return encodeWith(t, func(b *bytes.Buffer) error { return png.Encode(b, img) })
}

func TestMaskEncodingsAreDetectedAndRead(t *testing.T) {
	white, black := color.RGBA{R: 255, G: 255, B: 255}, color.RGBA{}
	for _, c := range []struct {
		name string
		data []byte
		o    MaskOptions
		want []float32
	}{
		{"0/255", grayPNG(t, 0, 255, 0), MaskOptions{}, []float32{0, 1, 0}},
		{"fractions", grayPNG(t, 0, 51, 255), MaskOptions{}, []float32{0, 0.2, 1}},
		{"0/1", grayPNG(t, 0, 1, 1), MaskOptions{}, []float32{0, 1, 1}},
		{"all 0", grayPNG(t, 0, 0), MaskOptions{}, []float32{0, 0}},
		{"all 1", grayPNG(t, 1, 1), MaskOptions{}, []float32{1, 1}},
		{"all 255", grayPNG(t, 255, 255), MaskOptions{}, []float32{1, 1}},
		{"trimap", grayPNG(t, 1, 2, 3), MaskOptions{}, []float32{1, 0, 1}},
		{"trimap, edge background", grayPNG(t, 1, 2, 3), MaskOptions{EdgeBackground: true}, []float32{1, 0, 0}},
		{"levels 2 as told", grayPNG(t, 0, 2), MaskOptions{Encoding: Binary}, []float32{0, 2. / 255}},
		{"grey saved as colour", colourPNG(t, white, black), MaskOptions{}, []float32{1, 0}},
		{"trimap of 16 bits", gray16PNG(t, 1, 2, 3), MaskOptions{}, []float32{1, 0, 1}},
		{"fractions of 16 bits", gray16PNG(t, 0, 0x33ff, 0xffff), MaskOptions{}, []float32{0, 0.2, 1}},
		{"palette indices", palettePNG(t, 0, 1, 0), MaskOptions{}, []float32{0, 1, 0}},
		{"palette trimap", palettePNG(t, 2, 1, 3), MaskOptions{}, []float32{0, 1, 1}},
		{"imagenet-s", colourPNG(t, black, color.RGBA{R: 7}, color.RGBA{R: 44, G: 1}, color.RGBA{R: 232, G: 3}), MaskOptions{}, []float32{0, 1, 1, 0}},
		{"imagenet-s, one class", colourPNG(t, color.RGBA{R: 7}, color.RGBA{R: 44, G: 1}), MaskOptions{Class: 300}, []float32{0, 1}},
		{"imagenet-s all background", colourPNG(t, black, black), MaskOptions{Encoding: ImageNetS}, []float32{0, 0}},
	} {
		var m Gray
		if err := m.DecodeMask(c.data, c.o); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for i, want := range c.want {
			if m.Pix[i] != want {
				t.Errorf("%s: %v, want %v", c.name, m.Pix, c.want)
				break
			}
		}
	}
}

func TestUnclearMasksAreErrorsThatSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name, hint string
		data       []byte
		o          MaskOptions
	}{
		{"class numbers", "name the encoding", grayPNG(t, 0, 1, 2, 4), MaskOptions{}},
		{"photograph", "photograph", colourPNG(t, color.RGBA{R: 9, G: 80, B: 3}), MaskOptions{}},
		{"not a trimap", "row 0", grayPNG(t, 1, 2, 255), MaskOptions{Encoding: Trimap}},
		{"grey as imagenet-s", "grey levels", grayPNG(t, 1, 2), MaskOptions{Encoding: ImageNetS}},
		{"number above 1000", "R + 256 G", colourPNG(t, color.RGBA{R: 255, G: 200}), MaskOptions{}},
		{"jpeg", "use PNG", []byte{0xff, 0xd8, 0xff, 0xd9}, MaskOptions{}},
		{"text", "known format", []byte("mask"), MaskOptions{}},
	} {
		err := new(Gray).DecodeMask(c.data, c.o)
		if err == nil || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}

func TestMaskOfAnotherSizeNamesBothFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.png")
	if err := os.WriteFile(path, grayPNG(t, 0, 255, 0), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := ReadMask(path, MaskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckMaskSize(m, path, NewRGB(3, 1), "i.jpg"); err != nil {
		t.Error(err)
	}
	err = CheckMaskSize(m, path, NewRGB(4, 5), "i.jpg")
	if !errors.Is(err, ErrMaskSize) {
		t.Fatal(err)
	}
	for _, part := range []string{path, "i.jpg", "3x1", "4x5"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
}

func TestPetsTrimapsAreReadAsForeground(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sharedDir(t), "data/pets/trimaps/*.png"))
	if err != nil || len(files) != 50 {
		t.Fatalf("%d trimaps (%v)", len(files), err)
	}
	for _, f := range files {
		m, err := ReadMask(f, MaskOptions{})
		if err != nil {
			t.Fatal(err)
		}
		share := float32(0)
		for _, v := range m.Pix {
			share += v
		}
		if share /= float32(len(m.Pix)); share < 0.02 || share > 0.98 {
			t.Errorf("%s: foreground share %v", f, share)
		}
	}
}

func FuzzDecodeMask(f *testing.F) {
	f.Add(grayPNG(f, 0, 255, 7), 0)
	f.Add(grayPNG(f, 1, 2, 3), 3)
	f.Add(palettePNG(f, 0, 1, 2), 0)
	f.Add(colourPNG(f, color.RGBA{R: 44, G: 1}), 2)
	f.Fuzz(func(t *testing.T, data []byte, encoding int) {
		if large(data) {
			return
		}
		var m Gray
		var err error
		decodedWithin(t, data, func() { err = m.DecodeMask(data, MaskOptions{Encoding: Encoding(encoding & 3)}) })
		if err != nil {
			return
		}
		if len(m.Pix) != m.W*m.H {
			t.Fatalf("%dx%d has %d values", m.W, m.H, len(m.Pix))
		}
		for _, v := range m.Pix {
			if !(v >= 0 && v <= 1) {
				t.Fatalf("value %v", v)
			}
		}
	})
}
