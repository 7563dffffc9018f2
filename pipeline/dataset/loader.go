package dataset

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"gorgonia.org/tensor"

	"github.com/relevit/relevit/pipeline/picture"
)

// Slot is the memory of one batch, which the caller may own: the buffers that
// a session is bound to, so that pixels are written once, where they are used.
type Slot struct {
	Images []float32   // (B,3,H,W)
	Masks  []float32   // (B,1,H,W); nil where Options.Masks is false
	Labels []int64     // (B); nil: the loader makes its own
	Views  [][]float32 // one for each of Options.Views: (B,3,h,w) of its size

	ViewMasks [][]float32 // likewise (B,1,h,w); nil where Options.Masks is false
	Varied    [][]float32 // one for Options.Preprocess and for each of Options.Views, where there are Copies: (B*Copies,3,h,w)
}

// Options configures a Loader. Batch and Preprocess are required.
type Options struct {
	Batch       int
	Slots       []Slot // batches in flight; nil: the loader allocates them
	InFlight    int    // how many it allocates; 0: two
	Workers     int    // goroutines that decode; 0: one per processor
	Seed        uint64
	Shuffle     bool                 // a new order each epoch
	Augment     bool                 // Preprocess.TrainGeometry instead of EvalGeometry
	TrainResize [2]int               // height, width before the random crop; zero: Preprocess.Size/CropPct
	Preprocess  picture.Preprocess   // H and W are its Size
	Views       []picture.Preprocess // the same pictures evaluated in other ways, into Slot.Views
	Border      int                  // pixels to cut off each side of a picture; not with Masks
	Masks       bool                 // samples have masks, and batches carry them
	Mask        picture.MaskOptions  // how masks are encoded
	HardMasks   bool                 // the nearest values of a mask instead of bilinear ones
	SomeMasks   bool                 // the places of samples without a mask are empty
	DropLast    bool                 // leave out an epoch's last batch if it is not full
	Strict      bool                 // a corrupt image is an error, not replaced
	LeaveOut    bool                 // leave the place of an image that can't be read or decoded empty instead of replacing it
	OnCorrupt   func(Corrupt)        // told once about each image that is replaced or left out; may be nil
	OnFull      func(slot int) error // told of each batch once it is in its slot, before Next gives it; beside other batches' use; may be nil

	// Read reads a sample, and its mask unless that is nil, from elsewhere than its
	// files; several goroutines call it. May be nil.
	Read func(s *Sample, image *picture.RGB, mask *picture.Gray) error

	Copies int // further pictures that Vary makes of each, into Slot.Varied
	Vary   Vary
}

// Vary makes further pictures of a sample's picture and mask (nil where it has
// none), and puts each in its place among the copies; places that it leaves out
// stay empty. What it gets is good until it returns. Several goroutines call it,
// each with another sample.
type Vary func(sample int, p *picture.RGB, m *picture.Gray, put func(copy int, p *picture.RGB) error) error

// Corrupt is an image that could be read but not decoded or, with
// Options.LeaveOut, not be read.
type Corrupt struct {
	Sample Sample
	Err    error
}

// Loader streams a list of samples as batches. Several epochs may be iterated
// one after the other, not at once: they share the slots.
type Loader struct {
	samples []Sample
	o       Options
	slots   []slot

	mu       sync.Mutex
	reported map[int]bool // samples that OnCorrupt has been told about
	busy     bool         // an Epoch is open
}

// slot is a Slot with tensors over its memory.
type slot struct {
	Slot
	images, masks *tensor.Dense
}

