package onnx

import "fmt"

// reduceRules: operators that make one element of many.
var reduceRules = union(
	same(need(1, inferReduce), "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"),
	same(need(1, inferArg), "ArgMax", "ArgMin"),
	map[string]inferRule{
		"ReduceSum":  folding(Dim.Plus, D(0)),
		"ReduceProd": folding(Dim.Times, D(1)),
		"ReduceMax":  folding(larger, Unknown),
		"ReduceMin":  folding(smaller, Unknown),
		"TopK":       need(2, inferTopK),
	},
)

func inferReduce(n *Node) error {
	x := n.Inputs[0]
	s, err := reduced(n)
	if err != nil {
		return fmt.Errorf("reducing %v: %w", x, err)
	}
	return give(n, 0, x.Type, s)
}

// reduced is the shape that a reduction leaves.
func reduced(n *Node) (Shape, error) {
	x := n.Inputs[0].Shape
	axes, known := numbers(n.In(1))
	keep := n.Int("keepdims", 1) != 0
	if x == nil {
		return nil, nil
	}
	if n.In(1) != nil && !known {
		if keep {
			return unknown(len(x)), nil
		}
		return nil, nil
	}
	if len(axes) == 0 && n.Int("noop_with_empty_axes", 0) != 0 {
		return x, nil
	}
	set, err := axesIn(axes, len(x))
	if err != nil {
		return nil, err
	}
	s := Shape{}
	for i, d := range x {
		switch {
		case !set[i] && len(axes) > 0:
			s = append(s, d)
		case keep:
			s = append(s, D(1))
		}
	}
	return s, nil
}

// folding is a reduction that also works on known elements.
func folding(f func(d, e Dim) Dim, start Dim) inferRule {
	return need(1, func(n *Node) error {
		if err := inferReduce(n); err != nil {
			return err
		}
		x, out := n.Inputs[0], n.Out(0)
		e := elems(x)
		if out == nil || e == nil || len(x.Shape) != 1 || len(out.Shape) > 1 || out.Shape == nil || !countable(out.Type) {
			return nil
		}
		if len(out.Shape) == 1 && !out.Shape[0].Is(1) || n.Int("noop_with_empty_axes", 0) != 0 {
			return nil
		}
		total := start
		for i, d := range e {
			if i == 0 && start == Unknown {
				total = d
			} else {
				total = f(total, d)
			}
		}
		out.Elems = []Dim{total}
		return nil
	})
}

func inferArg(n *Node) error {
	x := n.Inputs[0]
	if x.Shape == nil {
		return give(n, 0, Int64, nil)
	}
	axis, err := axisIn(n.Int("axis", 0), len(x.Shape))
	if err != nil {
		return fmt.Errorf("reducing %v: %w", x, err)
	}
	s := x.Shape.Clone()
	if n.Int("keepdims", 1) != 0 {
		s[axis] = D(1)
	} else {
		s = append(s[:axis], s[axis+1:]...)
	}
	return give(n, 0, Int64, s)
}

func inferTopK(n *Node) error {
	x := n.Inputs[0]
	s := x.Shape.Clone()
	if s != nil {
		axis, err := axisIn(n.Int("axis", -1), len(s))
		if err != nil {
			return fmt.Errorf("sorting %v: %w", x, err)
		}
		s[axis] = Unknown
		if k := elems(n.Inputs[1]); len(k) == 1 {
			s[axis] = k[0]
			if x.Shape[axis].Known() && k[0].Known() && k[0].N > x.Shape[axis].N {
				return fmt.Errorf("can't take %v elements of axis %d of %v", k[0], axis, x)
			}
		}
	}
	if err := give(n, 0, x.Type, s); err != nil {
		return err
	}
	return give(n, 1, Int64, s)
}
