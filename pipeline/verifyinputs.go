package pipeline

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// openBatches are the sizes of random batches where the models leave them open.
var openBatches = []int64{1, 3}

// trials lists everything that the models are to be run on.
func (v *Verification) trials(ports [][]ort.Port, opt VerifyOptions) ([]trial, error) {
	paired, err := pair(ports)
	if err != nil {
		return nil, err
	}
	size := v.pictureSize()
	batches := openBatches
	if opt.Batch > 0 {
		batches = []int64{int64(opt.Batch)}
	}
	var out []trial
	for _, b := range batches {
		feeds, err := randomFeeds(paired, b, size, opt.Seed)
		if err != nil {
			return nil, err
		}
		t := trial{inputs: "random", batch: b, feeds: func() ([]feed, error) { return feeds, nil }, reference: len(out) == 0}
		if len(feeds) > 0 && len(feeds[0].values.Dims) > 0 {
			t.batch = feeds[0].values.Dims[0]
		}
		if len(out) > 0 && out[0].batch == t.batch {
			break // the models don't leave it open
		}
		out = append(out, t)
	}
	for _, path := range opt.Inputs {
		feeds, err := fileFeeds(paired, path)
		if err != nil {
			return nil, err
		}
		out = append(out, trial{inputs: path, batch: feeds[0].values.Dims[0], reference: true,
			feeds: func() ([]feed, error) { return feeds, nil }})
	}
	pictures, err := picturesIn(opt.Images)
	if err != nil {
		return nil, err
	}
	for i, path := range pictures {
		out = append(out, trial{inputs: "images", batch: 1, reference: i == 0,
			feeds: func() ([]feed, error) { return v.pictureFeeds(paired, path) }})
	}
	return out, nil
}

// pair matches the second model's inputs with the first's: by name, or by
// position where a name is missing.
func pair(ports [][]ort.Port) ([][]ort.Port, error) {
	first := ports[0]
	out := make([][]ort.Port, len(first))
	for i, p := range first {
		out[i] = []ort.Port{p}
	}
	if len(ports) == 1 {
		return out, nil
	}
	second := ports[1]
	if len(first) != len(second) {
		return nil, fmt.Errorf("the first takes %d inputs, the second %d: they can't be compared on the same ones", len(first), len(second))
	}
	for i, p := range first {
		at := slices.IndexFunc(second, func(q ort.Port) bool { return q.Name == p.Name })
		if at < 0 {
			at = i
		}
		out[i] = append(out[i], second[at])
	}
	return out, nil
}

func newFeed(p []ort.Port, values *onnx.Tensor) feed {
	f := feed{values: values}
	for _, q := range p {
		f.names, f.types = append(f.names, q.Name), append(f.types, q.Type)
	}
	return f
}

// mostRandom bounds the elements of a random input: some of the sizes that
// models state are no sizes.
const mostRandom = 1 << 28

