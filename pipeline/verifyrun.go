package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/picture"
)

// run gives the same inputs to both models and adds how far their outputs lie
// apart.
func (v *Verification) run(ctx context.Context, a, b string, opt VerifyOptions) error {
	var sessions [2]*ort.Session
	for i, path := range []string{a, b} {
		s, err := ort.Open(path, opt.ORT)
		if err != nil {
			return err
		}
		defer s.Close()
		sessions[i] = s
	}
	size := v.pictureSize()
	batch := int64(opt.Batch)
	if batch == 0 {
		batch = verifiedBatch
	}
	random, err := randomFeeds(sessions, batch, size, opt.Seed)
	if err != nil {
		return err
	}
	if err := v.compareOn(sessions, "random", random); err != nil {
		return err
	}
	for _, path := range opt.Images {
		if err := ctx.Err(); err != nil {
			return err
		}
		feeds, err := v.pictureFeeds(sessions, path)
		if err != nil {
			return err
		}
		if err := v.compareOn(sessions, path, feeds); err != nil {
			return err
		}
	}
	return nil
}

// feed is one input for both models.
type feed struct {
	names  [2]string // in either model
	types  [2]onnx.DType
	values *onnx.Tensor // float32 or int64
}

// pair matches the second model's inputs with the first's: by name, or by
// position where a name is missing.
func pair(sessions [2]*ort.Session) ([][2]ort.Port, error) {
	first, second := sessions[0].Inputs(), sessions[1].Inputs()
	if len(first) != len(second) {
		return nil, fmt.Errorf("the first takes %d inputs, the second %d: they can't be compared on the same ones", len(first), len(second))
	}
	out := make([][2]ort.Port, len(first))
	for i, p := range first {
		at := slices.IndexFunc(second, func(q ort.Port) bool { return q.Name == p.Name })
		if at < 0 {
			at = i
		}
		out[i] = [2]ort.Port{p, second[at]}
	}
	return out, nil
}

// randomFeeds makes normally distributed inputs, the same for the same seed.
func randomFeeds(sessions [2]*ort.Session, batch int64, size [2]int64, seed uint64) ([]feed, error) {
	ports, err := pair(sessions)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	var out []feed
	for _, p := range ports {
		dims, err := commonDims(p, batch, size)
		if err != nil {
			return nil, err
		}
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		f := feed{names: [2]string{p[0].Name, p[1].Name}, types: [2]onnx.DType{p[0].Type, p[1].Type}}
		if p[0].Type.IsFloat() {
			values := make([]float32, n)
			for i := range values {
				values[i] = float32(rng.NormFloat64())
			}
			f.values = onnx.FloatTensor(values, dims...)
		} else {
			f.values = onnx.Int64Tensor(make([]int64, n), dims...)
		}
		out = append(out, f)
	}
	return out, nil
}

