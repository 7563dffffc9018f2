package onnx

import "fmt"

// normRules: normalisations.
var normRules = map[string]inferRule{
	"LayerNormalization":    need(2, inferLayerNorm),
	"RMSNormalization":      need(2, inferLayerNorm),
	"InstanceNormalization": need(3, inferSame),
	"GroupNormalization":    need(3, inferSame),
	"BatchNormalization":    need(5, inferBatchNorm),
	"LpNormalization":       need(1, inferSame),
	"LRN":                   need(1, inferSame),
}

func inferLayerNorm(n *Node) error {
	x := n.Inputs[0]
	if x.Shape == nil {
		return give(n, 0, x.Type, nil)
	}
	axis, err := axisIn(n.Int("axis", -1), len(x.Shape))
	if err != nil {
		return fmt.Errorf("normalising %v: %w", x, err)
	}
	for _, v := range n.Inputs[1:] {
		if v == nil {
			continue
		}
		if s, err := Broadcast(x.Shape, v.Shape); err != nil || (s != nil && len(s) != len(x.Shape)) {
			return fmt.Errorf("scale or bias %v doesn't fit %v", v, x)
		}
	}
	if err := give(n, 0, x.Type, x.Shape); err != nil {
		return err
	}
	stash := DType(n.Int("stash_type", int64(Float)))
	if x.Type == Double {
		stash = Double
	}
	s := x.Shape.Clone()
	for i := axis; i < len(s); i++ {
		s[i] = D(1)
	}
	for i := 1; i < len(n.Outputs); i++ {
		if err := give(n, i, stash, s); err != nil {
			return err
		}
	}
	return nil
}

func inferBatchNorm(n *Node) error {
	x := n.Inputs[0]
	for _, v := range n.Inputs[1:5] {
		if v.Shape == nil || len(x.Shape) < 2 {
			continue
		}
		if _, ok := agree(v.Shape.Count(), x.Shape[1]); !ok {
			return fmt.Errorf("%v doesn't fit the channels of %v", v, x)
		}
	}
	for i := 1; i < len(n.Outputs); i++ {
		if err := give(n, i, n.Inputs[3].Type, n.Inputs[3].Shape); err != nil {
			return err
		}
	}
	return give(n, 0, x.Type, x.Shape)
}