// randomFeeds makes normally distributed inputs, the same for the same seed.
func randomFeeds(ports [][]ort.Port, batch int64, size [2]int64, seed uint64) ([]feed, error) {
	rng := rand.New(rand.NewPCG(seed, 0))
	var out []feed
	for _, p := range ports {
		dims, err := commonDims(p, batch, size)
		if err != nil {
			return nil, err
		}
		n := int64(1)
		for _, d := range dims {
			if d > 0 && n > mostRandom/d {
				return nil, fmt.Errorf("input %v takes more than %d numbers", p[0], int64(mostRandom))
			}
			n *= d
		}
		if !p[0].Type.IsFloat() {
			out = append(out, newFeed(p, onnx.Int64Tensor(make([]int64, n), dims...)))
			continue
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
		out = append(out, newFeed(p, onnx.FloatTensor(values, dims...)))
	}
	return out, nil
}

// commonDims chooses sizes that fit the models' inputs. What they leave open is
// the batch if it comes first, and the picture's size if it comes third or
// fourth.
func commonDims(p []ort.Port, batch int64, size [2]int64) ([]int64, error) {
	dims := make([]int64, len(p[0].Shape))
	for i := range dims {
		dims[i] = -1
	}
	for _, q := range p {
		if len(q.Shape) != len(dims) {
			return nil, fmt.Errorf("input %v of the first doesn't go with input %v of the second", p[0], q)
		}
		for i, d := range q.Shape {
			if d.Known() && dims[i] >= 0 && dims[i] != d.N {
				return nil, fmt.Errorf("input %v of the first doesn't go with input %v of the second", p[0], q)
			}
			if d.Known() {
				dims[i] = d.N
			}
		}
	}
	last := len(dims) == 4 && dims[3] == 3 && dims[1] != 3 // channels last
	for i, d := range dims {
		switch {
		case d >= 0:
		case i == 0:
			dims[i] = batch
		case len(dims) == 4 && last:
			dims[i] = size[i-1]
		case len(dims) == 4 && i == 1:
			dims[i] = 3
		case len(dims) == 4:
			dims[i] = size[i-2]
		default:
			return nil, fmt.Errorf("input %v leaves dimension %d open, and nothing tells which size is right", p[0], i)
		}
	}
	return dims, nil
}

// fileFeeds reads inputs by their names; a model's only input may also be
// "image", as trace has it.
func fileFeeds(ports [][]ort.Port, path string) ([]feed, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	var out []feed
	for _, p := range ports {
		name := p[0].Name
		if len(ports) == 1 && !slices.Contains(f.Names(), name) {
			name = "image"
		}
		t, err := f.Tensor(name)
		if err != nil {
			return nil, err
		}
		for _, q := range p {
			if len(t.Dims) == 0 || !slices.EqualFunc(q.Shape, t.Dims, func(d onnx.Dim, n int64) bool { return !d.Known() || d.N == n }) {
				return nil, &safetensors.Error{File: path, Tensor: name, Problem: "it doesn't fit", Expected: q.String(), Found: t.Shape().String()}
			}
		}
		out = append(out, newFeed(p, t))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the models take no inputs, so there is nothing to do with %s", path)
	}
	return out, nil
}

// picturesIn lists pictures and those in folders, in order.
func picturesIn(paths []string) ([]string, error) {
	var out []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, path)
			continue
		}
		before := len(out)
		err = filepath.WalkDir(path, func(file string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && dataset.IsImage(file) {
				out = append(out, file)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(out) == before {
			return nil, &models.Error{Path: path, Problem: "there is no picture in this folder"}
		}
	}
	return out, nil
}

// pictureSize is what the models' metadata say of their input, or 224x224.
func (v *Verification) pictureSize() [2]int64 {
	if p, err := v.preprocessing(); err == nil {
		return [2]int64{int64(p.Size[0]), int64(p.Size[1])}
	}
	return [2]int64{224, 224}
}

// preprocessing reads the preprocessing off the first model's metadata, or off
// the second's where the first, as a foreign file, says nothing.
func (v *Verification) preprocessing() (p picture.Preprocess, err error) {
	for _, m := range v.Models {
		text, ok := m.subject.model.Meta(models.MetaPreprocess)
		if !ok {
			continue
		}
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return p, fmt.Errorf("%s of %s: %w", models.MetaPreprocess, m.Path, err)
		}
		return p, p.Validate()
	}
	return p, fmt.Errorf("no model's metadata have %s, so it isn't known how pictures become the input", models.MetaPreprocess)
}

// pictureFeeds prepares a picture as the models' metadata say.
func (v *Verification) pictureFeeds(ports [][]ort.Port, path string) ([]feed, error) {
	p, err := v.preprocessing()
	if err != nil {
		return nil, err
	}
	src, err := picture.ReadFile(path)
	if err != nil {
		return nil, err
	}
	h, w := int64(p.Size[0]), int64(p.Size[1])
	if len(ports) != 1 {
		return nil, fmt.Errorf("pictures can be given to models with one input, and these take %d", len(ports))
	}
	dims, err := commonDims(ports[0], 1, [2]int64{h, w})
	if err != nil {
		return nil, err
	}
	one := make([]float32, 3*h*w)
	var t picture.Transformer
	if err := t.Image(one, src, p.EvalGeometry(src.W, src.H), p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case len(dims) == 4 && slices.Equal(dims[1:], []int64{3, h, w}):
	case len(dims) == 4 && slices.Equal(dims[1:], []int64{h, w, 3}):
		one = interleaved(one)
	default:
		return nil, fmt.Errorf("pictures can be given to models with one input (batch,3,%d,%d), not %v", h, w, ports[0][0])
	}
	return []feed{newFeed(ports[0], onnx.FloatTensor(slices.Repeat(one, int(dims[0])), dims...))}, nil
}

// interleaved turns (3,H,W) into (H,W,3).
func interleaved(x []float32) []float32 {
	n := len(x) / 3
	out := make([]float32, len(x))
	for i := range n {
		for c := range 3 {
			out[3*i+c] = x[c*n+i]
		}
	}
	return out
}
