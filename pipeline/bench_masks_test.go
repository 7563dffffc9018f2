//go:build bench

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/picture"
)

// What a mask may cost besides the forward pass, in forward passes, by the side
// of picture and input.
var maskLimits = map[int]float64{224: 0.5, 480: 0.25}

// benchMasks prints masks per second, with all that is written, and what else
// than the model's run a mask takes: reading and resizing, cut and refinement, PNG
// and record, and its place on the contact sheet. That is measured step by step
// on one core, by turns with plain forward passes of the same size on all cores;
// the ratio is the median of the rounds'.
func benchMasks(t *testing.T, rounds int) {
	path, _, _ := benchModel(t, "tiny")
	fmt.Printf("\nMasks by ViT-Ti, milliseconds a picture: forward pass and method's own model on %d threads, batch %d; all else on one core\n\n", runtime.GOMAXPROCS(0), benchBatch)
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "method, pictures, input\tmasks/s\tforward\tmodel\tall else\tin forwards\tread\tcut, refine\twrite\tsheet\t")
	for _, c := range []struct {
		method string
		side   int // of the pictures
		size   int // of the model's input; 0: the method's own
	}{{MethodTokenCut, 224, 224}, {MethodTokenCut, 480, 480}, {MethodAuto, 224, 0}, {MethodAuto, 480, 0}} {
		opt := MaskOptions{Images: benchPhotographs(t, c.side), Method: c.method, Model: path, Batch: benchBatch}
		opt.Open.Convert.ImageSize = [2]int{c.size, c.size}
		b := newMaskBench(t, opt)
		for range rounds + 1 {
			b.round()
		}
		b.close()
		speed := maskSpeed(t, opt)
		rest := median(b.ratios)
		fmt.Fprintf(w, "%s, %dx%d, %dx%d\t%.0f\t%.1f\t%.1f\t%.1f\t%.2f\t%.1f\t%.1f\t%.1f\t%.1f\t\n", c.method, c.side, c.side, b.views[0].Size[0], b.views[0].Size[1],
			speed, b.ms("forward"), b.ms("model"), b.ms("rest"), rest, b.ms("read"), b.ms("draw"), b.ms("write"), b.ms("sheet"))
		if limit := maskLimits[c.side]; c.method == MethodTokenCut && rest > limit {
			t.Errorf("%s at %dx%d: all but the model takes %.2f forwards, expected at most %.2f", c.method, c.side, c.side, rest, limit)
		}
	}
	w.Flush()
}

// maskSpeed is how many masks Masks makes in a second, once the model is open.
func maskSpeed(t *testing.T, opt MaskOptions) float64 {
	var rates []float64
	for range 3 {
		opt.Output = t.TempDir()
		var start time.Time
		opt.OnStart = func(int, int) { start = time.Now() }
		sum, err := Masks(context.Background(), opt)
		if err != nil {
			t.Fatal(err)
		}
		rates = append(rates, float64(sum.Pictures)/time.Since(start).Seconds())
	}
	return median(rates)
}

// maskBench makes masks step by step.
type maskBench struct {
	*testing.T
	job     *maskJob
	batches [][]placed
	views   []view
	images  []*ort.Buffer // for each view
	forward *Features     // the whole graph, at the first view's size
	drawer  *timedDrawer
	warm    bool
	seconds map[string][]float64 // for a picture
	ratios  []float64            // of all but the model to a forward pass
}

// timedDrawer notes how long drawing takes.
type timedDrawer struct {
	drawer
	spent time.Duration
}

func (d *timedDrawer) draw(s sitter, p *picture.RGB, features [][]float32, grid [2]int) (*sketch, error) {
	start := time.Now()
	defer func() { d.spent += time.Since(start) }()
	return d.drawer.draw(s, p, features, grid)
}

