package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"gorgonia.org/tensor"
)

// Batch is one step's data. Its tensors are views of a slot's memory, valid
// until Release. The last batch of an epoch may be smaller than B; the rest of
// the slot's memory is zero then.
type Batch struct {
	Epoch, Step int
	Slot        int           // index of its slot
	Count       int           // pictures in it
	Images      *tensor.Dense // (Count,3,H,W) float32
	Masks       *tensor.Dense // (Count,1,H,W) float32, or nil
	Labels      []int64       // (Count); NoLabel where unknown
	Samples     []int         // (Count) index of each sample in the loader's list
	IDs         []string      // (Count)
	Replaced    []bool        // (Count) stands in for a corrupt image, or is empty for one that is left out
	released    bool
}

// Epoch iterates over the batches of one epoch while workers prepare the next
// ones. It is for one goroutine; Close must be called, and ends every worker.
type Epoch struct {
	l      *Loader
	number int
	order  []int
	ctx    context.Context
	cancel context.CancelFunc
	free   chan int      // slots that nobody uses
	ready  chan *pending // batches in order, complete or still being filled
	jobs   chan job
	done   sync.WaitGroup
	err    error
	closed bool
}

// pending is a batch that workers fill.
type pending struct {
	Batch
	left   atomic.Int32
	errs   []error // (Count)
	filled chan struct{}
}

type job struct {
	p  *pending
	at int // place in the batch
}

// Epoch starts iterating over an epoch at a step, both counted from 0: the
// batches are those that an iteration from step 0 would have delivered there.
func (l *Loader) Epoch(ctx context.Context, epoch, step int) (*Epoch, error) {
	if epoch < 0 || step < 0 || step > l.Steps() {
		return nil, fmt.Errorf("data loader: epoch %d, step %d of %d", epoch, step, l.Steps())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy {
		return nil, errors.New("data loader: the epoch before has not been closed")
	}
	l.busy = true
	e := &Epoch{
		l: l, number: epoch, order: l.order(epoch),
		free:  make(chan int, len(l.slots)),
		ready: make(chan *pending, len(l.slots)),
		jobs:  make(chan job),
	}
	e.ctx, e.cancel = context.WithCancel(ctx)
	for i := range l.slots {
		e.free <- i
	}
	e.done.Add(1 + l.o.Workers)
	go e.dispatch(step)
	for range l.o.Workers {
		go e.work()
	}
	return e, nil
}

// Next waits for the next batch. It returns io.EOF after the last one, and the
// context's error when that is cancelled.
func (e *Epoch) Next() (*Batch, error) {
	if e.err != nil {
		return nil, e.err
	}
	p, err := e.next()
	if err != nil {
		e.err = err
		return nil, err
	}
	return &p.Batch, nil
}

func (e *Epoch) next() (*pending, error) {
	if err := e.ctx.Err(); err != nil {
		return nil, err
	}
	var p *pending
	var open bool
	select {
	case p, open = <-e.ready:
	case <-e.ctx.Done():
		return nil, e.ctx.Err()
	}
	if !open {
		if err := e.ctx.Err(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
	select {
	case <-p.filled:
	case <-e.ctx.Done():
		return nil, e.ctx.Err()
	}
	for _, err := range p.errs {
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Release gives a batch's slot back for filling; once is enough. With S slots,
// at most S batches can be held, and Next waits for ever beyond that.
func (e *Epoch) Release(b *Batch) {
	if !b.released {
		b.released = true
		e.free <- b.Slot
	}
}

// Close stops the workers and waits until none touches a slot any more.
func (e *Epoch) Close() {
	if e.closed {
		return
	}
	e.closed = true
	e.cancel()
	e.done.Wait()
	if e.err == nil {
		e.err = context.Canceled
	}
	e.l.mu.Lock()
	e.l.busy = false
	e.l.mu.Unlock()
}

// dispatch deals out the places of each batch as slots become free.
func (e *Epoch) dispatch(step int) {
	defer e.done.Done()
	defer close(e.jobs)
	defer close(e.ready)
	for ; step < e.l.Steps(); step++ {
		var at int
		select {
		case at = <-e.free:
		case <-e.ctx.Done():
			return
		}
		p := e.begin(step, at)
		select {
		case e.ready <- p:
		case <-e.ctx.Done():
			return
		}
		for i := range p.Count {
			select {
			case e.jobs <- job{p, i}:
			case <-e.ctx.Done():
				return
			}
		}
	}
}

// begin lays out the batch of a step in a slot.
func (e *Epoch) begin(step, at int) *pending {
	l, s := e.l, &e.l.slots[at]
	count := min(l.o.Batch, len(e.order)-step*l.o.Batch)
	p := &pending{errs: make([]error, count), filled: make(chan struct{})}
	p.Batch = Batch{
		Epoch: e.number, Step: step, Slot: at, Count: count, Images: s.images, Masks: s.masks, Labels: s.Labels[:count],
		Samples: make([]int, count), IDs: make([]string, count), Replaced: make([]bool, count),
	}
	if count < l.o.Batch {
		p.Images, p.Masks = l.tensors(s.Slot, count)
		plane := len(s.Images) / l.o.Batch
		clear(s.Images[count*plane:])
		for _, v := range s.Views {
			clear(v[count*(len(v)/l.o.Batch):])
		}
		for at := count; at < l.o.Batch; at++ {
			s.emptyCopies(at, l.o.Batch)
		}
		clear(s.Labels[count:])
		if l.o.Masks {
			clear(s.Masks[count*plane/3:])
		}
		for _, m := range s.ViewMasks {
			clear(m[count*(len(m)/l.o.Batch):])
		}
	}
	p.left.Store(int32(count))
	return p
}

func (e *Epoch) work() {
	defer e.done.Done()
	w := worker{l: e.l}
	for j := range e.jobs {
		j.p.errs[j.at] = e.fill(&w, j.p, j.at)
		if j.p.left.Add(-1) == 0 {
			if full := e.l.o.OnFull; full != nil && e.ctx.Err() == nil {
				if err := full(j.p.Slot); err != nil {
					j.p.errs[j.at] = errors.Join(j.p.errs[j.at], err)
				}
			}
			close(j.p.filled)
		}
	}
}

// fill loads the sample that belongs at a place of a batch or, where that one
// is corrupt, the next good one in the epoch's order: a choice that depends on
// nothing but the data.
func (e *Epoch) fill(w *worker, p *pending, at int) error {
	n := len(e.order)
	for k := range n {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		index := e.order[(p.Step*e.l.o.Batch+at+k)%n]
		sample := &e.l.samples[index]
		err := w.load(e.number, index, &e.l.slots[p.Slot], at)
		if err == nil {
			p.Samples[at], p.IDs[at], p.Replaced[at] = index, sample.ID, k > 0
			return nil
		}
		if e.l.o.LeaveOut && !e.l.o.Strict && ofImage(err, sample) {
			e.l.report(index, err)
			e.l.slots[p.Slot].empty(at, e.l.o.Batch)
			p.Samples[at], p.IDs[at], p.Replaced[at] = index, sample.ID, true
			return nil
		}
		if e.l.o.Strict || !replaceable(err, sample) {
			return err
		}
		e.l.report(index, err)
	}
	return &Error{Kind: ErrEmpty, Found: fmt.Sprintf("none of the %d images can be decoded", n)}
}
