package gradients

import (
	"fmt"

	"github.com/relevit/relevit/onnx"
)

// Prediction is what the classifier says of the tokens that one block leaves.
type Prediction struct {
	Logits *onnx.Value // (B,C)
	Block  int
}

// Predictions emits the classifier's logits for the tokens that every block
// from the given one on leaves; after holds the tokens behind each block, in
// order. As in LeGrad, what the classifier reads is the mean of all tokens, in
// place of each of them. A classifier that pools by attention (pools) reads the
// block's own tokens.
func Predictions(b *onnx.Builder, s Subject, after []Tokens, from int, pools bool) ([]Prediction, error) {
	former := b.In("legrad")
	defer b.In(former)
	last := after[len(after)-1]
	head := between(b.Graph.Nodes, last.Value, s.Logits)
	var out []Prediction
	for i, block := range byBlock(s.Maps, 0) {
		x := after[i]
		if block[0].Block < from {
			continue
		}
		if x.Axis != last.Axis || !x.Value.Shape.Same(last.Value.Shape) {
			return nil, fmt.Errorf("the tokens %v and %v of two blocks are laid out differently", x.Value, last.Value)
		}
		in := x.Value
		if !pools {
			in = b.Expand(b.Reduce("ReduceMean", x.Value, true, int64(x.Axis)), x.Value.Shape)
		}
		copies := map[*onnx.Value]*onnx.Value{last.Value: in}
		for _, n := range head {
			inputs := make([]*onnx.Value, len(n.Inputs))
			for j, v := range n.Inputs {
				inputs[j] = v
				if c, ok := copies[v]; ok {
					inputs[j] = c
				}
			}
			if n.Domain != "" || len(n.Captures) > 0 {
				return nil, fmt.Errorf("node %s (%s) of the classifier can't be copied for the tokens of other blocks", n.Label(), opName(n))
			}
			for j, v := range b.Ops(n.Op, len(n.Outputs), n.Attrs, inputs...) {
				if n.Outputs[j] != nil {
					copies[n.Outputs[j]] = v
				}
			}
		}
		out = append(out, Prediction{copies[s.Logits], block[0].Block})
	}
	return out, b.Err()
}

// between lists the nodes that lead from one value to another.
func between(nodes []*onnx.Node, from, to *onnx.Value) []*onnx.Node {
	behind := map[*onnx.Value]bool{from: true}
	var down []*onnx.Node
	for _, n := range nodes {
		for _, v := range n.Inputs {
			if behind[v] {
				down = append(down, n)
				for _, o := range n.Outputs {
					behind[o] = o != nil
				}
				break
			}
		}
	}
	need := map[*onnx.Value]bool{to: true}
	var out []*onnx.Node
	for i := len(down) - 1; i >= 0; i-- {
		for _, o := range down[i].Outputs {
			if o != nil && need[o] {
				out = append([]*onnx.Node{down[i]}, out...)
				for _, v := range down[i].Inputs {
					need[v] = true
				}
				break
			}
		}
	}
	return out
}

// LeGrad is Bousselham et al.'s (ICCV 2025, arXiv 2404.03214): with s_l the
// target's logit by block l's own tokens, of Predictions,
//
//	mean over blocks l, heads and query tokens of max(ds_l/dA_l, 0)
func LeGrad(b *onnx.Builder, s Subject, predictions []Prediction, target *onnx.Value) (Relevance, error) {
	var sum *onnx.Value
	for _, p := range predictions {
		var maps []AttentionMap
		var values []*onnx.Value
		for _, m := range s.Maps {
			if m.Block == p.Block {
				maps, values = append(maps, m), append(values, m.Value)
			}
		}
		own := s
		own.Logits = p.Logits
		grads, err := walkLogit(b, own, target, values)
		if err != nil {
			return Relevance{}, err
		}
		former := b.In("legrad")
		for i, g := range grads {
			if g == nil {
				return Relevance{}, fmt.Errorf("attention map %s has no influence on the logits by its own block's tokens", values[i].Name)
			}
			g = maps[i].Square(b, g)
			g = b.Reduce("ReduceMean", b.Op("Clip", nil, g, b.Scalar(0, g)), false, 1, 2) // (B,N)
			if sum == nil {
				sum = g
			} else {
				sum = b.Add(sum, g)
			}
		}
		b.In(former)
	}
	former := b.In("legrad")
	defer b.In(former)
	return s.heat(b, "legrad", b.Unsqueeze(b.Scale(sum, 1/float64(len(predictions))), 1)), nil
}
