package gradients

import (
	"fmt"
	"math"

	"github.com/relevit/relevit/onnx"
)

// Subject is a ViT's graph as relevance and losses see it.
type Subject struct {
	Image  *onnx.Value    // (B,3,H,W)
	Logits *onnx.Value    // (B,C)
	Maps   []AttentionMap // in order of execution
	Prefix int64          // tokens before the patches: class, distillation, registers
	Grid   [2]int64       // patch rows, columns
	Mean   bool           // no class token: the rollout starts from the mean over patches
	Heads  Fusion

	trained bool // a loss follows: speed counts more than the last digit
}

// AttentionMap is one attention after its softmax.
type AttentionMap struct {
	Value      *onnx.Value // (B,H,N,N), or (B*H,N,N); with Rows (B,H,R,N), or (B*H,R,N)
	Block      int         // maps of one block are parallel: they add up
	Heads      int64
	Transposed bool // keys before queries
	Rows       bool // only those of the first queries: what the classifier and the rollout read of the last map
}

// Square brings a tensor of the map's layout to (B,H,queries,keys).
func (m AttentionMap) Square(b *onnx.Builder, v *onnx.Value) *onnx.Value {
	rank := len(m.Value.Shape)
	queries, keys := m.Value.Shape[rank-2], m.Value.Shape[rank-1]
	if len(v.Shape) != 4 {
		batch := v.Shape.Count().Over(queries.Times(keys).Times(onnx.D(m.Heads)))
		v = b.Reshape(v, onnx.Shape{batch, onnx.D(m.Heads), queries, keys})
	}
	if m.Transposed {
		v = b.SwapLast(v)
	}
	return v
}

// Relevance is the published rollout of one target class per image.
type Relevance struct {
	Row      *onnx.Value // (B,P): relevance of every patch; nil where it is that of pixels
	Map      *onnx.Value // (B,1,H,W): upsampled, then scaled to [0,1] per image
	Constant *onnx.Value // (B,1) bool: the map has no range; Map is then zero
}

// AttentionGradients emits the gradients, for every map from the given block
// on, of the sum over the batch of the target's logit: (B,H,N,N) or as the map
// is laid out. target (B) holds class indices.
func AttentionGradients(b *onnx.Builder, s Subject, target *onnx.Value, from int) ([]AttentionMap, []*onnx.Value, error) {
	var maps []AttentionMap
	var values []*onnx.Value
	for _, m := range s.Maps {
		if m.Block >= from {
			maps, values = append(maps, m), append(values, m.Value)
		}
	}
	grads, err := walkLogit(b, s, target, values)
	if err != nil {
		return nil, nil, err
	}
	for i, g := range grads {
		if g == nil {
			return nil, nil, fmt.Errorf("attention map %s has no influence on the logits %s", values[i].Name, s.Logits.Name)
		}
		grads[i] = b.Named(values[i].Name+"/gradient", g)
	}
	return maps, grads, nil
}

// walkLogit differentiates the sum over the batch of the target's logit.
func walkLogit(b *onnx.Builder, s Subject, target *onnx.Value, wrt []*onnx.Value) ([]*onnx.Value, error) {
	seed := oneHot(b, target, s.Logits)
	return walkBack(b, "dlogit", map[*onnx.Value]*onnx.Value{s.Logits: seed}, wrt, nil, s.trained)
}

// oneHot is 1 at every image's target class, 0 elsewhere: (B,C).
func oneHot(b *onnx.Builder, target, logits *onnx.Value) *onnx.Value {
	classes := positions(b, logits, 1)
	return b.Cast(b.Op("Equal", nil, b.Unsqueeze(target, 1), classes), logits.Type)
}

// Rollout emits the relevance from the maps and their gradients:
// r = e_0, then r = r + r mean_heads(max(G A, 0)) from the last block to the
// first of maps, so that no (N,N) products are needed.
func Rollout(b *onnx.Builder, s Subject, maps []AttentionMap, grads []*onnx.Value) Relevance {
	former := b.In("relevance")
	defer b.In(former)
	row := s.start(b)
	for end := len(maps); end > 0; {
		first := end - 1
		for first > 0 && maps[first-1].Block == maps[first].Block {
			first--
		}
		flow := s.flow(b, maps[first:end], grads[first:end])
		if maps[first].Rows { // the last map: r is e_0
			row = b.Add(row, b.Slice(flow, 1, 0, 1))
		} else {
			row = b.Add(row, b.MatMul(row, flow)) // (B,1,N)
		}
		end = first
	}
	return s.heat(b, "relevance", row)
}

// picture upsamples (B,P) bilinearly to (B,1,H,W) and scales every image to
// [0,1].
func (s Subject) picture(b *onnx.Builder, method string, row *onnx.Value) (scaled, constant *onnx.Value) {
	h, w := s.Image.Shape[2].N, s.Image.Shape[3].N
	batch := row.Shape[0]
	grid := b.Reshape(row, onnx.Shape{batch, onnx.D(s.Grid[0]), onnx.D(s.Grid[1])})
	up := b.MatMul(b.Floats(bilinear(h, s.Grid[0]), row, h, s.Grid[0]), grid)          // (B,H,columns)
	up = b.MatMul(up, b.SwapLast(b.Floats(bilinear(w, s.Grid[1]), row, w, s.Grid[1]))) // (B,H,W)
	m, constant := scale(b, method, b.Reshape(up, onnx.Shape{batch, onnx.D(h * w)}))
	return b.Named(method+"/map", b.Reshape(m, onnx.Shape{batch, onnx.D(1), onnx.D(h), onnx.D(w)})), constant
}

// scale brings every image of (B,pixels) to [0,1] by its minimum and maximum. A
// constant image becomes zero, with zero gradient; the published code divides
// by zero there.
func scale(b *onnx.Builder, method string, flat *onnx.Value) (scaled, constant *onnx.Value) {
	low := b.Reduce("ReduceMin", flat, true, 1)
	span := b.Sub(b.Reduce("ReduceMax", flat, true, 1), low)
	constant = b.Named(method+"/constant", b.Op("LessOrEqual", nil, span, b.Scalar(0, span))) // (B,1)
	// Divided by infinity, a constant image and its gradient are zero.
	return b.Div(b.Sub(flat, low), b.Where(constant, b.Scalar(math.Inf(1), span), span)), constant
}

// bilinear is the (out,in) matrix of linear interpolation with pixel centres
// at half-integers, edges repeated: torch's align_corners=False.
func bilinear(out, in int64) []float64 {
	m := make([]float64, out*in)
	for o := range out {
		at := math.Max(0, (float64(o)+0.5)*float64(in)/float64(out)-0.5)
		low := min(int64(at), in-1)
		high := min(low+1, in-1)
		part := at - float64(low)
		m[o*in+low] += 1 - part
		m[o*in+high] += part
	}
	return m
}
