package pipeline

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
)

// ExportCheck is what came of running an exported model and the user's own
// graph with the same values on the same random input.
type ExportCheck struct {
	Ran      bool   `json:"ran"`              // false without ONNX Runtime: then it was only read
	Pictures int64  `json:"pictures"`         // random ones
	MaxAbs   Number `json:"max_abs"`          // largest difference of an output
	MaxRel   Number `json:"max_rel"`          // over the output's largest value
	SameTop1 int64  `json:"same_top1"`        // pictures with the same largest output
	Reason   string `json:"reason,omitempty"` // why it didn't run
}

// Drift up to which a model counts as the same, and that up to which a model in
// float16 does: beyond, something is wrong and not merely rounded.
const (
	sameDrift = 1e-3
	halfDrift = 0.2
)

// check reads and runs a model that was just written, and compares it with the
// user's own graph.
func (e *exporter) check(ctx context.Context, path string, values []safetensors.Named, metadata []onnx.KV) (*ExportCheck, error) {
	written, _, err := onnx.ReadModel(path)
	if err != nil {
		return nil, fmt.Errorf("what was written can't be read back: %w", err)
	}
	own := onnx.Check(e.model)
	for _, p := range onnx.Check(written) {
		if !slices.Contains(own, p) {
			return nil, fmt.Errorf("what was written breaks a rule of ONNX: %v", p)
		}
	}
	if !e.opt.Run {
		return &ExportCheck{Reason: "not asked for"}, nil
	}
	if err := e.opt.ORT.Load(); ort.IsMissing(err) {
		return &ExportCheck{Reason: "no ONNX Runtime to run it"}, nil
	} else if err != nil {
		return nil, err
	}
	after, err := ort.Open(path, e.opt.ORT)
	if withoutKernels(written, err) {
		return &ExportCheck{Reason: "the model computes in bfloat16, which ONNX Runtime does in few operators; with --precision " + Float32 + " it runs"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("what was written doesn't load: %w", err)
	}
	defer after.Close()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	before, err := e.reference(filepath.Dir(path), values, metadata)
	if withoutKernels(e.model, err) {
		return &ExportCheck{Reason: "there is nothing to compare it with: the source computes in bfloat16, which ONNX Runtime does in few operators"}, nil
	}
	if err != nil {
		return &ExportCheck{Reason: err.Error()}, nil
	}
	defer before.Close()
	c := comparison{before: before, after: after, size: pictureSizeOf(e.model)}
	if err := c.run(); err != nil {
		return nil, fmt.Errorf("running what was written: %w", err)
	}
	return &c.ExportCheck, c.judge(e.result.Half != nil || e.opt.Precision != "")
}

// reference opens the user's own graph with the new values.
func (e *exporter) reference(dir string, values []safetensors.Named, metadata []onnx.KV) (*ort.Session, error) {
	if e.document == nil {
		return nil, fmt.Errorf("the checkpoint's model is too big to be run for comparison")
	}
	if err := e.setValues(values, metadata); err != nil {
		return nil, err
	}
	if !e.document.HasExternalData() {
		return ort.NewSession(e.document.Bytes(), e.opt.ORT)
	}
	own := filepath.Join(dir, "own")
	if err := os.Mkdir(own, 0o777); err != nil {
		return nil, err
	}
	defer os.RemoveAll(own)
	path := filepath.Join(own, "model.onnx")
	if err := e.document.WriteFile(path); err != nil {
		return nil, err
	}
	return ort.Open(path, e.opt.ORT)
}

// pictureSizeOf is the size of a model's pictures by its metadata, or 224x224.
func pictureSizeOf(m *onnx.Model) [2]int64 {
	if p := models.PreprocessOf(m); p != nil {
		return [2]int64{int64(p.InputSize[1]), int64(p.InputSize[2])}
	}
	return [2]int64{224, 224}
}

// comparison runs two models that may differ in batch size and types.
type comparison struct {
	ExportCheck
	before, after *ort.Session
	size          [2]int64
	pictures      int64
}

// comparedPictures is how many pictures models of any batch size are given.
const comparedPictures = 3

func (c *comparison) run() error {
	batches := [2]int64{}
	for i, s := range []*ort.Session{c.before, c.after} {
		for _, p := range s.Inputs() {
			if len(p.Shape) > 0 && p.Shape[0].Known() {
				batches[i] = p.Shape[0].N
				break
			}
		}
	}
	c.pictures = max(batches[1], comparedPictures)
	if batches[1] != 0 {
		c.pictures = batches[1]
	}
	rows := map[string]*onnx.Tensor{}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, p := range c.before.Inputs() {
		dims, err := c.dims(p)
		if err != nil {
			return err
		}
		values := make([]float32, onnx.ShapeOf(dims...).Count().N)
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
		rows[p.Name] = onnx.FloatTensor(values, dims...)
	}
	want, err := callRows(c.before, rows, c.pictures, max(batches[0], 0))
	if err != nil {
		return err
	}
	got, err := callRows(c.after, rows, c.pictures, max(batches[1], 0))
	if err != nil {
		return err
	}
	c.Ran, c.Pictures, c.SameTop1 = true, c.pictures, c.pictures
	for _, p := range c.after.Outputs() {
		if err := c.compare(p.Name, want[p.Name], got[p.Name]); err != nil {
			return err
		}
	}
	return nil
}

// dims are the sizes of one input for all pictures.
func (c *comparison) dims(p ort.Port) ([]int64, error) {
	dims := p.Shape.Ints()
	if len(dims) == 0 {
		return nil, fmt.Errorf("input %v has no sizes", p)
	}
	for i, d := range dims {
		switch {
		case i == 0:
			dims[i] = c.pictures
		case d >= 0:
		case len(dims) == 4 && i == 1:
			dims[i] = 3
		case len(dims) == 4:
			dims[i] = c.size[i-2]
		default:
			return nil, fmt.Errorf("input %v leaves dimension %d open, and nothing tells which size is right", p, i)
		}
	}
	return dims, nil
}

// callRows runs a model on all pictures, batch at a time (0: all at once), and
// returns the rows of its outputs. Inputs that aren't floats are zero.
func callRows(s *ort.Session, rows map[string]*onnx.Tensor, pictures, batch int64) (map[string][]float64, error) {
	if batch == 0 {
		batch = pictures
	}
	out := map[string][]float64{}
	for start := int64(0); start < pictures; start += batch {
		in := map[string]*ort.Buffer{}
		for _, p := range s.Inputs() {
			b, err := portion(p, rows[p.Name], start, batch)
			if err != nil {
				return nil, err
			}
			defer b.Close()
			in[p.Name] = b
		}
		results, err := s.Call(in)
		if err != nil {
			return nil, err
		}
		for name, b := range results {
			if b.Type().IsFloat() {
				values, err := b.Tensor().Float64s()
				if err != nil {
					return nil, err
				}
				out[name] = append(out[name], values[:int64(len(values))*min(batch, pictures-start)/batch]...)
			}
			b.Close()
		}
	}
	return out, nil
}

// portion are the pictures of one batch in an input; zeros behind the last.
func portion(p ort.Port, rows *onnx.Tensor, start, batch int64) (*ort.Buffer, error) {
	if rows == nil {
		return nil, fmt.Errorf("input %v has no counterpart in the user's own graph", p)
	}
	dims := append([]int64{batch}, rows.Dims[1:]...)
	b, err := ort.NewBuffer(p.Type, dims...)
	if err != nil || !p.Type.IsFloat() {
		return b, err
	}
	size := int64(len(rows.Raw)) / rows.Dims[0]
	part := make([]byte, batch*size)
	copy(part, rows.Raw[start*size:])
	t, err := (&onnx.Tensor{Type: onnx.Float, Dims: dims, Raw: part}).As(p.Type)
	if err != nil {
		b.Close()
		return nil, err
	}
	copy(b.Bytes(), t.Raw)
	return b, nil
}

func (c *comparison) compare(name string, want, got []float64) error {
	if slices.ContainsFunc(got, bad) && !slices.ContainsFunc(want, bad) {
		return fmt.Errorf("output %s holds numbers that aren't finite", name)
	}
	if want == nil {
		return nil // it is new
	}
	if len(want) != len(got) {
		return fmt.Errorf("output %s has %d numbers, in the user's own graph %d", name, len(got), len(want))
	}
	abs, size := 0.0, 0.0
	for i := range want {
		if !bad(want[i]) {
			abs, size = max(abs, math.Abs(got[i]-want[i])), max(size, math.Abs(want[i]))
		}
	}
	if c.MaxAbs = max(c.MaxAbs, Number(abs)); abs > 0 {
		c.MaxRel = max(c.MaxRel, Number(abs/size))
	}
	same, each := int64(0), int64(len(want))/c.pictures
	for i := range c.pictures {
		if each > 0 && top(want[i*each:(i+1)*each]) == top(got[i*each:(i+1)*each]) {
			same++
		}
	}
	c.SameTop1 = min(c.SameTop1, same)
	return nil
}

func bad(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

// judge refuses a model that computes something else.
func (c *comparison) judge(rounded bool) error {
	limit := sameDrift
	if rounded {
		limit = halfDrift
	}
	if float64(c.MaxRel) > limit || math.IsNaN(float64(c.MaxRel)) {
		return fmt.Errorf("what was written computes something else: its outputs differ by %.2g of the largest value; please report this", c.MaxRel)
	}
	return nil
}
