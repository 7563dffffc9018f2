//go:build bench

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// benchLoading prints how fast training pictures with masks are decoded,
// resized, cropped and normalised by all workers.
func benchLoading(t *testing.T) {
	samples := benchPictures(t, 64)
	l, err := dataset.NewLoader(samples, dataset.Options{Batch: benchBatch, Shuffle: true, Augment: true, Masks: true,
		TrainResize: [2]int{256, 256}, Preprocess: picture.PaperEval(224, 224)})
	if err != nil {
		t.Fatal(err)
	}
	var rates []float64
	for i := range 4 {
		start := time.Now()
		epoch, err := l.Epoch(context.Background(), i, 0)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for {
			batch, err := epoch.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n += batch.Count
			epoch.Release(batch)
		}
		epoch.Close()
		if i > 0 {
			rates = append(rates, float64(n)/time.Since(start).Seconds())
		}
	}
	fmt.Printf("input: %.0f pictures/s (JPEG of 500x375 with PNG masks)\n", median(rates))
}

// benchPictures writes one busy photograph and its mask, listed n times.
func benchPictures(t *testing.T, n int) []dataset.Sample {
	t.Helper()
	const w, h = 500, 375
	img, mask := image.NewRGBA(image.Rect(0, 0, w, h)), image.NewGray(image.Rect(0, 0, w, h))
	pixels := make([]float32, 3*w*h)
	noise(pixels)
	for y := range h {
		for x := range w {
			at := 3 * (y*w + x)
			shade := func(c int) uint8 { return uint8(90 + 60*(x*(c+1)/50%2) + 60*(y/50%2) + int(24*pixels[at+c])) }
			img.SetRGBA(x, y, color.RGBA{shade(0), shade(1), shade(2), 255})
			if x > w/4 && x < 3*w/4 && y > h/4 {
				mask.SetGray(x, y, color.Gray{Y: 255})
			}
		}
	}
	dir := t.TempDir()
	write := func(name string, encode func(io.Writer) error) string {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err == nil {
			err = errors.Join(encode(f), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	photo := write("photo.jpg", func(w io.Writer) error { return jpeg.Encode(w, img, &jpeg.Options{Quality: 90}) })
	outline := write("mask.png", func(w io.Writer) error { return png.Encode(w, mask) })
	samples := make([]dataset.Sample, n)
	for i := range samples {
		samples[i] = dataset.Sample{ID: fmt.Sprint(i), ImagePath: photo, MaskPath: outline}
	}
	return samples
}
