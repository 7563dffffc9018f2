package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relevit/relevit/pipeline/picture"
)

// small is a training configuration of 16x24 pictures.
func small(batch int) Options {
	return Options{Batch: batch, Seed: 7, Shuffle: true, Augment: true, Masks: true, Preprocess: picture.PaperEval(16, 24)}
}

func tree(t testing.TB, classes, perClass int) []Sample {
	t.Helper()
	samples, err := Tree(made(t, classes, perClass))
	if err != nil {
		t.Fatal(err)
	}
	if err := Label(samples, LabelsFolder, nil, 0); err != nil {
		t.Fatal(err)
	}
	return samples
}

// begin opens a loader and an epoch of it, from a step.
func begin(t testing.TB, samples []Sample, o Options, epoch, step int) (*Loader, *Epoch) {
	t.Helper()
	l, err := NewLoader(samples, o)
	if err != nil {
		t.Fatal(err)
	}
	e, err := l.Epoch(context.Background(), epoch, step)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return l, e
}

// digests runs an epoch from a step, and condenses each batch to a string.
func digests(t testing.TB, samples []Sample, o Options, epoch, step int) []string {
	t.Helper()
	_, e := begin(t, samples, o, epoch, step)
	var out []string
	for {
		b, err := e.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if b.Epoch != epoch || b.Step != step+len(out) {
			t.Fatalf("batch of epoch %d, step %d; expected %d, %d", b.Epoch, b.Step, epoch, step+len(out))
		}
		h := fnv.New64a()
		fmt.Fprint(h, b.Images.Data(), b.Images.Shape(), b.Labels, b.Samples, b.IDs, b.Replaced)
		if b.Masks != nil {
			fmt.Fprint(h, b.Masks.Data(), b.Masks.Shape())
		}
		out = append(out, fmt.Sprintf("%x", h.Sum(nil)))
		e.Release(b)
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: batches %v, want %v", what, got, want)
	}
}

func TestBatchesDoNotDependOnWorkersOrSlots(t *testing.T) {
	samples := tree(t, 3, 5)
	want := digests(t, samples, small(4), 2, 0)
	if len(want) != 4 {
		t.Fatalf("%d batches", len(want))
	}
	for _, workers := range []int{1, 2, 7} {
		for _, slots := range []int{1, 2, 5} {
			o := small(4)
			o.Workers = workers
			for range slots {
				o.Slots = append(o.Slots, NewSlot(4, o.Preprocess.Size, true))
			}
			same(t, fmt.Sprintf("%d workers, %d slots", workers, slots), digests(t, samples, o, 2, 0), want)
		}
	}
}

func TestResumingMidEpochGivesTheSameBatches(t *testing.T) {
	samples := tree(t, 3, 5)
	whole := digests(t, samples, small(4), 6, 0)
	for step := range len(whole) + 1 {
		same(t, fmt.Sprintf("from step %d", step), digests(t, samples, small(4), 6, step), whole[step:])
	}
}

func TestEpochsDifferInOrderAndAugmentationAndHoldEverySampleOnce(t *testing.T) {
	samples := tree(t, 2, 5)
	l, err := NewLoader(samples, small(3))
	if err != nil {
		t.Fatal(err)
	}
	orders := map[string]bool{}
	for epoch := range 4 {
		e, err := l.Epoch(context.Background(), epoch, 0)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		var order []string
		for b, err := e.Next(); err != io.EOF; b, err = e.Next() {
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range b.IDs {
				seen[id]++
				order = append(order, id)
				if s := samples[b.Samples[i]]; s.ID != id || int64(s.Label) != b.Labels[i] {
					t.Errorf("place %d has %s, label %d; the sample is %+v", i, id, b.Labels[i], s)
				}
			}
			e.Release(b)
		}
		e.Close()
		if len(seen) != len(samples) || len(order) != len(samples) {
			t.Errorf("epoch %d: %d samples, %d distinct", epoch, len(order), len(seen))
		}
		orders[strings.Join(order, " ")] = true
	}
	if len(orders) != 4 {
		t.Errorf("%d orders in 4 epochs", len(orders))
	}
	o := small(10)
	o.Shuffle = false
	if a, b := digests(t, samples, o, 0, 0), digests(t, samples, o, 1, 0); a[0] == b[0] {
		t.Error("augmentation repeats from epoch to epoch")
	}
}

