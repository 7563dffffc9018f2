package passes

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/ref"
)

// headsGraph splits rows among heads and joins them again, in every form that
// FuseHeads knows, and multiplies the joined rows' columns.
func headsGraph(t *testing.T, pictures, tokens, parts, heads, width int64) (*onnx.Graph, map[string]*ref.Array) {
	t.Helper()
	g := onnx.NewGraph("heads")
	b := onnx.NewBuilder(g)
	rng := rand.New(rand.NewPCG(5, 6))
	feed := map[string]*ref.Array{}
	input := func(name string, dims ...int64) *onnx.Value {
		return normalInput(g, feed, rng, name, onnx.ShapeOf(dims...))
	}
	rows, length := pictures*tokens, parts*heads*width
	of := b.Transpose(input("x", pictures, tokens, parts, heads, width), 2, 0, 3, 1, 4)
	ones := make([]int64, parts)
	for i := range ones {
		ones[i] = 1
	}
	var joined []*onnx.Value
	for i, part := range b.Ops("Split", int(parts), attrs("axis", 0), of, b.Ints(ones...)) {
		one := b.Squeeze(part, 0) // (B,H,N,D)
		g.Outputs = append(g.Outputs, b.Mul(one, b.Floats([]float64{float64(i + 1)}, one)))
		joined = append(joined, b.Unsqueeze(b.Softmax(one, -1), 0))
	}
	back := b.Transpose(b.Op("Concat", attrs("axis", 0), joined...), 1, 3, 0, 2, 4)
	flat := b.Reshape(back, onnx.ShapeOf(rows, length))
	g.Outputs = append(g.Outputs, back, b.Op("Gemm", attrs("transA", 1), flat, input("right", rows, 24)))

	alone := b.Transpose(input("y", pictures, tokens, heads, width), 0, 2, 1, 3)
	g.Outputs = append(g.Outputs, alone, b.Transpose(b.Softmax(alone, -1), 0, 2, 1, 3))
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	return g, feed
}

// TestHeadsAreSplitAndJoinedAsTheirNodesDo compares the forms, run by nodes of our
// own, with package ref's: what is only moved to the last bit.
func TestHeadsAreSplitAndJoinedAsTheirNodesDo(t *testing.T) {
	orttest.Need(t)
	for _, c := range []struct {
		dims  [5]int64 // pictures, tokens, parts, heads, width
		alone bool     // single parts are large enough
		turns bool     // and there are rows enough
	}{
		{[5]int64{2, 67, 3, 5, 64}, true, true},
		{[5]int64{3, 41, 2, 9, 33}, true, true},
		{[5]int64{1, 300, 3, 3, 16}, false, true},
		{[5]int64{5, 7, 4, 30, 40}, true, false}, // more heads than tokens
	} {
		d := c.dims
		g, feed := headsGraph(t, d[0], d[1], d[2], d[3], d[4])
		want, err := ref.Eval(g, feed, g.Outputs)
		must(t, err)
		for _, repeats := range []bool{false, true} {
			fused, _ := g.Clone()
			must(t, FuseHeads(fused))
			must(t, FuseRows(fused, repeats))
			sound(t, fused)
			moved, left := 0, 0
			for _, n := range fused.Nodes {
				switch n.Op {
				case HeadsOp:
					moved++
				case "Transpose", "Split", "Concat":
					left++
				}
			}
			wantMoved, wantLeft := 4, 0
			if !c.alone {
				wantMoved, wantLeft = 2, 2
			}
			if moved != wantMoved || left != wantLeft {
				t.Errorf("%v: %d nodes move heads, %d others are left, expected %d and %d\n%v", d, moved, left, wantMoved, wantLeft, fused)
			}
			if turned := strings.Contains(fmt.Sprint(fused), "/columns"); turned != (c.turns && !repeats) {
				t.Errorf("%v, repeats %v: columns are written: %v\n%v", d, repeats, turned, fused)
			}
			got := runRows(t, fused, feed)
			for i, v := range g.Outputs {
				within := 0x1p-24 * float64(d[0]*d[1]) * 8
				if i == 0 || i == len(g.Outputs)-2 { // only moved
					within = 0
				}
				for j, x := range want[i].F {
					if y := got[v.Name].F[j]; !(math.Abs(y-x) <= within) {
						t.Fatalf("%v: element %d of %v is %v, expected %v", d, j, v, y, x)
					}
				}
			}
		}
	}
}

// TestHeadsLeaveOtherTranspositions keeps those that move the last axis, that are
// small, or whose parts are of several sizes or read as a whole.
func TestHeadsLeaveOtherTranspositions(t *testing.T) {
	g := onnx.NewGraph("others")
	b := onnx.NewBuilder(g)
	input := func(name string, dims ...int64) *onnx.Value {
		return g.AddInput(name, onnx.Float, onnx.ShapeOf(dims...))
	}
	parts := b.Transpose(input("parts", 2, 67, 3, 5, 64), 2, 0, 3, 1, 4)
	uneven := b.Ops("Split", 2, attrs("axis", 0), parts, b.Ints(1, 2))
	whole := b.Transpose(input("whole", 2, 67, 3, 5, 64), 2, 0, 3, 1, 4)
	even := b.Ops("Split", 3, attrs("axis", 0), whole, b.Ints(1, 1, 1))
	joined := b.Op("Concat", attrs("axis", 0), input("one", 1, 2, 5, 67, 64), input("two", 2, 2, 5, 67, 64))
	g.Outputs = append([]*onnx.Value{
		b.Transpose(input("small", 2, 10, 3, 64), 0, 2, 1, 3),
		b.Transpose(input("last", 2, 67, 5, 64), 0, 2, 3, 1),
		b.Transpose(g.AddInput("open", onnx.Float, shape("B", 67, 5, 64)), 0, 2, 1, 3),
		b.Transpose(g.AddInput("wide", onnx.Double, shape(2, 67, 5, 64)), 0, 2, 1, 3),
		whole, even[1], b.Transpose(joined, 1, 3, 0, 2, 4),
	}, uneven...)
	must(t, b.Err())
	before := fmt.Sprint(g)
	must(t, FuseHeads(g))
	if after := fmt.Sprint(g); after != before {
		t.Errorf("%s\nbecame %s", before, after)
	}
}
