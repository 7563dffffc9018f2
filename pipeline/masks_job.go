package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/picture"
)

// maskJob makes the masks that aren't there yet: pictures are decoded for the
// next batch while the model runs on this one, and goroutines draw the masks of
// the last.
type maskJob struct {
	opt     MaskOptions
	log     *maskLog
	drawer  drawer
	minimum float64  // confidence
	sitters []sitter // all, also those that are finished

	mu         sync.Mutex
	done       int
	unreadable map[string]string // why, by path
}

// sketch is what a method finds of a picture.
type sketch struct {
	mask       []bool // (H*W)
	coarse     *gridMask
	confidence float64
	gap        float64 // NaN where nothing was cut
	flipped    bool
	none       string // why there is no mask; empty where there is one
}

// drawer makes masks by one method.
type drawer interface {
	// draw makes the mask of a picture, whose features come in the order in
	// which the drawer wants them.
	draw(s sitter, p *picture.RGB, features [][]float32, grid [2]int) (*sketch, error)
}

// placed is a picture with its place in the folder. The place in the batch
// follows from it, also in a run that goes on, since sums are rounded
// differently at different places.
type placed struct {
	sitter
	at int
}

func (j *maskJob) run(ctx context.Context, todo []placed) (err error) {
	var views []view
	if j.opt.annotated() {
		j.drawer, err = newAnnotated(j.opt, j.sitters)
	} else {
		j.drawer, views, err = j.opt.look(len(j.sitters))
		defer func() { closeViews(views) }()
	}
	if err != nil {
		return err
	}
	if j.opt.OnStart != nil {
		j.opt.OnStart(j.done, len(j.sitters))
	}
	w := newWriters()
	if views == nil {
		err = j.each(ctx, todo, w)
	} else {
		err = j.batches(ctx, todo, w, views)
	}
	if closeErr := w.close(); closeErr != nil {
		err = closeErr
	}
	return err
}

// each draws without looking.
func (j *maskJob) each(ctx context.Context, todo []placed, w *writers) error {
	for _, s := range todo {
		if err := errors.Join(ctx.Err(), w.failed()); err != nil {
			return err
		}
		w.add(func() error { return j.finish(s.sitter, nil, nil, [2]int{}) })
	}
	return nil
}

// keptPixels is up to how large a decoded picture waits in memory for its mask;
// a larger one is decoded again.
const keptPixels = 1 << 20

// prepared is a batch on its way to the model.
type prepared struct {
	images   []*ort.Buffer // one for each view
	batch    []placed
	pictures []*picture.RGB // nil where it isn't kept
	failed   []error        // nil where the picture is there
}

// batches runs the model on batch after batch.
func (j *maskJob) batches(ctx context.Context, todo []placed, w *writers, views []view) error {
	var buffers [2][]*ort.Buffer
	for i := range buffers {
		for _, v := range views {
			b, err := ort.NewBuffer(onnx.Float, int64(v.Batch), 3, int64(v.Size[0]), int64(v.Size[1]))
			if err != nil {
				return err
			}
			defer b.Close()
			buffers[i] = append(buffers[i], b)
		}
	}
	ready := make(chan *prepared)
	stop := make(chan struct{})
	var feeding sync.WaitGroup
	feeding.Go(func() {
		defer close(ready)
		for n := 0; len(todo) > 0; n++ {
			size := views[0].Batch
			next := slices.IndexFunc(todo, func(s placed) bool { return s.at/size > todo[0].at/size })
			if next < 0 {
				next = len(todo)
			}
			p := prepare(todo[:next], buffers[n%2], views)
			todo = todo[next:]
			select {
			case ready <- p: // whoever takes it is done with the other buffers
			case <-stop:
				return
			}
		}
	})
	defer feeding.Wait()
	defer close(stop)
	for p := range ready {
		if err := errors.Join(ctx.Err(), w.failed()); err != nil {
			return err
		}
		for i, v := range views {
			if err := v.Run(p.images[i]); err != nil {
				return err
			}
		}
		for i, s := range p.batch {
			if p.failed[i] != nil {
				j.skip(s.sitter, p.failed[i])
				continue
			}
			found := seen(views, s.at%views[0].Batch)
			w.add(func() error { return j.finish(s.sitter, p.pictures[i], found, views[0].Grid) })
		}
	}
	return nil
}

