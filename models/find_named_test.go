package models

import (
	"errors"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestFindTakesStatedMapsGridAndPrefix(t *testing.T) {
	g := (&toy{attention: (*toy).parallel}).graph(t)
	all := find(t, g).Attention
	two := int64(1)
	for _, c := range []struct {
		name string
		opt  FindOptions
		maps int
		grid [2]int64
	}{
		{"a name", FindOptions{Attention: []string{all[2].Value.Name}}, 1, [2]int64{2, 3}},
		{"names in another order", FindOptions{Attention: []string{all[3].Value.Name, all[0].Value.Name}}, 2, [2]int64{2, 3}},
		{"a pattern", FindOptions{Attention: []string{"softmax*"}}, 4, [2]int64{2, 3}},
		{"a node that leads to the map", FindOptions{Attention: []string{all[0].Value.Node.Name}}, 1, [2]int64{2, 3}},
		{"a grid", FindOptions{Grid: [2]int64{3, 2}}, 4, [2]int64{3, 2}},
		{"a prefix", FindOptions{PrefixTokens: &two}, 4, [2]int64{2, 3}},
		{"both", FindOptions{PrefixTokens: &two, Grid: [2]int64{6, 1}}, 4, [2]int64{6, 1}},
	} {
		s, err := Find(g, c.opt)
		if err != nil || s.Err() != nil {
			t.Errorf("%s: %v, %v", c.name, err, s.Err())
			continue
		}
		if len(s.Attention) != c.maps || s.Grid != c.grid || s.PrefixTokens != 1 {
			t.Errorf("%s: %d maps, grid %v, %d prefix tokens", c.name, len(s.Attention), s.Grid, s.PrefixTokens)
		}
		for i := 1; i < len(s.Attention); i++ {
			if s.Attention[i].Block < s.Attention[i-1].Block {
				t.Errorf("%s: maps aren't in order of execution", c.name)
			}
		}
	}
}

func TestFindRefusesOptionsThatDoNotFit(t *testing.T) {
	g := (&toy{attention: (*toy).plain}).graph(t)
	none, many := int64(0), int64(3)
	weight := g.Inits[0].Name
	for want, opt := range map[string]FindOptions{
		`"nowhere" names no value and no node of the graph; its Softmax outputs are`: {Attention: []string{"nowhere"}},
		`"[" is no name and no pattern`:                                              {Attention: []string{"["}},
		"isn't a map between tokens":                                                 {Attention: []string{find(t, g).Logits.Name}},
		"names no value and no node":                                                 {Attention: []string{weight}},
		"a grid of 3x3 patches has 9, and attention":                                 {Grid: [2]int64{3, 3}},
		"0 prefix tokens leave 7 of the 7 tokens":                                    {PrefixTokens: &none},
		"3 prefix tokens and a grid of 2x3 patches are 9 tokens, and":                {PrefixTokens: &many, Grid: [2]int64{2, 3}},
		"a grid of 9223372036854775807x1 patches":                                    {Grid: [2]int64{1<<63 - 1, 1}},
		"a grid of -2x-3 patches":                                                    {Grid: [2]int64{-2, -3}},
	} {
		_, err := Find(g, opt)
		var e *Error
		if !errors.As(err, &e) || e.ExitCode() != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestFindAsksForTheGridOfUnknownPatches(t *testing.T) {
	merged := func(t *toy, image *onnx.Value) *onnx.Value { // 2x3 patches, of which 2 are merged to a token
		x := t.Op("Reshape", nil, t.patches(image), t.Ints(0, 3, 2*toyWidth))
		return t.linear(x, toyWidth)
	}
	mean := func(t *toy, x *onnx.Value) *onnx.Value { return t.linear(t.Mean(x, 1), 5) }
	g := (&toy{attention: (*toy).plain, embed: merged, head: mean}).graph(t)
	if err := find(t, g).Err(); err == nil || !strings.Contains(err.Error(), "between 3 tokens, fewer than the 2x3 patches") {
		t.Errorf("merged patches give %v", err)
	}
	s, err := Find(g, FindOptions{Grid: [2]int64{1, 3}})
	if err != nil || s.Err() != nil || s.Grid != [2]int64{1, 3} || s.PrefixTokens != 0 || s.Patch != [2]int64{8, 4} {
		t.Errorf("with the grid stated: %+v, %v", s, err)
	}
}
