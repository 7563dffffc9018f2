package models

import (
	"errors"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

func find(t *testing.T, g *onnx.Graph) *Structure {
	t.Helper()
	s, err := Find(g, FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFindKnowsEverySpellingOfAttention(t *testing.T) {
	for name, attention := range map[string]func(*toy, *onnx.Value) *onnx.Value{
		"eager, scaled scores": (*toy).plain, "scaled dot product": (*toy).sdp, "Slice, Squeeze and Gemm": (*toy).fused,
		"Gather, mask, Casts and IsNaN": (*toy).gathered, "heads within the batch": (*toy).merged,
		"flattened softmax": (*toy).flat, "keys before queries": (*toy).transposed, "Einsum": (*toy).einsum,
		"heads mixed by Conv": (*toy).talking, "heads mixed by MatMul": (*toy).mixing, "Exp, ReduceSum and Div": (*toy).exponents,
	} {
		for _, batch := range []onnx.Dim{{N: 1, Sym: "batch"}, onnx.D(1), onnx.D(4)} {
			s := find(t, (&toy{attention: attention, batch: batch}).graph(t))
			if s.Err() != nil {
				t.Errorf("%s, batch %v: %v", name, batch, s.Err())
				continue
			}
			if len(s.Attention) != 2 || s.Grid != [2]int64{2, 3} || s.Patch != [2]int64{4, 4} || s.PrefixTokens != 1 || s.Pool != PoolToken || s.Classes != 5 || s.Image.Name != "pixels" {
				t.Errorf("%s, batch %v: found %+v", name, batch, s)
			}
			for i, a := range s.Attention {
				if a.Block != i || a.Heads != 2 || a.Tokens != 7 || a.Transposed != (name == "keys before queries") {
					t.Errorf("%s, batch %v: attention %d is %+v", name, batch, i, a)
				}
			}
			if fixed := batch.Sym == ""; fixed != (s.Batch == batch.N) || fixed != (len(s.Notes) == 1) {
				t.Errorf("%s, batch %v: fixed batch %d, notes %v", name, batch, s.Batch, s.Notes)
			}
		}
	}
}

func TestFindLeavesWindowsBesideGlobalAttentionOut(t *testing.T) {
	mixed := func(t *toy, x *onnx.Value) *onnx.Value { return t.Add(t.plain(x), t.windowed(x)) }
	mean := func(t *toy, x *onnx.Value) *onnx.Value { return t.linear(t.Mean(x, 1), 5) }
	s := find(t, (&toy{attention: mixed, embed: (*toy).patches, head: mean}).graph(t))
	if s.Err() != nil || len(s.Attention) != 2 || !strings.Contains(strings.Join(s.Notes, " "), "2 of the attention maps are within windows") {
		t.Errorf("%d maps, notes %v, %v", len(s.Attention), s.Notes, s.Err())
	}
}

func TestFindTakesTheMapThatMultipliesTheValues(t *testing.T) {
	s := find(t, (&toy{attention: (*toy).talking}).graph(t))
	if a := s.Attention[0].Value; !a.Is("Conv") {
		t.Errorf("of heads that a Conv mixes, %v is taken", a)
	}
}

func TestFindTellsParallelAttentionsAreOneBlock(t *testing.T) {
	s := find(t, (&toy{attention: (*toy).parallel}).graph(t))
	var blocks []int
	for _, a := range s.Attention {
		blocks = append(blocks, a.Block)
	}
	if len(blocks) != 4 || blocks[0] != 0 || blocks[1] != 0 || blocks[2] != 1 || blocks[3] != 1 {
		t.Errorf("blocks %v, want 0 0 1 1", blocks)
	}
}

func TestFindTellsEmbeddingAndPooling(t *testing.T) {
	patchified := func(t *toy, image *onnx.Value) *onnx.Value {
		x := t.Transpose(t.Op("Reshape", nil, image, t.Ints(0, 3, 2, 4, 3, 4)), 0, 2, 4, 3, 5, 1)
		return t.withClass(t.linear(t.Op("Reshape", nil, x, t.Ints(0, toyPatches, 48)), toyWidth))
	}
	registers := func(t *toy, image *onnx.Value) *onnx.Value { return t.withClass(t.withClass(t.patches(image))) }
	sliced := func(t *toy, x *onnx.Value) *onnx.Value { return t.linear(t.Squeeze(t.Slice(x, 1, 0, 1), 1), 5) }
	mean := func(t *toy, x *onnx.Value) *onnx.Value { return t.linear(t.Mean(x, 1), 5) }
	meanOfPatches := func(t *toy, x *onnx.Value) *onnx.Value { return t.linear(t.Mean(t.Slice(x, 1, 1, onnx.End), 1), 5) }
	globalPool := func(t *toy, x *onnx.Value) *onnx.Value {
		y := t.Op("GlobalAveragePool", nil, t.Transpose(x, 0, 2, 1))
		return t.linear(t.Op("Flatten", nil, y), 5)
	}
	distilled := func(t *toy, x *onnx.Value) *onnx.Value {
		d := t.linear(t.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, x, t.Int(1)), 5)
		sum := t.Add(t.classToken(x), d)
		return t.scale(sum)
	}
	maximum := func(t *toy, x *onnx.Value) *onnx.Value { return t.linear(t.Reduce("ReduceMax", x, false, 1), 5) }
	queried := func(t *toy, x *onnx.Value) *onnx.Value {
		scores := t.MatMul(t.token(x), t.SwapLast(t.linear(x, toyWidth))) // (B,1,N)
		return t.linear(t.Squeeze(t.MatMul(t.Softmax(scores, -1), t.linear(x, toyWidth)), 1), 5)
	}
	stridden := func(t *toy, x *onnx.Value) *onnx.Value {
		y := t.Op("Slice", nil, x, t.Ints(0, 0, 0), t.Ints(1<<31, 1, toyWidth), t.Ints(0, 1, 2))
		return t.linear(t.Squeeze(y, 1), 5)
	}
	both := func(t *toy, x *onnx.Value) *onnx.Value {
		token := t.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, x, t.Int(0))
		return t.linear(t.Concat(1, token, t.Mean(t.Slice(x, 1, 1, onnx.End), 1)), 5)
	}
	unfolded := func(t *toy, image *onnx.Value) *onnx.Value {
		places := make([]int64, 0, 96)
		for patch := range int64(toyPatches) {
			for i := range int64(16) {
				places = append(places, (patch/3*4+i/4)*12+patch%3*4+i%4)
			}
		}
		flat := t.Op("Reshape", nil, image, t.Ints(0, 3, 96))
		x := t.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(2)}}, flat, t.Ints(places...))
		x = t.Transpose(t.Op("Reshape", nil, x, t.Ints(0, 3, toyPatches, 16)), 0, 2, 1, 3)
		return t.withClass(t.linear(t.Op("Reshape", nil, x, t.Ints(0, toyPatches, 48)), toyWidth))
	}
	stem := func(t *toy, image *onnx.Value) *onnx.Value {
		for _, w := range []*onnx.Value{t.weight(4, 3, 2, 2), t.weight(toyWidth, 4, 2, 2)} {
			size := []onnx.Attr{{Name: "kernel_shape", Value: []int64{2, 2}}, {Name: "strides", Value: []int64{2, 2}}}
			image = t.Op("Relu", nil, t.Op("Conv", size, image, w))
		}
		return t.withClass(t.Transpose(t.Op("Reshape", nil, image, t.Ints(0, toyWidth, toyPatches)), 0, 2, 1))
	}
	for _, c := range []struct {
		name   string
		toy    toy
		prefix int64
		pool   string
	}{
		{"reshaped patches", toy{embed: patchified}, 1, PoolToken},
		{"two prefix tokens", toy{embed: registers}, 2, PoolToken},
		{"no class token", toy{embed: (*toy).patches, head: mean}, 0, PoolAverage},
		{"mean of patches", toy{head: meanOfPatches}, 1, PoolAverage},
		{"global pooling", toy{head: globalPool}, 1, PoolAverage},
		{"class token by Slice", toy{head: sliced}, 1, PoolToken},
		{"distilled", toy{embed: registers, head: distilled}, 2, PoolToken},
		{"maximum", toy{embed: (*toy).patches, head: maximum}, 0, PoolMax},
		{"a query over all tokens", toy{head: queried}, 1, PoolAttention},
		{"class token by a Slice of all axes", toy{head: stridden}, 1, PoolToken},
		{"class token beside the mean", toy{head: both}, 1, PoolToken},
		{"patches by Gather", toy{embed: unfolded, head: mean}, 1, PoolAverage},
		{"stem of several convolutions", toy{embed: stem, head: mean}, 1, PoolAverage},
	} {
		c.toy.attention = (*toy).plain
		s := find(t, c.toy.graph(t))
		if s.Err() != nil || s.Grid != [2]int64{2, 3} || s.PrefixTokens != c.prefix || s.Pool != c.pool {
			t.Errorf("%s: grid %v, %d prefix tokens, pool %s, %v", c.name, s.Grid, s.PrefixTokens, s.Pool, s.Err())
		}
		if s.FromMean() != (c.pool != PoolToken) || s.FromMean() != strings.Contains(strings.Join(s.Notes, " "), "mean over the patches' rows") {
			t.Errorf("%s: notes %v", c.name, s.Notes)
		}
	}
}

