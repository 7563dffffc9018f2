package pipeline

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/metrics"
)

// randomisedPictures is on how many pictures, evenly spread, maps are compared
// with those of a model that has forgotten what it learned.
const randomisedPictures = 16

// Randomisation is the sanity check by cascading randomisation of parameters
// (Adebayo et al. 2018, Sanity Checks for Saliency Maps; Quantus' MPRT, top
// down): maps that show what a model has learned lose their likeness to
// themselves as its parameters become random.
type Randomisation struct {
	Method string            `json:"method"`
	Images int               `json:"images"`
	Stages []RandomisedStage `json:"stages"` // each with the random parameters of those before it
}

// RandomisedStage is a model whose parameters are random from the output down to
// an attention map.
type RandomisedStage struct {
	Block      int      `json:"block"`      // of the first map that depends on random parameters; as many as there are blocks: only the output does
	Parameters int      `json:"parameters"` // how many numbers are random by now
	Similarity Measured `json:"similarity"` // of the maps with those of the model as it is: Spearman's rank correlation
}

// sample keeps those of a batch's pictures on which the model is to be
// randomised.
func (r *evaluating) sample(c *contender, l *dataset.Loader, batch *dataset.Batch) {
	if !r.opt.measures(MeasureRandomisation) {
		return
	}
	n, most := l.Len(), min(randomisedPictures, l.Len())
	values := 3 * c.predictor.Size[0] * c.predictor.Size[1]
	for i := range batch.Count {
		if at := batch.Samples[i]; !batch.Replaced[i] && (at == 0 || at*most/n > (at-1)*most/n) {
			c.sampled = append(c.sampled, l.View(batch, c.whole)[i*values:][:values]...)
		}
	}
}

// randomise compares a model's maps with those of its ever more random selves.
func (r *evaluating) randomise(ctx context.Context, c *contender) (*Randomisation, error) {
	if !r.opt.measures(MeasureRandomisation) {
		return nil, nil
	}
	e, err := openExplained(ExplainOptions{Model: c.path, Classes: r.opt.Classes, Open: r.opt.Open})
	if err != nil {
		return nil, err
	}
	m := e.model
	stages, err := m.stages()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.path, err)
	}
	count := len(c.sampled) / (3 * c.predictor.Size[0] * c.predictor.Size[1])
	if count == 0 { // those that were chosen couldn't be read
		return nil, nil
	}
	maps := func() (out [][]float32, err error) {
		x, err := newMapper(m, count, e.startLayer, r.method(), r.opt.ORT)
		if err != nil {
			return nil, err
		}
		defer x.Close()
		return out, x.predictions(ctx, c.sampled, count, func(_ int, _, relevance []float32) { out = append(out, relevance) })
	}
	learned, err := maps()
	if err != nil {
		return nil, err
	}
	out := &Randomisation{Method: r.method(), Images: count}
	numbers := 0
	for block := len(stages) - 1; block >= 0; block-- {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%w: %s is random down to block %d", err, c.path, block+1)
		}
		if r.opt.OnStage != nil {
			r.opt.OnStage(c.path, len(stages)-1-block, len(stages))
		}
		if len(stages[block]) == 0 {
			continue
		}
		var random []safetensors.Named
		for _, p := range stages[block] {
			t, err := randomised(p, r.opt.Seed)
			if err != nil {
				return nil, fmt.Errorf("%s: parameter %s: %w", c.path, p.Name, err)
			}
			random = append(random, safetensors.Named{Name: p.Name, Tensor: t})
			numbers += len(t.Raw) / 4
		}
		for _, g := range []*onnx.Graph{m.Source.Graph, m.Graph} {
			if err := fill(g, random); err != nil {
				return nil, fmt.Errorf("%s: %w", c.path, err)
			}
		}
		forgotten, err := maps()
		if err != nil {
			return nil, err
		}
		similarity := make([]float64, count)
		for i := range similarity {
			similarity[i] = metrics.Spearman(learned[i], forgotten[i])
		}
		out.Stages = append(out.Stages, RandomisedStage{Block: block, Parameters: numbers,
			Similarity: newMeasured(metrics.Mean(similarity), metrics.Means([][]float64{similarity}, r.opt.Seed)[0])})
	}
	return out, nil
}

// stages sorts the parameters by the block of the first attention map that
// depends on them; those of the last stage reach the output alone.
func (m *Model) stages() ([][]*onnx.Value, error) {
	found, err := models.Find(m.Graph, m.Find)
	if err != nil {
		return nil, err
	}
	blocks := 0
	first := map[*onnx.Value]int{}
	for _, a := range found.Attention {
		first[a.Value] = a.Block
		blocks = max(blocks, a.Block+1)
	}
	of := func(v *onnx.Value) int {
		if b, ok := first[v]; ok {
			return b
		}
		return blocks
	}
	for _, n := range slices.Backward(m.Graph.Nodes) {
		block := blocks
		for _, v := range n.Outputs {
			if v != nil {
				block = min(block, of(v))
			}
		}
		for _, v := range slices.Concat(n.Inputs, n.Captures) {
			if v != nil {
				first[v] = min(of(v), block)
			}
		}
	}
	stages := make([][]*onnx.Value, blocks+1)
	for _, p := range m.Params {
		stages[of(p)] = append(stages[of(p)], p)
	}
	return stages, nil
}

// randomised draws a parameter anew, normally with its own mean and deviation, so
// that scales stay scales and activations of a size.
func randomised(p *onnx.Value, seed uint64) (*onnx.Tensor, error) {
	values, err := p.Data.Float32s()
	if err != nil {
		return nil, err
	}
	var sum, squares float64
	for _, v := range values {
		sum += float64(v)
	}
	mean := sum / float64(len(values))
	for _, v := range values {
		squares += (float64(v) - mean) * (float64(v) - mean)
	}
	deviation := math.Sqrt(squares / float64(len(values)))
	name := fnv.New64a()
	name.Write([]byte(p.Name))
	random := rand.New(rand.NewPCG(seed, name.Sum64()))
	out := make([]float32, len(values))
	for i := range out {
		out[i] = float32(mean + deviation*random.NormFloat64())
	}
	return onnx.FloatTensor(out, p.Data.Dims...), nil
}
