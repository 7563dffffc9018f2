package ref

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// heads brings a query, key or value to (B, heads, N, size).
func heads(x *Array, n int64) (*Array, error) {
	switch len(x.Shape) {
	case 4:
		return x, nil
	case 3:
		if n < 1 || int64(x.Shape[2])%n != 0 {
			return nil, fmt.Errorf("%v doesn't split into %d heads", x, n)
		}
		return permute(x.reshaped(x.Shape[0], x.Shape[1], int(n), x.Shape[2]/int(n)), []int{0, 2, 1, 3})
	}
	return nil, fmt.Errorf("%v has neither 3 nor 4 dimensions", x)
}

// repeatHeads gives each head of keys or values to as many queries.
func repeatHeads(x *Array, times int) (*Array, error) {
	if times == 1 {
		return x, nil
	}
	s := x.Shape
	y, err := expand(x.reshaped(s[0], s[1], 1, s[2], s[3]), []int{s[0], s[1], times, s[2], s[3]})
	if err != nil {
		return nil, err
	}
	return y.reshaped(s[0], s[1]*times, s[2], s[3]), nil
}

// attention is softmax(scale q k' + bias) v, with the keys and values of
// earlier calls in front, a mask, causality and a soft cap on the scores.
func attention(c *call) ([]*Array, error) {
	flat := len(c.in[0].Shape) == 3
	q, err := heads(c.in[0], c.node.Int("q_num_heads", 0))
	if err != nil {
		return nil, err
	}
	k, err := heads(c.in[1], c.node.Int("kv_num_heads", 0))
	if err != nil {
		return nil, err
	}
	v, err := heads(c.in[2], c.node.Int("kv_num_heads", 0))
	if err != nil {
		return nil, err
	}
	past := 0
	if (c.in[4] == nil) != (c.in[5] == nil) {
		return nil, errors.New("past key and past value go together")
	}
	if c.in[4] != nil {
		if k, err = join(2, c.in[4], k); err != nil {
			return nil, err
		}
		if v, err = join(2, c.in[5], v); err != nil {
			return nil, err
		}
		past = c.in[4].Shape[2]
	}
	if k.Shape[1] < 1 || q.Shape[1]%k.Shape[1] != 0 || k.Shape[1] != v.Shape[1] || k.Shape[2] != v.Shape[2] {
		return nil, fmt.Errorf("heads or lengths of %v, %v and %v don't fit", q, k, v)
	}
	bias, err := c.attentionBias(q, k, past)
	if err != nil {
		return nil, err
	}
	times := q.Shape[1] / k.Shape[1]
	keys, err := repeatHeads(k, times)
	if err != nil {
		return nil, err
	}
	values, err := repeatHeads(v, times)
	if err != nil {
		return nil, err
	}
	probabilities, shown, err := c.attentionMap(q, keys, bias)
	if err != nil {
		return nil, err
	}
	y, err := matmul(probabilities, values)
	if err != nil {
		return nil, err
	}
	if flat {
		if y, err = permute(y, []int{0, 2, 1, 3}); err != nil {
			return nil, err
		}
		y = y.reshaped(y.Shape[0], y.Shape[1], y.Shape[2]*y.Shape[3])
	}
	return []*Array{y, k, v, shown}, nil
}

// attentionMap returns the map after the softmax, and the scores at the stage
// that qk_matmul_output_mode asks for: 0 products, 1 capped, 2 with the bias,
// 3 after the softmax. A row without any key is zero.
func (c *call) attentionMap(q, k, bias *Array) (probabilities, shown *Array, err error) {
	kt, err := permute(k, []int{0, 1, 3, 2})
	if err != nil {
		return nil, nil, err
	}
	scores, err := matmul(q, kt)
	if err != nil {
		return nil, nil, err
	}
	factor := 1 / math.Sqrt(float64(q.Shape[3]))
	if s, ok := c.node.Attr("scale").(float32); ok {
		factor = c.node.Decimal("scale", s)
	}
	stages := make([]*Array, 4)
	if stages[0], err = scaled(scores, factor); err != nil {
		return nil, nil, err
	}
	stages[1] = stages[0]
	if limit := c.node.Decimal("softcap", 0); limit > 0 {
		if stages[1], err = apply(stages[0], func(x float64) float64 { return limit * math.Tanh(x/limit) }); err != nil {
			return nil, nil, err
		}
	}
	if stages[2], err = combine(stages[1], bias, add); err != nil {
		return nil, nil, err
	}
	if !slices.Equal(stages[2].Shape, scores.Shape) {
		return nil, nil, fmt.Errorf("mask %v doesn't broadcast to scores %v", c.in[3], scores)
	}
	if stages[3], err = alloc(scores.Type, scores.Shape); err != nil {
		return nil, nil, err
	}
	for i, n := 0, last(scores.Shape); i < len(scores.F); i += n {
		if row := stages[2].F[i : i+n]; !math.IsInf(maxOf(row), -1) {
			softmax(stages[3].F[i:i+n], row)
		}
	}
	mode := c.node.Int("qk_matmul_output_mode", 0)
	if mode < 0 || mode > 3 {
		return nil, nil, fmt.Errorf("qk_matmul_output_mode=%d is unknown", mode)
	}
	return stages[3], stages[mode], nil
}