// NewLoader checks samples and options against each other.
func NewLoader(samples []Sample, o Options) (*Loader, error) {
	if len(samples) == 0 {
		return nil, &Error{Kind: ErrEmpty, Found: "no samples to load"}
	}
	if o.Batch < 1 {
		return nil, fmt.Errorf("data loader: batch size %d", o.Batch)
	}
	if o.DropLast && len(samples) < o.Batch {
		return nil, &Error{Kind: ErrTooFew, Found: fmt.Sprintf("%d samples do not fill one batch of %d", len(samples), o.Batch), Advice: "lower the batch size"}
	}
	if err := o.Preprocess.Validate(); err != nil {
		return nil, err
	}
	for _, v := range o.Views {
		if err := v.Validate(); err != nil {
			return nil, err
		}
	}
	if o.Copies < 0 || (o.Copies > 0) != (o.Vary != nil) {
		return nil, fmt.Errorf("data loader: %d copies of each picture, and a function that makes them: %t", o.Copies, o.Vary != nil)
	}
	if o.Border < 0 || o.Border > 0 && o.Masks {
		return nil, fmt.Errorf("data loader: a border of %d pixels cannot be cut off pictures with masks, or is negative", o.Border)
	}
	size := o.Preprocess.Size
	if r := o.TrainResize; r != ([2]int{}) && (r[0] < size[0] || r[1] < size[1]) {
		return nil, fmt.Errorf("data loader: pictures resized to %dx%d cannot be cropped to %dx%d", r[0], r[1], size[0], size[1])
	}
	if o.Masks && !o.SomeMasks {
		for _, s := range samples {
			if s.MaskPath == "" {
				return nil, &Error{Kind: ErrMissing, Path: s.ImagePath, Found: "it has no mask", Advice: "make masks first (relevit masks)"}
			}
		}
	}
	if o.Workers < 1 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if len(o.Slots) == 0 {
		o.Slots = make([]Slot, max(o.InFlight, 2))
		for i := range o.Slots {
			o.Slots[i] = NewSlot(o.Batch, size, o.Masks)
			for _, v := range o.Views {
				o.Slots[i].Views = append(o.Slots[i].Views, make([]float32, o.Batch*3*v.Size[0]*v.Size[1]))
				if o.Masks {
					o.Slots[i].ViewMasks = append(o.Slots[i].ViewMasks, make([]float32, o.Batch*v.Size[0]*v.Size[1]))
				}
			}
			o.Slots[i].Varied = o.varied()
		}
	}
	l := &Loader{samples: samples, o: o, reported: map[int]bool{}}
	for i, s := range o.Slots {
		prepared, err := l.prepare(s)
		if err != nil {
			return nil, fmt.Errorf("data loader: slot %d: %w", i, err)
		}
		l.slots = append(l.slots, prepared)
	}
	return l, nil
}

// NewSlot allocates the memory of one batch for height x width pictures.
func NewSlot(batch int, size [2]int, masks bool) Slot {
	plane := size[0] * size[1]
	s := Slot{Images: make([]float32, batch*3*plane), Labels: make([]int64, batch)}
	if masks {
		s.Masks = make([]float32, batch*plane)
	}
	return s
}

// varied allocates a batch's copies.
func (o *Options) varied() (out [][]float32) {
	if o.Copies == 0 {
		return nil
	}
	for _, v := range append([]picture.Preprocess{o.Preprocess}, o.Views...) {
		out = append(out, make([]float32, o.Batch*o.Copies*3*v.Size[0]*v.Size[1]))
	}
	return out
}

func (l *Loader) prepare(s Slot) (slot, error) {
	b, size := l.o.Batch, l.o.Preprocess.Size
	plane := size[0] * size[1]
	if len(s.Images) != b*3*plane {
		return slot{}, fmt.Errorf("%d image values, (%d,3,%d,%d) has %d", len(s.Images), b, size[0], size[1], b*3*plane)
	}
	if l.o.Masks && len(s.Masks) != b*plane {
		return slot{}, fmt.Errorf("%d mask values, (%d,1,%d,%d) has %d", len(s.Masks), b, size[0], size[1], b*plane)
	}
	if len(s.Views) != len(l.o.Views) || l.o.Masks && len(s.ViewMasks) != len(l.o.Views) {
		return slot{}, fmt.Errorf("memory for %d views and %d of their masks, expected %d", len(s.Views), len(s.ViewMasks), len(l.o.Views))
	}
	for i, v := range l.o.Views {
		if len(s.Views[i]) != b*3*v.Size[0]*v.Size[1] {
			return slot{}, fmt.Errorf("view %d has %d values, (%d,3,%d,%d) has %d", i, len(s.Views[i]), b, v.Size[0], v.Size[1], b*3*v.Size[0]*v.Size[1])
		}
	}
	if s.Varied == nil {
		s.Varied = l.o.varied()
	}
	if s.Labels == nil {
		s.Labels = make([]int64, b)
	}
	if len(s.Labels) != b {
		return slot{}, fmt.Errorf("%d labels for a batch of %d", len(s.Labels), b)
	}
	out := slot{Slot: s}
	out.images, out.masks = l.tensors(s, b)
	return out, nil
}