// commonDims chooses sizes that fit both models' inputs. What both leave open is
// the batch if it comes first, and the picture's size if it comes third or
// fourth.
func commonDims(p [2]ort.Port, batch int64, size [2]int64) ([]int64, error) {
	a, b := p[0].Shape, p[1].Shape
	if len(a) != len(b) {
		return nil, fmt.Errorf("input %v of the first doesn't go with input %v of the second", p[0], p[1])
	}
	dims := make([]int64, len(a))
	for i := range a {
		switch {
		case a[i].Known() && b[i].Known() && a[i].N != b[i].N:
			return nil, fmt.Errorf("input %v of the first doesn't go with input %v of the second", p[0], p[1])
		case a[i].Known():
			dims[i] = a[i].N
		case b[i].Known():
			dims[i] = b[i].N
		case i == 0:
			dims[i] = batch
		case len(a) == 4 && i == 1:
			dims[i] = 3
		case len(a) == 4:
			dims[i] = size[i-2]
		default:
			return nil, fmt.Errorf("input %v leaves dimension %d open, and nothing tells which size is right", p[0], i)
		}
	}
	return dims, nil
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
		text, ok := m.model.Meta(models.MetaPreprocess)
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
func (v *Verification) pictureFeeds(sessions [2]*ort.Session, path string) ([]feed, error) {
	p, err := v.preprocessing()
	if err != nil {
		return nil, err
	}
	src, err := picture.ReadFile(path)
	if err != nil {
		return nil, err
	}
	ports, err := pair(sessions)
	if err != nil {
		return nil, err
	}
	h, w := int64(p.Size[0]), int64(p.Size[1])
	dims, err := commonDims(ports[0], 1, [2]int64{h, w})
	if err != nil {
		return nil, err
	}
	if len(ports) != 1 || !slices.Equal(dims[1:], []int64{3, h, w}) {
		return nil, fmt.Errorf("pictures can be given to models with one input (batch,3,%d,%d), not %v", h, w, ports[0][0])
	}
	one := make([]float32, 3*h*w)
	var t picture.Transformer
	if err := t.Image(one, src, p.EvalGeometry(src.W, src.H), p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	batch := slices.Repeat(one, int(dims[0]))
	return []feed{{names: [2]string{ports[0][0].Name, ports[0][1].Name},
		types: [2]onnx.DType{ports[0][0].Type, ports[0][1].Type}, values: onnx.FloatTensor(batch, dims...)}}, nil
}

// buffer copies the values into an input of either model.
func (f feed) buffer(which int) (*ort.Buffer, error) {
	t := f.values
	if t.Type == onnx.Float {
		var err error
		if t, err = t.As(f.types[which]); err != nil {
			return nil, fmt.Errorf("input %s: %w", f.names[which], err)
		}
	}
	b, err := ort.NewBuffer(f.types[which], t.Dims...)
	if err == nil && t.Type == b.Type() {
		copy(b.Bytes(), t.Raw) // otherwise all is zero, in any type
	}
	return b, err
}

// compareOn runs both models on the same inputs.
func (v *Verification) compareOn(sessions [2]*ort.Session, inputs string, feeds []feed) error {
	var results [2]map[string]*ort.Buffer
	for i, s := range sessions {
		in := map[string]*ort.Buffer{}
		for _, f := range feeds {
			b, err := f.buffer(i)
			if err != nil {
				return err
			}
			defer b.Close()
			in[f.names[i]] = b
		}
		out, err := s.Call(in)
		if err != nil {
			return err
		}
		for _, b := range out {
			defer b.Close()
		}
		results[i] = out
	}
	first, second := sessions[0].Outputs(), sessions[1].Outputs()
	for i, p := range first {
		x, y := results[0][p.Name], results[1][p.Name]
		if y == nil && i < len(second) && len(first) == len(second) {
			y = results[1][second[i].Name]
		}
		if y == nil || !slices.Equal(x.Shape(), y.Shape()) {
			continue // a difference of structure
		}
		if err := v.compareOutput(p.Name, inputs, x, y); err != nil {
			return fmt.Errorf("output %s: %w", p.Name, err)
		}
	}
	if len(v.Outputs) == 0 {
		return fmt.Errorf("the models have no output of the same name and shape")
	}
	return nil
}

func (v *Verification) compareOutput(name, inputs string, x, y *ort.Buffer) error {
	p, err := numbers(x)
	if err != nil {
		return err
	}
	q, err := numbers(y)
	if err != nil {
		return err
	}
	for i, values := range [][]float64{p, q} {
		if slices.ContainsFunc(values, math.IsNaN) {
			v.fault(v.Models[i].Path, "output %s holds NaN on %s inputs", name, inputs)
		}
	}
	abs, rel := drift(p, q)
	d := OutputDrift{Output: name, Inputs: inputs, MaxAbs: Number(abs), MaxRel: Number(rel)}
	if shape := x.Shape(); len(shape) == 2 && shape[1] > 1 {
		d.Rows = int(shape[0])
		same := 0
		for r := range d.Rows {
			row := func(v []float64) []float64 { return v[r*int(shape[1]) : (r+1)*int(shape[1])] }
			if top(row(p)) == top(row(q)) {
				same++
			}
		}
		d.SameTop1 = &same
	}
	v.Outputs = append(v.Outputs, d)
	return nil
}

func numbers(b *ort.Buffer) ([]float64, error) {
	t := onnx.Tensor{Type: b.Type(), Dims: b.Shape(), Raw: b.Bytes()}
	return t.Float64s()
}

// top is the index of the largest number, the first of several.
func top(v []float64) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}
