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
	"text/tabwriter"
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
	fmt.Printf("\nTraining pictures (JPEG of 500x375 with PNG masks), by all workers: %.0f pictures/s\n", median(rates))
}

// benchDecoding prints how many photographs one core decodes, and decodes and
// resizes as evaluation does, in a second, by turns with PIL and with ViT-Ti's
// forward pass on one thread; each ratio is the median of those between
// neighbours.
func benchDecoding(t *testing.T, rounds int) {
	path, _, _ := benchModel(t, "tiny")
	m, err := OpenModel(path, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	forward := bareForward(t, m, ort.Options{Threads: 1})
	what := "a generated photograph of 500x375"
	files, _ := filepath.Glob(filepath.Join("..", "..", "shared", "data", "imagenet-samples", "*", "*"))
	if len(files) == 0 {
		files = []string{benchPictures(t, 1)[0].ImagePath}
	} else {
		const most = 50
		what = fmt.Sprintf("%d of %d ImageNet samples", most, len(files))
		var some []string
		for i := range most {
			some = append(some, files[i*len(files)/most])
		}
		files = some
	}
	pictures := make([][]byte, len(files))
	for i, file := range files {
		if pictures[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	var p picture.RGB
	var transform picture.Transformer
	preprocess := picture.PaperEval(224, 224)
	input := make([]float32, 3*224*224)
	work := map[string]func(data []byte) error{
		"decode": p.Decode,
		"both": func(data []byte) error {
			if err := p.Decode(data); err != nil {
				return err
			}
			return transform.Image(input, &p, preprocess.EvalGeometry(p.W, p.H), preprocess)
		},
	}
	reference, why := startPeer(t, "testdata/bench/pil.py", []string{"OMP_NUM_THREADS=1"}, files...)
	seconds, ratio := map[string][]float64{}, map[string][]float64{}
	for round := range rounds + 1 {
		if round == 1 { // the first warmed up
			clear(seconds)
			clear(ratio)
		}
		start := time.Now()
		if err := forward(); err != nil {
			t.Fatal(err)
		}
		pass := time.Since(start).Seconds() / benchBatch
		seconds["forward"] = append(seconds["forward"], pass)
		for name, each := range work {
			start := time.Now()
			for _, data := range pictures {
				if err := each(data); err != nil {
					t.Fatal(err)
				}
			}
			ours := time.Since(start).Seconds() / float64(len(pictures))
			seconds[name] = append(seconds[name], ours)
			ratio[name+" forwards"] = append(ratio[name+" forwards"], ours/pass)
			if reference != nil {
				theirs := reference.number(t, name)
				seconds[name+" PIL"] = append(seconds[name+" PIL"], theirs)
				ratio[name+" PIL"] = append(ratio[name+" PIL"], theirs/ours)
			}
		}
	}
	fmt.Printf("\nReading pictures on one core: %s; ViT-Ti's forward pass on one thread: %.1f pictures/s\n", what, 1/median(seconds["forward"]))
	if reference != nil {
		fmt.Printf("beside %s\n\n", reference.version)
	} else {
		fmt.Printf("without PIL beside it (%s); %s names a Python that has PIL and numpy\n\n", why, benchPython)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tpictures/s\tin forwards\tPIL\tas fast as PIL, times\t")
	for _, row := range []struct{ name, title string }{{"decode", "decoded"}, {"both", "decoded, resized, normalised"}} {
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t", row.title, 1/median(seconds[row.name]), median(ratio[row.name+" forwards"]))
		if reference == nil {
			fmt.Fprintln(w, "\t\t")
			continue
		}
		fmt.Fprintf(w, "%.0f\t%.2f\t\n", 1/median(seconds[row.name+" PIL"]), median(ratio[row.name+" PIL"]))
	}
	w.Flush()
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