// prepare decodes a batch on all processors.
func prepare(batch []placed, images []*ort.Buffer, views []view) *prepared {
	p := &prepared{images: images, batch: batch, pictures: make([]*picture.RGB, len(batch)), failed: make([]error, len(batch))}
	for _, b := range images {
		clear(b.Float32s())
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, s := range batch {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			decoded, err := picture.ReadFile(s.path)
			for n := 0; err == nil && n < len(views); n++ {
				whole := views[n].whole
				size := 3 * whole.Size[0] * whole.Size[1]
				at := s.at % views[n].Batch * size
				err = new(picture.Transformer).Image(images[n].Float32s()[at:][:size], decoded, whole.EvalGeometry(decoded.W, decoded.H), whole)
			}
			if p.failed[i] = err; err == nil && decoded.W*decoded.H <= keptPixels {
				p.pictures[i] = decoded
			}
		})
	}
	group.Wait()
	return p
}

// skip notes a picture that can't be read.
func (j *maskJob) skip(s sitter, err error) {
	if e := (*picture.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unreadable[s.path] = err.Error()
	if j.opt.OnSkipped != nil {
		j.opt.OnSkipped(s.path, err.Error())
	}
	j.progress()
}

// progress counts a picture; j.mu is held.
func (j *maskJob) progress() {
	j.done++
	if j.opt.OnProgress != nil {
		j.opt.OnProgress(j.done, len(j.sitters))
	}
}

// finish draws a picture's mask and writes it, and then its record.
func (j *maskJob) finish(s sitter, p *picture.RGB, features [][]float32, grid [2]int) error {
	if p == nil {
		var err error
		if p, err = picture.ReadFile(s.path); err != nil {
			j.skip(s, err)
			return nil
		}
	}
	drawn, err := j.drawer.draw(s, p, features, grid)
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	r := MaskRecord{File: s.relative(), Confidence: Number(drawn.confidence), Eigengap: Number(drawn.gap), Flipped: drawn.flipped, Coarse: drawn.coarse}
	r.Dropped = j.doubt(drawn, p, &r)
	if r.Dropped == "" {
		r.Mask = maskName(r.File)
		if err := j.write(r.Mask, drawn.mask, p); err != nil {
			return err
		}
	}
	if err := j.log.add(r); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.progress()
	return nil
}

// doubt says why a mask is dropped, empty if it isn't, and fills in its area.
func (j *maskJob) doubt(drawn *sketch, p *picture.RGB, r *MaskRecord) string {
	if drawn.none != "" {
		return drawn.none
	}
	inside := 0
	for _, in := range drawn.mask {
		if in {
			inside++
		}
	}
	r.Area = float64(inside) / float64(p.W*p.H)
	switch pixels := r.Area * 224 * 224; {
	case pixels < smallestMask:
		return fmt.Sprintf("too small: %.0f pixels of 224x224, fewer than %d", pixels, smallestMask)
	case drawn.confidence < j.minimum:
		return fmt.Sprintf("doubtful: confidence %.3f, below %g", drawn.confidence, j.minimum)
	}
	return ""
}

func (j *maskJob) write(name string, mask []bool, p *picture.RGB) error {
	path := filepath.Join(j.opt.Output, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	gray := picture.NewGray(p.W, p.H)
	for i, in := range mask {
		if in {
			gray.Pix[i] = 1
		}
	}
	return gray.SavePNG(path)
}

// summary counts the records of the pictures, also those of an earlier run.
func (j *maskJob) summary() *MaskSummary {
	sum := &MaskSummary{Output: j.opt.Output, Method: j.opt.Method, Pictures: len(j.sitters), Dropped: []DroppedMask{}, Unreadable: []SkippedPicture{}}
	total := 0.0
	for _, s := range j.sitters {
		if why, ok := j.unreadable[s.path]; ok {
			sum.Unreadable = append(sum.Unreadable, SkippedPicture{s.path, why})
			continue
		}
		r := j.log.records[s.relative()]
		if r.Dropped != "" {
			sum.Dropped = append(sum.Dropped, DroppedMask{s.path, r.Dropped})
			continue
		}
		sum.Kept++
		total += float64(r.Confidence)
	}
	sum.MeanConfidence = Number(total / float64(sum.Kept))
	return sum
}