func TestPixelsAreThoseOfTheTransformInTheCallersMemory(t *testing.T) {
	samples := tree(t, 1, 3)
	o := small(2)
	o.Shuffle, o.Augment = false, false
	o.Slots = []Slot{NewSlot(2, o.Preprocess.Size, true)}
	for i := range o.Slots[0].Images {
		o.Slots[0].Images[i] = 99 // left over from another use
	}
	_, e := begin(t, samples, o, 0, 0)
	plane := 16 * 24
	for step, count := range []int{2, 1} {
		b, err := e.Next()
		if err != nil {
			t.Fatal(err)
		}
		if b.Count != count || b.Images.Shape()[0] != count || b.Masks.Shape()[0] != count || b.Masks.Dims() != 4 {
			t.Fatalf("step %d: count %d, shapes %v %v", step, b.Count, b.Images.Shape(), b.Masks.Shape())
		}
		if &b.Images.Data().([]float32)[0] != &o.Slots[0].Images[0] {
			t.Fatal("the batch does not lie in the caller's memory")
		}
		for i := range count {
			s := samples[2*step+i]
			img, err := picture.ReadFile(s.ImagePath)
			if err != nil {
				t.Fatal(err)
			}
			mask, err := picture.ReadMask(s.MaskPath, picture.MaskOptions{})
			if err != nil {
				t.Fatal(err)
			}
			g := o.Preprocess.EvalGeometry(img.W, img.H)
			want, wantMask := make([]float32, 3*plane), make([]float32, plane)
			var tr picture.Transformer
			if err := errors.Join(tr.Image(want, img, g, o.Preprocess), tr.Mask(wantMask, mask, g)); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(want) != fmt.Sprint(o.Slots[0].Images[i*3*plane:][:3*plane]) ||
				fmt.Sprint(wantMask) != fmt.Sprint(o.Slots[0].Masks[i*plane:][:plane]) {
				t.Errorf("step %d, place %d differs from the transform", step, i)
			}
		}
		for i, v := range o.Slots[0].Images[count*3*plane:] {
			if v != 0 {
				t.Fatalf("value %d behind the last picture is %v", i, v)
			}
		}
		e.Release(b)
		e.Release(b)
	}
	if _, err := e.Next(); err != io.EOF {
		t.Errorf("after the last batch: %v", err)
	}
}

func TestDropLastLeavesOutTheRest(t *testing.T) {
	o := small(4)
	o.DropLast = true
	if n := len(digests(t, tree(t, 2, 5), o, 0, 0)); n != 2 {
		t.Errorf("%d batches of 4 from 10 samples", n)
	}
}

// TestFullSlotsAreToldOfBeforeTheirBatchIsGiven copies each slot when it is full,
// as a run does that sends batches to a device.
func TestFullSlotsAreToldOfBeforeTheirBatchIsGiven(t *testing.T) {
	o := small(4)
	o.Slots = []Slot{NewSlot(4, o.Preprocess.Size, true), NewSlot(4, o.Preprocess.Size, true)}
	var sent [2][]float32
	o.OnFull = func(slot int) error {
		sent[slot] = slices.Clone(o.Slots[slot].Images)
		return nil
	}
	samples := tree(t, 3, 5)
	_, e := begin(t, samples, o, 0, 0)
	for range 4 {
		b, err := e.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(sent[b.Slot], o.Slots[b.Slot].Images) {
			t.Errorf("batch %d was given before it was sent", b.Step)
		}
		sent[b.Slot] = nil
		e.Release(b)
	}
	o.OnFull = func(int) error { return errors.New("the device is gone") }
	_, e = begin(t, samples, o, 0, 0)
	if _, err := e.Next(); err == nil || !strings.Contains(err.Error(), "the device is gone") {
		t.Errorf("got %v", err)
	}
}

