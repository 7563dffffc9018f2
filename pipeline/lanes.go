package pipeline

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
)

// lanesOf settles on how many lanes pictures run side by side, how many of them
// at once on each, and how many are worth giving at once. Unless the model's
// batch, first in its input's shape, is fixed, every thread is a lane that takes
// one picture after another: what a picture needs stays in its core's cache, no
// thread waits for another between nodes, and one that shares its core with a
// decoder holds up itself alone.
func lanesOf(first onnx.Dim, batch int, opt *ort.Options) (lanes, size, worth int) {
	if first.Known() && first.N != 1 {
		return 1, int(first.N), int(first.N)
	}
	if lanes = opt.Lanes(); lanes > 1 && batch >= lanes {
		opt.Threads = 1
		return lanes, 1, batch
	}
	if first.Known() {
		batch = 1
	}
	return 1, batch, batch
}

// onLanes lets every lane take the next size pictures until all count are
// done, and calls f for each such part.
func onLanes(lanes, size, count int, f func(lane, from, to int) error) error {
	var next atomic.Int64
	failed := make([]error, lanes)
	var running sync.WaitGroup
	for i := range lanes {
		running.Go(func() {
			for failed[i] == nil {
				from := int(next.Add(int64(size))) - size
				if from >= count {
					return
				}
				failed[i] = f(i, from, min(from+size, count))
			}
		})
	}
	running.Wait()
	return errors.Join(failed...)
}
