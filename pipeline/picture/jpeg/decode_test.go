package jpeg

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"math"
	"testing"
)

// sample encodes a smooth picture with Go's own encoder (4:2:0, or grey).
func sample(t testing.TB, w, h int, grey bool) []byte {
	t.Helper()
	var img image.Image
	if grey {
		g := image.NewGray(image.Rect(0, 0, w, h))
		for i := range g.Pix {
			g.Pix[i] = uint8(i%w*3 + i/w*2)
		}
		img = g
	} else {
		c := image.NewRGBA(image.Rect(0, 0, w, h))
		for y := range h {
			for x := range w {
				c.Set(x, y, color.RGBA{uint8(128 + 100*math.Sin(float64(x)/9)), uint8(2 * y), uint8(x + y), 255})
			}
		}
		img = c
	}
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, img, &stdjpeg.Options{Quality: 92}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecodeIsCloseToTheStandardLibrary(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {2, 3}, {5, 4}, {8, 8}, {17, 16}, {64, 33}, {97, 61}} {
		for _, grey := range []bool{false, true} {
			data := sample(t, size[0], size[1], grey)
			got, err := Decode(data, nil)
			if err != nil {
				t.Fatal(err)
			}
			want, err := stdjpeg.Decode(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if got.Width != size[0] || got.Height != size[1] || got.Channels != map[bool]int{true: 1, false: 3}[grey] {
				t.Fatalf("config %+v for size %v", got.Config, size)
			}
			sum := 0.0
			for y := range size[1] {
				for x := range size[0] {
					r, g, b, _ := want.At(x, y).RGBA()
					p := got.Pix[(y*size[0]+x)*got.Channels:]
					wantPix := [3]uint32{r >> 8, g >> 8, b >> 8}
					for k := range got.Channels {
						sum += math.Abs(float64(p[k]) - float64(wantPix[k]))
					}
				}
			}
			// The standard library repeats chroma samples, so only the mean is close.
			if mean := sum / float64(len(got.Pix)); mean > 4 {
				t.Errorf("%v grey=%v: mean difference %.2f levels", size, grey, mean)
			}
		}
	}
}

func TestDecodeReusesMemory(t *testing.T) {
	data := sample(t, 40, 30, false)
	buf := make([]byte, 40*30*3)
	img, err := Decode(data, buf)
	if err != nil {
		t.Fatal(err)
	}
	if &img.Pix[0] != &buf[0] {
		t.Error("the given memory was not used")
	}
}

func TestEveryTruncationIsAnErrorUntilThePictureIsComplete(t *testing.T) {
	data := sample(t, 64, 48, false)
	for n := range len(data) - 3 { // the last bytes are padding and the end marker
		_, err := Decode(data[:n], nil)
		if err == nil {
			t.Fatalf("%d of %d bytes decoded", n, len(data))
		}
		if n > 4 && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if _, err := Decode(data[:len(data)-2], nil); err != nil {
		t.Errorf("only the end marker is missing: %v", err)
	}
}

func TestHugeHeaderWithoutDataAllocatesNothing(t *testing.T) {
	data := sample(t, 16, 16, true)
	i := bytes.Index(data, []byte{0xff, markerSOF0})
	copy(data[i+5:], []byte{0xff, 0xff, 0xff, 0xff})
	allocated := testing.AllocsPerRun(1, func() {
		if _, err := Decode(data, nil); !errors.Is(err, ErrTruncated) {
			t.Fatalf("error %v", err)
		}
	})
	if allocated > 100 {
		t.Errorf("%v allocations", allocated)
	}
}

func TestOtherCodingProcessesAreUnsupported(t *testing.T) {
	for _, marker := range []byte{0xc3, 0xc5, 0xc9, 0xca} {
		data := sample(t, 16, 16, true)
		data[bytes.Index(data, []byte{0xff, markerSOF0})+1] = marker
		if _, err := Decode(data, nil); !errors.Is(err, ErrUnsupported) {
			t.Errorf("marker %#x: %v", marker, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample(f, 17, 9, false))
	f.Add(sample(f, 9, 17, true))
	f.Add([]byte{0xff, 0xd8, 0xff, 0xd9})
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := DecodeConfig(data)
		if err == nil && config.Width*config.Height > 1<<20 {
			return
		}
		img, err := Decode(data, nil)
		if err == nil && len(img.Pix) != img.Width*img.Height*img.Channels {
			t.Fatalf("%+v has %d samples", img.Config, len(img.Pix))
		}
	})
}