// attentionBias is what the mask and causality add to the scores: 0 or -Inf,
// or what a float mask holds. It broadcasts to (B, heads, queries, keys).
func (c *call) attentionBias(q, k *Array, past int) (*Array, error) {
	n, m := q.Shape[2], k.Shape[2]
	causal, err := alloc(q.Type, []int{n, m})
	if err != nil {
		return nil, err
	}
	if c.node.Int("is_causal", 0) != 0 {
		for i := range causal.F {
			if i%m > i/m+past {
				causal.F[i] = math.Inf(-1)
			}
		}
	}
	mask := c.in[3]
	if mask == nil {
		return causal, nil
	}
	if kindOf(mask.Type) == boolean {
		bias, err := alloc(q.Type, mask.Shape)
		if err != nil {
			return nil, err
		}
		for i, keep := range mask.B {
			if !keep {
				bias.F[i] = math.Inf(-1)
			}
		}
		mask = bias
	}
	if kindOf(mask.Type) != floating {
		return nil, fmt.Errorf("mask %v is neither boolean nor float", mask)
	}
	return combine(causal, mask, add)
}

// rotary turns pairs of elements of each head by the angles of their position.
func rotary(c *call) ([]*Array, error) {
	x, err := heads(c.in[0], c.node.Int("num_heads", 0))
	if err != nil {
		return nil, err
	}
	cos, err := rotaryCache(c.in[1], c.in[3], x)
	if err != nil {
		return nil, err
	}
	sin, err := rotaryCache(c.in[2], c.in[3], x)
	if err != nil {
		return nil, err
	}
	b, h, n, size := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	dim := int(c.node.Int("rotary_embedding_dim", 0))
	if dim == 0 {
		dim = size
	}
	half := dim / 2
	want := []int{b, n, half}
	if dim < 0 || dim > size || dim%2 != 0 || !slices.Equal(cos.Shape, want) || !slices.Equal(sin.Shape, want) {
		return nil, fmt.Errorf("%d rotated elements of %v don't fit caches %v and %v", dim, x, cos, sin)
	}
	y := x.clone()
	for row := range b * h * n {
		at := row * size
		angle := (row/(h*n)*n + row%n) * half
		for j := range half {
			i0, i1 := at+j, at+half+j
			if c.node.Int("interleaved", 0) != 0 {
				i0, i1 = at+2*j, at+2*j+1
			}
			y.F[i0] = cos.F[angle+j]*x.F[i0] - sin.F[angle+j]*x.F[i1]
			y.F[i1] = sin.F[angle+j]*x.F[i0] + cos.F[angle+j]*x.F[i1]
		}
	}
	if len(c.in[0].Shape) == 4 {
		return one(y, nil)
	}
	y, err = permute(y, []int{0, 2, 1, 3})
	if err != nil {
		return nil, err
	}
	return one(y.reshaped(c.in[0].Shape...), nil)
}

// rotaryCache looks positions up, so that the cache is (B, N, half).
func rotaryCache(cache, positions, x *Array) (*Array, error) {
	if positions == nil {
		return cache, nil
	}
	if len(cache.Shape) != 2 {
		return nil, fmt.Errorf("cache %v isn't a matrix", cache)
	}
	index, err := indices(positions, cache.Shape[0])
	if err != nil {
		return nil, err
	}
	if !slices.Equal(positions.Shape, []int{x.Shape[0], x.Shape[2]}) {
		return nil, fmt.Errorf("positions %v don't fit %v", positions, x)
	}
	y, err := pick(cache, 0, index)
	if err != nil {
		return nil, err
	}
	return y.reshaped(x.Shape[0], x.Shape[2], cache.Shape[1]), nil
}