// tensors views the first count pictures of a slot.
func (l *Loader) tensors(s Slot, count int) (images, masks *tensor.Dense) {
	h, w := l.o.Preprocess.Size[0], l.o.Preprocess.Size[1]
	images = tensor.New(tensor.WithShape(count, 3, h, w), tensor.WithBacking(s.Images[:count*3*h*w]))
	if l.o.Masks {
		masks = tensor.New(tensor.WithShape(count, 1, h, w), tensor.WithBacking(s.Masks[:count*h*w]))
	}
	return images, masks
}

// View is the memory of a batch's pictures in one of the ways in which they are
// preprocessed: 0 is Options.Preprocess, and i Options.Views[i-1].
func (l *Loader) View(b *Batch, i int) []float32 {
	if i == 0 {
		return l.slots[b.Slot].Images
	}
	return l.slots[b.Slot].Views[i-1]
}

// ViewMasks is the memory of the masks of View.
func (l *Loader) ViewMasks(b *Batch, i int) []float32 {
	if i == 0 {
		return l.slots[b.Slot].Masks
	}
	return l.slots[b.Slot].ViewMasks[i-1]
}

// Varied is the memory of the copies of a batch's pictures, preprocessed as View
// says: those of each picture side by side.
func (l *Loader) Varied(b *Batch, i int) []float32 { return l.slots[b.Slot].Varied[i] }

// Len is the number of samples.
func (l *Loader) Len() int { return len(l.samples) }

// Steps is the number of batches of an epoch.
func (l *Loader) Steps() int {
	if l.o.DropLast {
		return len(l.samples) / l.o.Batch
	}
	return (len(l.samples) + l.o.Batch - 1) / l.o.Batch
}

// Range is which samples a step's batch holds, unless they are shuffled: those
// from one on and before another.
func (l *Loader) Range(step int) (from, to int) {
	return step * l.o.Batch, min((step+1)*l.o.Batch, len(l.samples))
}

// order is the order of an epoch: a pure function of seed and epoch.
func (l *Loader) order(epoch int) []int {
	if l.o.Shuffle {
		return permutation(len(l.samples), Random(l.o.Seed, "order", uint64(epoch), 0))
	}
	p := make([]int, len(l.samples))
	for i := range p {
		p[i] = i
	}
	return p
}

// worker decodes samples, reusing its memory.
type worker struct {
	l         *Loader
	image     picture.RGB
	mask      picture.Gray
	transform picture.Transformer
}

// load writes sample index of an epoch into place at of a slot. Its random
// choices are a pure function of seed, epoch and index.
func (w *worker) load(epoch, index int, s *slot, at int) error {
	sample, o := &w.l.samples[index], &w.l.o
	masked := o.Masks && sample.MaskPath != ""
	if err := w.read(sample, masked); err != nil {
		return err
	}
	if err := w.image.Trim(o.Border); err != nil {
		return &picture.Error{Path: sample.ImagePath, Doing: "crop image", Err: err, Content: true}
	}
	var g picture.Geometry
	if o.Augment {
		g = o.Preprocess.TrainGeometry(o.TrainResize, Random(o.Seed, "augment", uint64(epoch), uint64(index)))
	} else {
		g = o.Preprocess.EvalGeometry(w.image.W, w.image.H)
	}
	plane := g.Size[0] * g.Size[1]
	if err := w.transform.Image(s.Images[at*3*plane:][:3*plane], &w.image, g, o.Preprocess); err != nil {
		return fmt.Errorf("image %s: %w", sample.ImagePath, err)
	}
	for i, v := range o.Views {
		if err := w.view(s.Views[i], at, &w.image, v); err != nil {
			return fmt.Errorf("image %s: %w", sample.ImagePath, err)
		}
	}
	if o.Vary != nil {
		if err := w.vary(index, s, at, masked); err != nil {
			return fmt.Errorf("image %s: %w", sample.ImagePath, err)
		}
	}
	s.Labels[at] = int64(sample.Label)
	switch {
	case masked:
		return w.masks(s, at, sample, g)
	case o.Masks:
		s.emptyMasks(at, o.Batch)
	}
	return nil
}

