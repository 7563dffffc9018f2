package gradients

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/graphtest"
	"github.com/relevit/relevit/onnx/ref"
)

// differentiable lists what graphs under test are drawn from.
func differentiable() []string {
	var ops []string
	for _, op := range graphtest.Operators() {
		if rules[op] != nil || constant[op] {
			ops = append(ops, op)
		}
	}
	return ops
}

// randomProbe is a probe of a random graph: s is the sum of all its float
// outputs times random weights.
func randomProbe(data []byte, nodes int, only []string) (p *probe, shown string, err error) {
	c, err := graphtest.Draw(graphtest.NewChoices(data), graphtest.Options{Type: onnx.Double, Only: only, Nodes: nodes, Free: true})
	if err != nil {
		return nil, "", err
	}
	shown = fmt.Sprint(c.Graph)
	rng := rand.New(rand.NewPCG(5, 6))
	draw := func(like *ref.Array) *ref.Array {
		x := *like
		x.F = make([]float64, len(like.F))
		for i := range x.F {
			x.F[i] = 2*rng.Float64() - 1
		}
		return &x
	}
	p = &probe{g: c.Graph, values: c.Inputs}
	b := onnx.NewBuilder(p.g)
	for _, v := range p.g.Inputs {
		if v.Type == onnx.Double {
			p.inputs = append(p.inputs, v)
		}
	}
	for i, y := range slices.Clone(p.g.Outputs) {
		if y.Type != onnx.Double || len(c.Values[y].F) == 0 {
			continue
		}
		w := p.g.AddInput(fmt.Sprintf("w%d", i), onnx.Double, y.Shape.Clone())
		p.values[w.Name] = draw(c.Values[y])
		p.add(b, &p.s, b.Reduce("ReduceSum", b.Mul(y, w), false))
	}
	if p.s == nil || len(p.inputs) == 0 {
		return nil, shown, nil
	}
	if p.grads, err = Walk(b, "first", map[*onnx.Value]*onnx.Value{p.s: b.Scalar(1, p.s)}, p.inputs, nil); err != nil {
		return nil, shown, fmt.Errorf("differentiating: %w", err)
	}
	for i, g := range p.grads {
		d := draw(p.values[p.inputs[i].Name])
		p.dirs = append(p.dirs, d.F)
		if g == nil {
			continue
		}
		dir := p.g.AddInput(fmt.Sprintf("d%d", i), onnx.Double, p.inputs[i].Shape.Clone())
		p.values[dir.Name] = d
		p.add(b, &p.project, b.Reduce("ReduceSum", b.Mul(g, dir), false))
	}
	if p.project == nil {
		return p, shown, nil
	}
	if p.second, err = Walk(b, "second", map[*onnx.Value]*onnx.Value{p.project: b.Scalar(1, p.s)}, p.inputs, nil); err != nil {
		return nil, shown, fmt.Errorf("differentiating twice: %w", err)
	}
	return p, shown, b.Err()
}

func (p *probe) add(b *onnx.Builder, sum **onnx.Value, part *onnx.Value) {
	if *sum == nil {
		*sum = part
	} else {
		*sum = b.Add(*sum, part)
	}
}