func newMaskBench(t *testing.T, opt MaskOptions) *maskBench {
	t.Helper()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	opt.Output = t.TempDir()
	b := &maskBench{T: t, seconds: map[string][]float64{}}
	sitters, err := maskedPictures(opt.Images)
	fatal(err)
	settings, err := opt.settings()
	fatal(err)
	log, err := openMaskLog(opt.Output, settings, true)
	fatal(err)
	t.Cleanup(func() { log.Close() })
	b.job = &maskJob{opt: opt, log: log, sitters: sitters, unreadable: map[string]string{}, minimum: settings.MinConfidence}
	d, views, err := opt.look(len(sitters))
	fatal(err)
	b.views, b.drawer = views, &timedDrawer{drawer: d}
	b.job.drawer = b.drawer
	for _, v := range views {
		images, err := ort.NewBuffer(onnx.Float, int64(v.Batch), 3, int64(v.Size[0]), int64(v.Size[1]))
		fatal(err)
		b.images = append(b.images, images)
	}
	for i, s := range sitters {
		if i%benchBatch == 0 {
			b.batches = append(b.batches, nil)
		}
		last := &b.batches[len(b.batches)-1]
		*last = append(*last, placed{s, i})
	}
	m, err := opt.sized(views[0].Size)
	fatal(err)
	g, err := m.specialized(benchBatch)
	fatal(err)
	b.forward, err = OpenFeatures(&FeatureGraph{Graph: g, Size: views[0].Size}, opt.ORT)
	fatal(err)
	return b
}

func (b *maskBench) close() {
	closeViews(b.views)
	for _, images := range b.images {
		images.Close()
	}
	b.forward.Close()
}

// round makes the masks of all pictures.
func (b *maskBench) round() {
	cores := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(cores)
	spent := map[string]float64{}
	timed := func(what string, f func() error) {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		spent[what] += time.Since(start).Seconds()
	}
	for _, batch := range b.batches {
		timed("forward", func() error { return b.forward.Run(b.images[0]) })
		var p *prepared
		timed("read", func() error {
			p = prepare(batch, b.images, b.views)
			return errors.Join(p.failed...)
		})
		timed("model", func() error {
			for i, v := range b.views {
				if err := v.Run(p.images[i]); err != nil {
					return err
				}
			}
			return nil
		})
		b.drawer.spent = 0
		timed("write", func() error {
			for i, s := range batch {
				if err := b.job.finish(s.sitter, p.pictures[i], seen(b.views, s.at%benchBatch), b.views[0].Grid); err != nil {
					return err
				}
			}
			return nil
		})
		spent["draw"] += b.drawer.spent.Seconds()
	}
	spent["write"] -= spent["draw"]
	timed("sheet", func() error {
		sum := b.job.summary()
		return errors.Join(b.job.log.writeSheet(b.job.opt.Images, b.job.sitters, sum), b.job.log.writeTable(b.job.sitters))
	})
	spent["rest"] = spent["read"] + spent["draw"] + spent["write"] + spent["sheet"]
	if b.warm {
		for what, seconds := range spent {
			b.seconds[what] = append(b.seconds[what], seconds/float64(len(b.job.sitters)))
		}
		b.ratios = append(b.ratios, spent["rest"]/spent["forward"])
	}
	b.warm = true
}

// ms is the median of what a picture took.
func (b *maskBench) ms(what string) float64 { return 1000 * median(b.seconds[what]) }

// benchPhotographs writes pictures of side x side: the pets' photographs where
// they are, otherwise a generated one.
func benchPhotographs(t *testing.T, side int) (dir string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join("..", "..", "shared", "data", "pets", "images", "*"))
	if len(files) == 0 {
		files = []string{benchPictures(t, 1)[0].ImagePath}
	}
	dir = t.TempDir()
	for i := range 2 * benchBatch {
		p, err := picture.ReadFile(files[i%len(files)])
		if err == nil {
			p, err = picture.Resize(p, side, side, picture.Bicubic)
		}
		if err == nil {
			err = atomic.Write(filepath.Join(dir, fmt.Sprintf("%02d.jpg", i)), func(w io.Writer) error { return jpeg.Encode(w, p, &jpeg.Options{Quality: 90}) })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
