// Package benchmarktest writes miniatures of the data sets that package
// benchmark reads, each a dozen pictures or so.
package benchmarktest

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// Colour is that of a class of ImageNet-1k: one of a grid of 10x10x10.
func Colour(class int) color.RGBA {
	level := func(n int) uint8 { return uint8(12 + 25*(n%10)) }
	return color.RGBA{level(class / 100), level(class / 10), level(class), 255}
}

// Picture is a picture of one colour, that of a class.
type Picture struct {
	Path   string // with slashes
	Class  int
	Border int // pixels at each side that are red
}

// Set is a data set to write.
type Set struct {
	Pictures []Picture
	Texts    map[string]string // by path
}

// Write makes the data set's files below a folder.
func (s Set) Write(t testing.TB, dir string) {
	t.Helper()
	for _, p := range s.Pictures {
		p.write(t, place(t, dir, p.Path))
	}
	for path, text := range s.Texts {
		if err := os.WriteFile(place(t, dir, path), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// place makes the folder of a file.
func place(t testing.TB, dir, path string) string {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	return file
}

func (p Picture) write(t testing.TB, file string) {
	t.Helper()
	const w, h = 14, 12
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := Colour(p.Class)
			if min(x, y, w-1-x, h-1-y) < p.Border {
				c = color.RGBA{255, 0, 0, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
}