// match compares the gradient of f with central differences along a direction
// for every input.
//
// Differences at h and h/2 give the slope by Richardson's extrapolation, off
// by less than they differ from one another, and by rounding of f over h. A
// kink at a distance d below h, where the slope jumps by 2c, puts it off by
// c |1 - 7d/3h| at most; the differences then differ by c d/h, and those to
// either side, which come together with h where f is smooth, by c |1/2 - 3d/2h|
// more than that: three times the sum bounds it. Where that is large nothing is
// said.
func (p *probe) match(f *onnx.Value, grads []*onnx.Value) (decided int, err error) {
	const h = 0x1p-11
	for i, x := range p.inputs {
		array := p.values[x.Name]
		origin := array.F
		at := func(step float64) (float64, error) {
			array.F = slices.Clone(origin)
			defer func() { array.F = origin }()
			for j := range array.F {
				array.F[j] += step * p.dirs[i][j]
			}
			y, err := ref.Eval(p.g, p.values, []*onnx.Value{f})
			if err != nil {
				return 0, err
			}
			return y[0].F[0], nil
		}
		var slopes, bends [2]float64
		middle, err := at(0)
		if err != nil {
			return decided, err
		}
		size := max(1, math.Abs(middle))
		for k := range slopes {
			step := h / float64(int(1)<<k)
			up, err := at(step)
			if err != nil {
				return decided, err
			}
			down, err := at(-step)
			if err != nil {
				return decided, err
			}
			slopes[k], bends[k] = (up-down)/(2*step), (up-2*middle+down)/(2*step)
			size = max(size, math.Abs(up))
		}
		symbolic := 0.0
		if grads[i] != nil {
			y, err := ref.Eval(p.g, p.values, []*onnx.Value{grads[i]})
			if err != nil {
				return decided, err
			}
			if !slices.Equal(y[0].Shape, array.Shape) {
				return decided, fmt.Errorf("the gradient of %v is %v", array, y[0])
			}
			for j, v := range y[0].F {
				symbolic += v * p.dirs[i][j]
				size = max(size, math.Abs(v))
			}
		}
		slope, off := (4*slopes[1]-slopes[0])/3, 3*(math.Abs(slopes[1]-slopes[0])+math.Abs(bends[1]-bends[0]/2))
		if !(off < 1e-3*max(size, math.Abs(slope))) {
			continue
		}
		decided++
		allowed := off + 0x1p-53*1000*size/h
		if math.Abs(symbolic-slope) <= allowed {
			continue
		}
		rounding, err := p.rounding()
		if err != nil {
			return decided, err
		}
		if allowed += rounding; !(math.Abs(symbolic-slope) <= allowed) {
			return decided, fmt.Errorf("the slope along %v is %.12g, differences give %.12g within %.2g", x, symbolic, slope, allowed)
		}
	}
	return decided, nil
}

// rounding is by how much slopes may be off where terms cancel: units of the largest
// number on the way. Behind a row without variance that is 1/sqrt(epsilon) to the
// fifth power.
func (p *probe) rounding() (float64, error) {
	var all []*onnx.Value
	for _, n := range p.g.Nodes {
		for _, v := range n.Outputs {
			if v != nil && v.Type == onnx.Double {
				all = append(all, v)
			}
		}
	}
	values, err := ref.Eval(p.g, p.values, all)
	if err != nil {
		return 0, err
	}
	largest := 0.0
	for _, x := range values {
		for _, f := range x.F {
			largest = max(largest, math.Abs(f))
		}
	}
	return 0x1p-53 * 8 * largest, nil
}

// checkSlopes checks first and second derivatives of a random graph.
func checkSlopes(data []byte, nodes int, only ...string) (decided int, err error) {
	p, shown, err := randomProbe(data, nodes, only)
	if missing := (*MissingRuleError)(nil); errors.As(err, &missing) && rules[":"+missing.Op] != nil {
		return 0, nil // a setting that the rule refuses
	}
	if err != nil || p == nil {
		return 0, wrap(err, shown)
	}
	decided, err = p.match(p.s, p.grads)
	if err != nil || p.second == nil {
		return decided, wrap(err, shown)
	}
	n, err := p.match(p.project, p.second)
	if err != nil {
		err = fmt.Errorf("second derivatives: %w", err)
	}
	return decided + n, wrap(err, shown)
}

func wrap(err error, shown string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\n%s", err, shown)
}

func TestEveryRuleMatchesFiniteDifferencesOnRandomShapes(t *testing.T) {
	for _, op := range slices.Sorted(maps.Keys(rules)) {
		if !slices.Contains(graphtest.Operators(), op) {
			t.Errorf("rule %s: random graphs have no such operator", op)
			continue
		}
		decided := 0
		for seed := range uint64(80) {
			n, err := checkSlopes(graphtest.Bytes(seed), 1, op)
			if err != nil {
				t.Errorf("%s, seed %d: %v", op, seed, err)
			}
			decided += n
		}
		if decided < 20 {
			t.Errorf("%s: only %d slopes were compared", op, decided)
		}
	}
}

func TestGradientsOfRandomGraphsMatchFiniteDifferences(t *testing.T) {
	decided := 0
	for seed := range uint64(100) {
		n, err := checkSlopes(graphtest.Bytes(seed), 10, differentiable()...)
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		decided += n
	}
	t.Logf("%d slopes compared", decided)
}

func FuzzGradients(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(graphtest.Bytes(seed), uint8(0))
		f.Add(graphtest.Bytes(seed), uint8(1+seed))
	}
	all, ops := differentiable(), slices.Sorted(maps.Keys(rules))
	f.Fuzz(func(t *testing.T, data []byte, one uint8) {
		nodes, only := 10, all
		if one > 0 {
			nodes, only = 2, []string{ops[int(one-1)%len(ops)]}
		}
		if _, err := checkSlopes(data, nodes, only...); err != nil {
			t.Error(err)
		}
	})
}