// spoil cuts an image file in half.
func spoil(t testing.TB, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data[:len(data)/2], 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCorruptImagesAreReportedOnceAndReplacedByTheNextGoodOne(t *testing.T) {
	samples := tree(t, 2, 5)
	for _, i := range []int{3, 4, 9} {
		spoil(t, samples[i].ImagePath)
	}
	var mu sync.Mutex
	var reports []string
	o := small(4)
	o.Shuffle, o.Workers = false, 4
	o.OnCorrupt = func(c Corrupt) {
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, c.Sample.ID)
		if !strings.Contains(c.Err.Error(), c.Sample.ImagePath) || !strings.Contains(c.Err.Error(), "truncated") {
			t.Errorf("error %v", c.Err)
		}
	}
	l, err := NewLoader(samples, o)
	if err != nil {
		t.Fatal(err)
	}
	for epoch := range 2 {
		e, err := l.Epoch(context.Background(), epoch, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		var replaced []bool
		for b, err := e.Next(); err != io.EOF; b, err = e.Next() {
			if err != nil {
				t.Fatal(err)
			}
			got, replaced = append(got, b.Samples...), append(replaced, b.Replaced...)
			e.Release(b)
		}
		e.Close()
		if fmt.Sprint(got) != "[0 1 2 5 5 5 6 7 8 0]" || fmt.Sprint(replaced) != "[false false false true true false false false false true]" {
			t.Errorf("samples %v, replaced %v", got, replaced)
		}
	}
	if len(reports) != 3 {
		t.Errorf("reports %v", reports)
	}
	o.OnCorrupt = nil
	want := digests(t, samples, o, 1, 0)
	o.Workers = 1
	same(t, "one worker", digests(t, samples, o, 1, 0), want)
}

// first returns the error with which an epoch ends.
func first(t *testing.T, samples []Sample, o Options) error {
	t.Helper()
	_, e := begin(t, samples, o, 0, 0)
	for {
		b, err := e.Next()
		if err != nil {
			if _, again := e.Next(); again != err {
				t.Errorf("the error %v became %v", err, again)
			}
			return err
		}
		e.Release(b)
	}
}

func TestWhatCannotBeReplacedIsAnError(t *testing.T) {
	t.Run("strict", func(t *testing.T) {
		samples := tree(t, 1, 5)
		spoil(t, samples[2].ImagePath)
		o := small(2)
		o.Strict = true
		if err := first(t, samples, o); !strings.Contains(fmt.Sprint(err), samples[2].ImagePath) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("all corrupt", func(t *testing.T) {
		samples := tree(t, 1, 3)
		for _, s := range samples {
			spoil(t, s.ImagePath)
		}
		fails(t, first(t, samples, small(2)), ErrEmpty, "none of the 3 images")
	})
	t.Run("absent image", func(t *testing.T) {
		samples := tree(t, 1, 3)
		os.Remove(samples[1].ImagePath)
		if err := first(t, samples, small(2)); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), samples[1].ImagePath) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("mask size", func(t *testing.T) {
		samples := tree(t, 1, 3)
		if err := os.WriteFile(samples[1].MaskPath, maskPNG(t, 9, 9), 0o644); err != nil {
			t.Fatal(err)
		}
		err := first(t, samples, small(2))
		if !errors.Is(err, picture.ErrMaskSize) || !strings.Contains(err.Error(), samples[1].MaskPath) || !strings.Contains(err.Error(), samples[1].ImagePath) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("corrupt mask", func(t *testing.T) {
		samples := tree(t, 1, 3)
		spoil(t, samples[1].MaskPath)
		err := first(t, samples, small(2))
		if err == nil || !strings.Contains(err.Error(), samples[1].MaskPath) || !strings.Contains(err.Error(), samples[1].ImagePath) {
			t.Errorf("error %v", err)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	samples := tree(t, 1, 2)
	for name, change := range map[string]func(*Options){
		"batch":    func(o *Options) { o.Batch = 0 },
		"std":      func(o *Options) { o.Preprocess.Std[1] = 0 },
		"resize":   func(o *Options) { o.TrainResize = [2]int{15, 40} },
		"images":   func(o *Options) { o.Slots = []Slot{{Images: make([]float32, 7)}} },
		"masks":    func(o *Options) { o.Slots = []Slot{{Images: make([]float32, 2*3*16*24)}} },
		"too few":  func(o *Options) { o.Batch, o.DropLast = 3, true },
		"no masks": func(*Options) { samples[1].MaskPath = "" },
	} {
		o := small(2)
		keep := samples[1].MaskPath
		change(&o)
		if _, err := NewLoader(samples, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
		samples[1].MaskPath = keep
	}
	l, err := NewLoader(samples, small(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Epoch(context.Background(), 0, 2); err == nil {
		t.Error("a step behind the end was accepted")
	}
	e, err := l.Epoch(context.Background(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Epoch(context.Background(), 1, 0); err == nil {
		t.Error("two epochs at once were accepted")
	}
	e.Close()
	e.Close()
	if _, err := e.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("after Close: %v", err)
	}
}

// settled waits until no more goroutines run than before.
func settled(t *testing.T, before int) {
	t.Helper()
	for range 12_000 { // a minute
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
}

func TestStoppingAnywhereLeavesNoGoroutineAndNoWriter(t *testing.T) {
	samples := tree(t, 2, 6)
	before := runtime.NumGoroutine()
	for stop := range 5 {
		for _, cancelled := range []bool{false, true} {
			o := small(3)
			o.Slots = []Slot{NewSlot(3, o.Preprocess.Size, true), NewSlot(3, o.Preprocess.Size, true)}
			l, err := NewLoader(samples, o)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			e, err := l.Epoch(ctx, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			for range min(stop, l.Steps()) {
				b, err := e.Next()
				if err != nil {
					t.Fatal(err)
				}
				if stop < 4 || b.Step < 2 { // with stop 4, two batches stay unreleased
					e.Release(b)
				}
			}
			if cancelled {
				cancel()
				if _, err := e.Next(); !errors.Is(err, context.Canceled) {
					t.Errorf("after cancel: %v", err)
				}
			}
			e.Close()
			images := fmt.Append(nil, o.Slots[0].Images[:50], o.Slots[1].Images[:50])
			cancel()
			settled(t, before)
			if now := fmt.Append(nil, o.Slots[0].Images[:50], o.Slots[1].Images[:50]); !bytes.Equal(images, now) {
				t.Error("a slot changed after Close")
			}
		}
	}
}

func BenchmarkLoader(b *testing.B) {
	root := filepath.Join("..", "..", "..", "shared", "data", "pets")
	if _, err := os.Stat(root); err != nil {
		b.Skipf("no reference data at %s", root)
	}
	samples, err := Flat(filepath.Join(root, "images"), filepath.Join(root, "trimaps"))
	if err != nil {
		b.Fatal(err)
	}
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			l, err := NewLoader(samples, Options{Batch: 8, Workers: workers, Shuffle: true, Augment: true, Masks: true, Preprocess: picture.PaperEval(224, 224)})
			if err != nil {
				b.Fatal(err)
			}
			count, epoch := 0, 0
			for b.Loop() {
				e, err := l.Epoch(context.Background(), epoch, 0)
				if err != nil {
					b.Fatal(err)
				}
				for batch, err := e.Next(); err != io.EOF; batch, err = e.Next() {
					if err != nil {
						b.Fatal(err)
					}
					count += batch.Count
					e.Release(batch)
				}
				e.Close()
				epoch++
			}
			b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "images/s")
		})
	}
}
