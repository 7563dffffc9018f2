package pipeline

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/pipeline/picture"
)

// write stores what was found of one picture.
func (r *explaining) write(found *portrait) error {
	s := r.sitters[found.sitter]
	p := &ExplainedPicture{Picture: s.path, Top: []ScoredClass{}}
	dir := filepath.Join(r.opt.Output, filepath.FromSlash(path.Dir(s.name)))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("writing the map of %s: %w", s.path, err)
	}
	seen := make([]*picture.RGB, len(r.views))
	for i, preprocess := range r.views {
		var err error
		if seen[i], err = picture.FromTensor(found.images[i], preprocess); err != nil {
			return err
		}
	}
	probable := make([][]float64, len(r.models))
	for m, w := range r.models {
		probable[m] = probabilities(found.scores[m])
		r.score(p, m, w.targets, probable[m], found.scores[m])
	}
	var panels []panel
	for i, one := range found.maps {
		w := r.models[one.model]
		overlay, files, err := r.writeOne(seen[w.view], one, s.name, w)
		if err != nil {
			return err
		}
		files.Target = w.targets.scored(one.class, probable[one.model])
		if i == 0 {
			p.MapFiles = *files
		}
		if len(found.maps) > 1 {
			p.Maps = append(p.Maps, ExplainedMap{Model: w.path, Method: one.method, MapFiles: *files})
		}
		panels = append(panels, panel{portrayal: one, overlay: overlay, target: files.Target})
	}
	if r.opt.Sheet || len(r.models) > 1 {
		p.Sheet = s.name + ".sheet.png"
		sheet, err := r.sheet(seen[0], panels)
		if err != nil {
			return err
		}
		if err := atomic.WriteUnsynced(r.at(p.Sheet), sheet.WritePNG); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.done[found.sitter] = p
	r.mu.Unlock()
	return nil
}

// at is where a file of the output lies.
func (r *explaining) at(name string) string {
	return filepath.Join(r.opt.Output, filepath.FromSlash(name))
}

// writeOne writes a map's files. The first of a picture have its own name; of
// others the name tells in what they differ.
func (r *explaining) writeOne(seen *picture.RGB, one portrayal, name string, w *witness) (*picture.RGB, *MapFiles, error) {
	if one.model > 0 {
		name += ".after"
	}
	if one.method != r.opt.Maps.Methods[0] {
		name += "." + one.method
	}
	if one.aim > 0 {
		name += w.targets.aims[one.aim].suffix()
	}
	files := &MapFiles{Overlay: name + ".overlay.png", Map: name + ".npy", MapPNG: name + ".map.png",
		Constant: slices.Max(one.values) == 0, Incompleteness: one.missed}
	m := &picture.Gray{W: w.mapper.Size[1], H: w.mapper.Size[0], Pix: one.values}
	overlay, err := r.opt.Colours.Overlay(seen, shown(m, one.method), r.opt.Opacity)
	if err != nil {
		return nil, nil, err
	}
	if err := atomic.WriteUnsynced(r.at(files.Overlay), overlay.WritePNG); err != nil {
		return nil, nil, err
	}
	if err := atomic.WriteUnsynced(r.at(files.Map), func(w io.Writer) error { return writeNumPy(w, one.values, m.H, m.W) }); err != nil {
		return nil, nil, err
	}
	return overlay, files, atomic.WriteUnsynced(r.at(files.MapPNG), m.WritePNG16)
}

// shownShare of a map of pixels is shown by all colours; the rest, a few pixels
// that would leave all others dark, by the last one. Smilkov et al.'s code shows
// gradients so.
const shownShare = 0.99

// shown is a map as overlays show it.
func shown(m *picture.Gray, method string) *picture.Gray {
	if !overPixels(method) {
		return m
	}
	sorted := slices.Sorted(slices.Values(m.Pix))
	top := sorted[int(shownShare*float64(len(sorted)-1))]
	if top <= 0 {
		return m
	}
	out := &picture.Gray{W: m.W, H: m.H, Pix: make([]float32, len(m.Pix))}
	for i, v := range m.Pix {
		out.Pix[i] = min(v/top, 1)
	}
	return out
}

// topClasses is how many classes are listed of a picture.
const topClasses = 5

// score lists the most probable classes by the m-th model, or its one output.
func (r *explaining) score(p *ExplainedPicture, m int, t *targets, probable []float64, scores []float32) {
	top, value := &p.Top, &p.Value
	if m > 0 {
		top, value = &p.TopAfter, &p.ValueAfter
	}
	if t.scalar {
		v := Number(scores[0])
		*value = &v
		return
	}
	for _, i := range ranked(scores)[:min(topClasses, len(scores))] {
		*top = append(*top, t.scored(i, probable))
	}
}

// scored is a class with its name and probability.
func (t *targets) scored(class int, probable []float64) ScoredClass {
	c := ScoredClass{Class: class, Probability: Number(math.NaN())}
	if class < len(probable) && !t.scalar {
		c.Probability = Number(probable[class])
	}
	if class < len(t.names) {
		c.Name = t.names[class]
	}
	return c
}

// ranked lists classes from the largest score to the smallest, the first of
// equals before others.
func ranked(scores []float32) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	return order
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
