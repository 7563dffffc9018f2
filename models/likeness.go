package models

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// alike is a model that timm publishes.
type alike struct {
	name    string
	args    *args
	a       *Architecture
	tensors Architecture // what its tensors tell
}

// publishedArchitectures lists those of all published models, the shortest name
// first.
var publishedArchitectures = sync.OnceValue(func() (out []alike) {
	entries, _ := published()
	for name := range entries {
		if p, ok := lookUp(name, ""); ok {
			out = append(out, alike{name, p, p.architecture(), p.architecture().told()})
		}
	}
	slices.SortFunc(out, func(a, b alike) int {
		return cmp.Or(cmp.Compare(len(a.name), len(b.name)), strings.Compare(a.name, b.name))
	})
	return out
})

// likeness adds what timm's published models with the checkpoint's tensors have
// that tensors don't tell: activation, number of heads, rotation of positions.
// Where they differ, and nobody has said which it is, the one with the shortest
// name counts, and a warning names the others.
func (r *reading) likeness() {
	stated := r.stated()
	if r.view.layout != timmNaming.layout || stated.Class != nil {
		return
	}
	found := r.alike(stated)
	if len(found) == 0 {
		return
	}
	chosen := found[0]
	args, prepared := *chosen.args, chosen.args.Pretrained
	set(&args.Rope, new(false))
	args.Family = familyOf(chosen.name)
	var others []string
	for _, x := range found[1:] {
		if differs := chosen.a.differs(x.a); differs != nil {
			others = append(others, fmt.Sprintf("%s (another %s)", x.name, strings.Join(differs, ", ")))
		}
		if familyOf(x.name) != familyOf(chosen.name) {
			args.Family = ""
		}
		if string(x.args.Pretrained) != string(prepared) {
			args.Pretrained = nil
			r.unprepared = r.unprepared || !slices.Equal(meanOf(x.args.Pretrained), meanOf(prepared))
		}
	}
	if others != nil {
		r.warn("the tensors are those of timm's %s, for which they are taken, but also of %s; if it is such a model, state it by --arch NAME",
			chosen.name, strings.Join(others, ", "))
	}
	r.statements = append(r.statements, &statement{source: "timm's " + chosen.name, likeness: true, args: &args})
}

// meanOf is the mean of the channels that a preprocessing states.
func meanOf(pretrained []byte) []float64 {
	var p pretrainedConfig
	if json.Unmarshal(pretrained, &p) != nil {
		return nil
	}
	return p.Mean
}

// stated is what all statements together say.
func (r *reading) stated() *args {
	out := &args{}
	for _, s := range r.statements {
		out.fill(s.args)
	}
	return out
}

// guesses warns of what is taken for granted in a model that nobody describes
// and that is like none of timm's. Other libraries' names leave less open.
func (r *reading) guesses() {
	a, p := r.a, r.stated()
	if r.view.layout != timmNaming.layout || p.Class != nil || p.Width != nil {
		return
	}
	var taken []string
	guess := func(open bool, key string, value any) {
		if open {
			taken = append(taken, fmt.Sprintf("%s %v", key, value))
		}
	}
	guess(p.Act == nil, "act_layer", a.Activation)
	guess(p.Pool == nil && a.Pool != "map", "global_pool", a.Pool)
	guess(p.PoolPrefix == nil && a.Pool != "token" && a.Pool != "map" && a.Prefix() > 0, "pool_include_prefix", a.PoolPrefix)
	guess(p.PoolHeads == nil && a.Pool == "map", "attn_pool_num_heads", a.PoolHeads)
	guess(p.Block == nil && p.PostNorm == nil && a.Block == blockPre, "block_fn", a.Block)
	guess(p.MLP == nil && a.MLP != mlpPlain, "mlp_layer", a.MLP)
	guess(p.Rope == nil && a.Rotary == nil, "use_rot_pos_emb", false)
	guess(p.Eps == nil, "norm_eps", a.Eps)
	if taken != nil {
		r.warn("the tensors are all that describes the model, and they leave open what is taken to be %s; if any of it is another, state it by --arch, as in --arch '{\"act_layer\": \"quick_gelu\"}'",
			strings.Join(taken, ", "))
	}
}

// alike lists published models with the checkpoint's tensors that nobody
// contradicts, the shortest name first.
func (r *reading) alike(stated *args) []alike {
	own := *r.a
	own.FinalNorm = r.has("norm.weight")
	if r.has("rope.freqs") {
		own.Rotary = &Rotary{RopeType: ropeMixed}
	}
	tells := own.told()
	var out []alike
	for _, x := range publishedArchitectures() {
		if reflect.DeepEqual(tells, x.tensors) && !stated.contradicts(x.a) {
			out = append(out, x)
		}
	}
	return out
}

// told is an architecture without what tensors don't tell, or tell in another
// way than by being there.
func (a Architecture) told() Architecture {
	a.Name, a.Family, a.ImageSize, a.Classes, a.NoEmbedClass, a.HeadBias, a.DistHead = "", "", [2]int{}, 0, false, false, false
	a.Heads, a.Pool, a.PoolPrefix, a.PoolHeads, a.QKVSplit = 0, "", false, 0, false
	a.Activation, a.Norm, a.Eps, a.Preprocess, a.Labels, a.Warnings = "", "", 0, Preprocess{}, nil, nil
	if a.Block == blockPost {
		a.Block = blockPre
	}
	if a.MLP == mlpGateLast {
		a.MLP = mlpGated
	}
	if a.Rotary != nil && a.RopeType != ropeMixed {
		a.Rotary = nil
	}
	if a.Rotary != nil {
		a.Rotary = &Rotary{RopeType: ropeMixed}
	}
	return a
}

// contradicts reports whether an architecture is another than what is stated.
func (p *args) contradicts(a *Architecture) bool {
	norm := p.norm()
	return p.Heads != nil && *p.Heads != a.Heads || p.Pool != nil && *p.Pool != a.Pool || p.Act != nil && *p.Act != a.Activation ||
		p.Eps != nil && *p.Eps != a.Eps || p.Norm != nil && norm != a.Norm || p.Rope != nil && *p.Rope != (a.Rotary != nil) ||
		p.Registers != nil && *p.Registers != a.Registers
}

// differs lists what two architectures with the same tensors compute in another
// way, by timm's words.
func (a *Architecture) differs(b *Architecture) []string {
	var out []string
	for _, c := range []struct {
		key  string
		same bool
	}{
		{"num_heads", a.Heads == b.Heads},
		{"global_pool", a.Pool == b.Pool},
		{"pool_include_prefix", a.PoolPrefix == b.PoolPrefix},
		{"attn_pool_num_heads", a.PoolHeads == b.PoolHeads},
		{"block_fn", a.Block == b.Block},
		{"mlp_layer", a.MLP == b.MLP},
		{"act_layer", a.Activation == b.Activation},
		{"norm_layer", a.Norm == b.Norm},
		{"norm_eps", a.Eps == b.Eps},
		{"use_rot_pos_emb", reflect.DeepEqual(a.Rotary, b.Rotary)},
		{"img_size", a.Positions || a.RelBias || a.SharedRelBias || a.ImageSize == b.ImageSize},
	} {
		if !c.same {
			out = append(out, c.key)
		}
	}
	return out
}
