package dataset

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// write puts a file below a folder, whose parents it makes.
func write(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// photo is a JPEG whose colours depend on its number.
func photo(t testing.TB, w, h, number int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.Set(x, y, color.RGBA{uint8(37 * number), uint8(5 * x), uint8(7*y + number), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// maskPNG has a foreground square.
func maskPNG(t testing.TB, w, h int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, w, h))
	for y := h / 4; y < h/2; y++ {
		for x := w / 4; x < w*3/4; x++ {
			img.SetGray(x, y, color.Gray{Y: 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// made writes a class-folder tree of photographs with masks, perClass images
// in each class, and returns its folders of images and masks.
func made(t testing.TB, classes, perClass int) (images, masks string) {
	t.Helper()
	dir := t.TempDir()
	for c := range classes {
		for i := range perClass {
			w, h := 40+3*i, 36+2*c
			name := fmt.Sprintf("class%02d/img%02d", c, i)
			write(t, dir, "images/"+name+".jpg", photo(t, w, h, c*perClass+i))
			write(t, dir, "masks/"+name+".png", maskPNG(t, w, h))
		}
	}
	return filepath.Join(dir, "images"), filepath.Join(dir, "masks")
}