// view writes a picture, evaluated in one of the ways, into a place of its memory.
func (w *worker) view(dst []float32, at int, p *picture.RGB, v picture.Preprocess) error {
	values := 3 * v.Size[0] * v.Size[1]
	return w.transform.Image(dst[at*values:][:values], p, v.EvalGeometry(p.W, p.H), v)
}

// vary writes the copies of a sample.
func (w *worker) vary(index int, s *slot, at int, masked bool) error {
	o, mask := &w.l.o, &w.mask
	if !masked {
		mask = nil
	}
	s.emptyCopies(at, o.Batch)
	return o.Vary(index, &w.image, mask, func(copy int, p *picture.RGB) error {
		if copy < 0 || copy >= o.Copies {
			return fmt.Errorf("copy %d of %d", copy, o.Copies)
		}
		if err := w.view(s.Varied[0], at*o.Copies+copy, p, o.Preprocess); err != nil {
			return err
		}
		for i, v := range o.Views {
			if err := w.view(s.Varied[i+1], at*o.Copies+copy, p, v); err != nil {
				return err
			}
		}
		return nil
	})
}

// read decodes a sample's picture and, where it is wanted, its mask.
func (w *worker) read(s *Sample, masked bool) error {
	if read := w.l.o.Read; read != nil {
		if !masked {
			return read(s, &w.image, nil)
		}
		return read(s, &w.image, &w.mask)
	}
	if err := w.image.ReadFile(s.ImagePath); err != nil || !masked {
		return err
	}
	if err := w.mask.ReadMask(s.MaskPath, w.l.o.Mask); err != nil {
		return fmt.Errorf("mask of image %s: %w", s.ImagePath, err)
	}
	return picture.CheckMaskSize(&w.mask, s.MaskPath, &w.image, s.ImagePath)
}

// masks writes the mask that was read, under the picture's geometry and those of
// the views.
func (w *worker) masks(s *slot, at int, sample *Sample, g picture.Geometry) error {
	write := w.transform.Mask
	if w.l.o.HardMasks {
		write = w.transform.HardMask
	}
	plane := g.Size[0] * g.Size[1]
	err := write(s.Masks[at*plane:][:plane], &w.mask, g)
	for i, v := range w.l.o.Views {
		if plane := v.Size[0] * v.Size[1]; err == nil {
			err = write(s.ViewMasks[i][at*plane:][:plane], &w.mask, v.EvalGeometry(w.mask.W, w.mask.H))
		}
	}
	if err != nil {
		return fmt.Errorf("mask %s: %w", sample.MaskPath, err)
	}
	return nil
}

// replaceable says whether an error means that an image's content is corrupt,
// as opposed to a file that is not there or a mask that does not fit, which no
// other sample can stand in for.
func replaceable(err error, s *Sample) bool {
	var e *picture.Error
	return errors.As(err, &e) && e.Content && e.Path == s.ImagePath
}

// ofImage says whether an error is that of a sample's image, be it that its
// content is corrupt or that it can't be read.
func ofImage(err error, s *Sample) bool {
	var e *picture.Error
	return errors.As(err, &e) && e.Path == s.ImagePath
}

// empty clears a place of a slot.
func (s *slot) empty(at, batch int) {
	for _, values := range append([][]float32{s.Images}, s.Views...) {
		n := len(values) / batch
		clear(values[at*n:][:n])
	}
	s.emptyMasks(at, batch)
	s.emptyCopies(at, batch)
	s.Labels[at] = 0
}

// emptyCopies clears those of a place.
func (s *slot) emptyCopies(at, batch int) {
	for _, values := range s.Varied {
		n := len(values) / batch
		clear(values[at*n:][:n])
	}
}

func (s *slot) emptyMasks(at, batch int) {
	for _, values := range append([][]float32{s.Masks}, s.ViewMasks...) {
		n := len(values) / batch
		clear(values[at*n:][:n])
	}
}

// report tells OnCorrupt about a sample, once.
func (l *Loader) report(index int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reported[index] {
		return
	}
	l.reported[index] = true
	if l.o.OnCorrupt != nil {
		l.o.OnCorrupt(Corrupt{Sample: l.samples[index], Err: err})
	}
}