func TestFindSaysWhatStandsInTheWay(t *testing.T) {
	features := func(t *toy, x *onnx.Value) *onnx.Value {
		return t.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, x, t.Int(0))
	}
	last := func(t *toy, x *onnx.Value) *onnx.Value { return t.linear(t.Squeeze(t.Slice(x, 1, 6, 7), 1), 5) }
	flattened := func(t *toy, x *onnx.Value) *onnx.Value {
		return t.linear(t.Op("Reshape", nil, x, t.Ints(-1, 7*toyWidth)), 5)
	}
	behind := func(t *toy, image *onnx.Value) *onnx.Value {
		x := t.patches(image)
		return t.Concat(1, x, t.token(x))
	}
	none := func(t *toy, x *onnx.Value) *onnx.Value { return t.linear(x, toyWidth) }
	channels := func(t *toy, x *onnx.Value) *onnx.Value {
		p := t.qkv(x)
		A := t.Softmax(t.MatMul(t.SwapLast(p[0]), p[1]), -1) // (B,H,D/H,D/H)
		return t.join(t.SwapLast(t.MatMul(A, t.SwapLast(p[2]))))
	}
	reduced := func(t *toy, x *onnx.Value) *onnx.Value {
		p := t.qkv(x)
		k, v := t.Slice(p[1], 2, 0, 3), t.Slice(p[2], 2, 0, 3)
		return t.join(t.MatMul(t.Softmax(t.MatMul(p[0], t.SwapLast(k)), -1), v))
	}
	gated := func(t *toy, x *onnx.Value) *onnx.Value {
		return t.Mul(t.Softmax(t.linear(x, toyWidth), -1), t.linear(x, toyWidth))
	}
	projected := func(t *toy, x *onnx.Value) *onnx.Value {
		y := t.classToken(x)
		return t.Div(y, t.Op("Sqrt", nil, t.Reduce("ReduceSum", t.Mul(y, y), true, 1)))
	}
	askew := func(t *toy, x *onnx.Value) *onnx.Value {
		p := t.qkv(x)
		return t.join(t.MatMul(t.Softmax(t.MatMul(p[0], t.SwapLast(p[1])), 2), p[2]))
	}
	unscored := func(t *toy, x *onnx.Value) *onnx.Value {
		p := t.qkv(x)
		return t.join(t.MatMul(t.Op("Relu", nil, p[0]), t.MatMul(t.SwapLast(t.Op("Relu", nil, p[1])), p[2])))
	}
	filtered := func(t *toy, image *onnx.Value) *onnx.Value {
		for range 6 {
			image = t.Op("Relu", nil, t.Op("Conv", []onnx.Attr{{Name: "kernel_shape", Value: []int64{1, 1}}}, image, t.weight(3, 3, 1, 1)))
		}
		return t.patches(image)
	}
	pooled := func(t *toy, x *onnx.Value) *onnx.Value {
		scores := t.MatMul(t.token(x), t.SwapLast(t.linear(x, toyWidth))) // (B,1,N)
		return t.linear(t.Squeeze(t.MatMul(t.Softmax(scores, -1), t.linear(x, toyWidth)), 1), 5)
	}
	merging := func(t *toy, x *onnx.Value) *onnx.Value { // windows of 3 tokens, then all of 2
		y := t.Add(x, t.windowed(x))
		y = t.linear(t.Op("Reshape", nil, y, t.Ints(0, 2, 3*toyWidth)), toyWidth)
		y = t.Add(y, t.plain(y))
		return t.linear(t.Mean(y, 1), 5)
	}
	regression := func(t *toy, x *onnx.Value) *onnx.Value { return t.linear(t.Mean(x, 1), 1) }
	mean := func(t *toy, x *onnx.Value) *onnx.Value { return t.linear(t.Mean(x, 1), 5) }
	hidden := func(t *toy, x *onnx.Value) *onnx.Value { return x }
	for _, c := range []struct {
		name string
		toy  toy
		want string
	}{
		{"no attention", toy{attention: none}, "no Softmax lies between"},
		{"windows", toy{attention: (*toy).windowed, embed: (*toy).patches, head: mean}, "attention within windows only (2 maps), as in Swin"},
		{"channels", toy{attention: channels}, "between channels"},
		{"softmax over the queries", toy{attention: askew}, "the nearest is node softmax (Softmax), but softmax goes along axis 2 of softmax float32(batch,2,7,7), the product (node matmul_4) sums along 3"},
		{"linear attention", toy{attention: unscored}, "as in linear attention, which has no map between tokens"},
		{"convolutions alone", toy{attention: none, embed: filtered, head: mean}, "7 Convs do: this seems to be a CNN, which has no attention maps"},
		{"pooling alone", toy{attention: none, head: pooled}, "of 1 queries over 7 keys, as in cross attention and pooling"},
		{"windows, then merged tokens", toy{attention: none, embed: (*toy).patches, head: merging}, "attention between all tokens comes only where the 2x3 patches are merged to 2 tokens"},
		{"reduced keys", toy{attention: reduced}, "of 7 queries over 3 keys, as in attention over reduced tokens"},
		{"gates", toy{attention: gated}, "the nearest is node softmax (Softmax), but its input comes from a product with a constant"},
		{"embeddings", toy{attention: (*toy).plain, head: projected}, "is divided by what depends on the picture"},
		{"regression", toy{attention: (*toy).plain, head: regression}, "has one number a picture"},
		{"features", toy{attention: (*toy).plain, head: features}, "no classifier"},
		{"tokens", toy{attention: (*toy).plain, head: hidden}, "no classifier: no output has shape"},
		{"last token", toy{attention: (*toy).plain, head: last}, "reads token 6"},
		{"all tokens", toy{attention: (*toy).plain, head: flattened}, "can't be told how the classifier reads"},
		{"class token last", toy{attention: (*toy).plain, embed: behind, head: last}, "behind those of the patches"},
	} {
		s := find(t, c.toy.graph(t))
		var e *Error
		if err := s.Err(); !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || e.ExitCode() != 3 {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFindSaysThatControlFlowHidesAGraph(t *testing.T) {
	branched := func(t *toy, x *onnx.Value) *onnx.Value {
		logits := t.classToken(x)
		n := &onnx.Node{Name: "branch", Op: "If", Attrs: []onnx.Attr{{Name: "then_branch", Value: onnx.Opaque(nil)}}, Inputs: []*onnx.Value{t.Const(onnx.BoolTensor([]bool{true}, 1))},
			Captures: []*onnx.Value{logits}}
		out := &onnx.Value{Name: "chosen", Type: onnx.Float, Shape: logits.Shape, Node: n}
		n.Outputs = []*onnx.Value{out}
		t.Graph.Nodes = append(t.Graph.Nodes, n)
		return out
	}
	s := find(t, (&toy{attention: (*toy).plain, head: branched}).graph(t))
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "node branch (If) holds a subgraph (then_branch)") {
		t.Errorf("got %v", err)
	}
	if len(s.Attention) != 2 {
		t.Errorf("%d maps", len(s.Attention))
	}
}

func TestFindOptionsNameInputAndOutput(t *testing.T) {
	g := (&toy{attention: (*toy).plain}).graph(t)
	if _, err := Find(g, FindOptions{Image: "photo"}); err == nil || !strings.Contains(err.Error(), "pixels float32(batch,3,8,12)") {
		t.Errorf("a wrong input gives %v", err)
	}
	if _, err := Find(g, FindOptions{Output: "probs"}); err == nil || !strings.Contains(err.Error(), "no output \"probs\"") {
		t.Errorf("a wrong output gives %v", err)
	}
	s, err := Find(g, FindOptions{Image: "pixels", Output: g.Outputs[0].Name})
	if err != nil || s.Err() != nil {
		t.Error(err, s.Err())
	}
}

func TestFindReadsExportsOfPyTorch(t *testing.T) {
	for _, c := range []struct {
		name               string
		blocks             int
		heads, tokens      int64
		grid, patch, image [2]int64
	}{
		{"micro", 2, 2, 17, [2]int64{4, 4}, [2]int64{8, 8}, [2]int64{32, 32}},
		{"micro-rect", 3, 3, 16, [2]int64{3, 5}, [2]int64{8, 8}, [2]int64{24, 40}},
		{"micro-deep", 6, 4, 37, [2]int64{6, 6}, [2]int64{8, 8}, [2]int64{48, 48}},
	} {
		m, _, err := onnx.ReadModel(shared(t, "oracle", c.name, "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		g, err := passes.Prepare(m)
		if err != nil {
			t.Fatal(err)
		}
		s := find(t, g)
		if s.Err() != nil || len(s.Attention) != c.blocks || s.Grid != c.grid || s.Patch != c.patch || s.PrefixTokens != 1 || s.Pool != PoolToken || s.Image.Name != "image" || s.Logits.Name != "logits" {
			t.Errorf("%s: %+v, %v", c.name, s, s.Err())
		}
		for i, a := range s.Attention {
			if a.Block != i || a.Heads != c.heads || a.Tokens != c.tokens || !a.Value.Is("Softmax") {
				t.Errorf("%s: attention %d is %+v", c.name, i, a)
			}
		}
	}
}
