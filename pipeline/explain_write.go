package pipeline

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/relevit/relevit/pipeline/picture"
)

// write stores what was found of one picture.
func (r *explaining) write(e Explained) error {
	s := r.sitters[e.Sample]
	p := &ExplainedPicture{Picture: s.path, Overlay: s.name + ".overlay.png", Map: s.name + ".npy", MapPNG: s.name + ".map.png",
		Constant: slices.Max(e.Map) == 0}
	p.Top, p.Target = r.score(e)
	dir := filepath.Join(r.opt.Output, filepath.FromSlash(path.Dir(s.name)))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("writing the map of %s: %w", s.path, err)
	}
	at := func(name string) string { return filepath.Join(r.opt.Output, filepath.FromSlash(name)) }
	seen, err := picture.FromTensor(e.Image, r.preprocess)
	if err != nil {
		return err
	}
	relevance := &picture.Gray{W: r.explainer.Size[1], H: r.explainer.Size[0], Pix: e.Map}
	overlay, err := picture.Overlay(seen, relevance, r.opt.Opacity)
	if err != nil {
		return err
	}
	if err := writeMap(at(p.Overlay), overlay.WritePNG); err != nil {
		return err
	}
	if err := writeMap(at(p.Map), func(w io.Writer) error { return writeNumPy(w, e.Map, relevance.H, relevance.W) }); err != nil {
		return err
	}
	if err := writeMap(at(p.MapPNG), func(w io.Writer) error { return writePNG16(w, relevance) }); err != nil {
		return err
	}
	r.mu.Lock()
	r.done[e.Sample] = p
	r.mu.Unlock()
	return nil
}

// writeMap writes one of many files. It isn't synced, which would take longer
// than to make it: explain.json lists only what is complete.
func writeMap(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return explainFull(err)
	}
	w := bufio.NewWriter(f)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	return explainFull(errors.Join(err, f.Close()))
}

// topClasses is how many classes are listed of a picture.
const topClasses = 5

// score lists the most probable classes, and the one that was explained.
func (r *explaining) score(e Explained) (top []ScoredClass, target ScoredClass) {
	p := probabilities(e.Scores)
	class := func(i int) ScoredClass {
		c := ScoredClass{Class: i, Probability: Number(math.NaN())}
		if i < len(p) {
			c.Probability = Number(p[i])
		}
		if i < len(r.names) {
			c.Name = r.names[i]
		}
		return c
	}
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] > p[b]:
			return -1
		case p[a] < p[b]:
			return 1
		}
		return 0
	})
	for _, i := range order[:min(topClasses, len(order))] {
		top = append(top, class(i))
	}
	if e.Target < 0 {
		return top, class(top1(e.Scores))
	}
	return top, class(int(e.Target))
}

// probabilities is the softmax of scores (C), or the scores themselves where
// they are probabilities already: none negative, and adding up to 1.
func probabilities(scores []float32) []float64 {
	out := make([]float64, len(scores))
	sum, least, most := 0.0, math.Inf(1), math.Inf(-1)
	for i, v := range scores {
		out[i] = float64(v)
		sum, least, most = sum+out[i], min(least, out[i]), max(most, out[i])
	}
	if least >= 0 && math.Abs(sum-1) < 1e-3 {
		return out
	}
	sum = 0
	for i, v := range out {
		out[i] = math.Exp(v - most)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// writeNumPy writes (rows,columns) float32 as NumPy's .npy, version 1.0.
func writeNumPy(w io.Writer, v []float32, rows, columns int) error {
	const align = 64 // of the data, counted from the magic
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, columns)
	prefix := append([]byte("\x93NUMPY\x01\x00"), 0, 0)
	for (len(prefix)+len(header)+1)%align != 0 {
		header += " "
	}
	header += "\n"
	binary.LittleEndian.PutUint16(prefix[8:], uint16(len(header)))
	if _, err := w.Write(append(prefix, header...)); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, v)
}

// writePNG16 writes values in [0,1] as grey levels of 16 bits.
func writePNG16(w io.Writer, m *picture.Gray) error {
	gray := image.NewGray16(image.Rect(0, 0, m.W, m.H))
	for i, v := range m.Pix {
		gray.SetGray16(i%m.W, i/m.W, color.Gray16{Y: uint16(math.Round(math.MaxUint16 * float64(min(max(v, 0), 1))))})
	}
	return png.Encode(w, gray)
}

// writers run jobs on as many goroutines as there are processors.
type writers struct {
	jobs chan func() error
	done sync.WaitGroup
	mu   sync.Mutex
	err  error // the first
}

func newWriters() *writers {
	w := &writers{jobs: make(chan func() error)}
	for range runtime.GOMAXPROCS(0) {
		w.done.Go(func() {
			for job := range w.jobs {
				if err := job(); err != nil {
					w.mu.Lock()
					if w.err == nil {
						w.err = err
					}
					w.mu.Unlock()
				}
			}
		})
	}
	return w
}

// add waits for a free goroutine.
func (w *writers) add(job func() error) { w.jobs <- job }

// failed is the first job's error so far.
func (w *writers) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// close waits for all jobs.
func (w *writers) close() error {
	close(w.jobs)
	w.done.Wait()
	return w.err
}
