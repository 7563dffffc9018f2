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

	"github.com/relevit/relevit/onnx/ort"
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

// benchDecoding prints how many photographs one core decodes, and decodes and
// resizes as evaluation does, in a second, by turns with ViT-Ti's forward pass
// on one thread; each ratio is the median of those between neighbours.
func benchDecoding(t *testing.T) {
	path, _ := benchModel(t, "tiny")
	m, err := OpenModel(path, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	forward, err := NewPredictor(m, benchBatch, ort.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer forward.Close()
	noise(forward.Slot().Images)
	what := "a generated photograph of 500x375"
	files, _ := filepath.Glob(filepath.Join("..", "..", "shared", "data", "imagenet-samples", "*", "*"))
	if len(files) == 0 {
		files = []string{benchPictures(t, 1)[0].ImagePath}
	} else {
		what = fmt.Sprintf("%d ImageNet samples", len(files))
	}
	const most = 50 // in a round
	var picked [][]byte
	for i := 0; i < len(files); i += max(len(files)/most, 1) {
		data, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		picked = append(picked, data)
	}
	var p picture.RGB
	var transform picture.Transformer
	preprocess := picture.PaperEval(224, 224)
	input := make([]float32, 3*224*224)
	each := func(resize bool) func() error {
		return func() error {
			for _, data := range picked {
				if err := p.Decode(data); err != nil {
					return err
				}
				if !resize {
					continue
				}
				if err := transform.Image(input, &p, preprocess.EvalGeometry(p.W, p.H), preprocess); err != nil {
					return err
				}
			}
			return nil
		}
	}
	timed := func(pictures int, f func() error) float64 {
		start := time.Now()
		if err := f(); err != nil {
			t.Fatal(err)
		}
		return time.Since(start).Seconds() / float64(pictures)
	}
	var decode, both, pass, ratio []float64
	for range 5 {
		pass = append(pass, timed(benchBatch, forward.session.Run))
		decode = append(decode, timed(len(picked), each(false)))
		both = append(both, timed(len(picked), each(true)))
		ratio = append(ratio, last(both)/last(pass))
	}
	fmt.Printf("one core, %s: %.0f pictures/s decoded, %.0f decoded, resized and normalised; ViT-Ti forward %.0f/s, so reading takes %.2f forwards\n",
		what, 1/median(decode), 1/median(both), 1/median(pass), median(ratio))
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
