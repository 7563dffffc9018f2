package passes

import (
	"fmt"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/graphtest"
	"github.com/relevit/relevit/onnx/ref"
)

// checkBatch gives a random graph of a fixed batch one picture more. Where
// Specialize does so, the pictures that were there give what they gave, and
// the new one, a copy of the first, what the first gives.
func checkBatch(data []byte, named bool) (changed bool, err error) {
	c, err := graphtest.Draw(graphtest.NewChoices(data), graphtest.Options{Type: onnx.Float})
	if err != nil || c.Opset > onnx.Dialect || len(c.Graph.Outputs) == 0 || len(c.Graph.Inputs) == 0 || len(c.Graph.Inputs[0].Shape) == 0 {
		return false, err
	}
	old := c.Graph.Inputs[0].Shape[0]
	if named != !old.Known() {
		return false, nil
	}
	batch := c.Inputs[c.Graph.Inputs[0].Name].Shape[0]
	if batch < 2 {
		return false, nil
	}
	bounds, err := graphtest.Bounds(c.Graph, c.Inputs, graphtest.Single)
	if err != nil {
		return false, err
	}
	g, _ := c.Graph.Clone()
	if err := Fold(g); err != nil {
		return false, err
	}
	if named {
		err = Specialize(g, int64(batch))
		if err != nil {
			return false, fmt.Errorf("%w\n%v", err, c.Graph)
		}
	} else if Specialize(g, int64(batch+1)) != nil {
		return false, nil
	}
	inputs := given(g, c.Inputs)
	for _, v := range c.Graph.Inputs {
		if x := inputs[v.Name]; x != nil && !named && len(v.Shape) > 0 && v.Shape[0].Is(int64(batch)) {
			inputs[v.Name] = onePictureMore(x)
		}
	}
	got, err := ref.Run(g, inputs)
	if err != nil {
		return true, fmt.Errorf("%w\n%v\nafter %v", err, c.Graph, g)
	}
	for _, v := range c.Graph.Outputs {
		if bounds[v].Undecided {
			continue
		}
		if err := samePictures(bounds[v], got[v.Name], batch); err != nil {
			return true, fmt.Errorf("batch %d: %v: %w\n%v\nafter %v", batch, v, err, c.Graph, g)
		}
	}
	return true, nil
}

func onePictureMore(x *ref.Array) *ref.Array {
	n := x.Count() / x.Shape[0]
	y := &ref.Array{Type: x.Type, Shape: slices.Clone(x.Shape)}
	y.Shape[0]++
	y.F = slices.Concat(x.F, x.F[:min(n, len(x.F))])
	y.I = slices.Concat(x.I, x.I[:min(n, len(x.I))])
	y.B = slices.Concat(x.B, x.B[:min(n, len(x.B))])
	return y
}

// samePictures compares an output for a batch with one for a picture more,
// which lies along one axis, whose index is (outer, picture, the rest).
func samePictures(b *graphtest.Bounded, got *ref.Array, batch int) error {
	if slices.Equal(b.Shape, got.Shape) {
		return b.Within(got)
	}
	axis := -1
	for i := range b.Shape {
		if i < len(got.Shape) && b.Shape[i] != got.Shape[i] {
			if axis >= 0 || b.Shape[i]%batch != 0 || got.Shape[i] != b.Shape[i]/batch*(batch+1) {
				return fmt.Errorf("%v became %v", b.Array, got)
			}
			axis = i
		}
	}
	if len(b.Shape) != len(got.Shape) {
		return fmt.Errorf("%v became %v", b.Array, got)
	}
	var err error
	each := b.Shape[axis] / batch
	for outer := 1; outer <= each; outer++ {
		if each%outer != 0 {
			continue
		}
		for _, s := range b.Shape[:axis] {
			outer *= s
		}
		inner := b.Count() / batch / outer
		if err = b.Within(pictures(got, axis, outer, inner, batch, 0)); err == nil {
			err = b.Within(pictures(got, axis, outer, inner, batch, batch))
		}
		if err == nil {
			return nil
		}
		for _, s := range b.Shape[:axis] {
			outer /= s
		}
	}
	return err
}

// pictures takes a batch out of one with a picture more along an axis,
// beginning with the given picture and going on with the second.
func pictures(x *ref.Array, axis, outer, inner, batch, first int) *ref.Array {
	y := &ref.Array{Type: x.Type, Shape: slices.Clone(x.Shape)}
	y.Shape[axis] = x.Shape[axis] / (batch + 1) * batch
	for o := range outer {
		for p := range batch {
			if p == 0 {
				p = first
			}
			at := (o*(batch+1) + p) * inner
			if x.F != nil {
				y.F = append(y.F, x.F[at:at+inner]...)
			}
			if x.I != nil {
				y.I = append(y.I, x.I[at:at+inner]...)
			}
			if x.B != nil {
				y.B = append(y.B, x.B[at:at+inner]...)
			}
		}
	}
	return y
}

func TestSpecializeKeepsThePicturesOfRandomGraphsApart(t *testing.T) {
	changed := 0
	for seed := range seeds(600) {
		for _, named := range []bool{false, true} {
			ok, err := checkBatch(graphtest.Bytes(seed), named)
			if err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			if ok && !named {
				changed++
			}
		}
	}
	if changed < int(seeds(20)) {
		t.Errorf("only %d graphs could be given another batch", changed)
	}
	t.Logf("%d graphs were given another batch", changed)
}

func FuzzSpecialize(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(graphtest.Bytes(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, named := range []bool{false, true} {
			if _, err := checkBatch(data, named); err != nil {
				t.Error(err)
			}
		}
	})
}
