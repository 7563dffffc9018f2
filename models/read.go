package models

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Options state what tensors don't tell. The zero value states nothing.
type Options struct {
	// Arch is a timm name such as vit_tiny_patch16_224, a JSON object with
	// timm's constructor arguments, or the path of a file that holds one.
	Arch      string
	ImageSize [2]int // rows, columns, in pixels
	Heads     int
}

// ReadArchitecture tells a Vision Transformer's architecture from its tensors.
// What they leave open (the number of heads, a grid that isn't square) is taken
// from the options, the checkpoint's metadata, a config.json or case.json
// beside it, its file name, and last from what published models have; a guess
// is among the result's warnings. A checkpoint that isn't such a model, or
// lacks tensors, is an *Error that names them.
func ReadArchitecture(c *Checkpoint, opt Options) (*Architecture, error) {
	if err := quantised(c); err != nil {
		return nil, err
	}
	w, err := viewOf(c)
	if err != nil {
		return nil, err
	}
	r := &reading{c: c, view: w, a: &Architecture{Eps: 1e-6}}
	if err := r.sizes(); err != nil {
		return nil, r.doubt(err)
	}
	if err := r.collect(opt); err != nil {
		return nil, err
	}
	for _, step := range []func(Options) error{r.heads, r.rest, r.image, r.preprocess} {
		if err := step(opt); err != nil {
			return nil, r.doubt(err)
		}
	}
	r.guesses()
	if err := r.a.Validate(); err != nil {
		return nil, &Error{Path: c.Path, Problem: err.Error(), Advice: "state what differs by --arch"}
	}
	if err := r.compare(); err != nil {
		return nil, r.doubt(err)
	}
	return r.a, nil
}

// reading is an architecture on its way out of a checkpoint.
type reading struct {
	c          *Checkpoint
	view       *view
	a          *Architecture
	statements []*statement
	unprepared bool // published models with these tensors differ in mean and std
}

func (r *reading) has(name string) bool { return r.view.has(name) }

func (r *reading) fail(advice, format string, args ...any) error {
	return &Error{Path: r.c.Path, Problem: fmt.Sprintf(format, args...), Advice: advice}
}

func (r *reading) warn(format string, args ...any) {
	r.a.Warnings = append(r.a.Warnings, fmt.Sprintf(format, args...))
}

// dims returns the shape of a tensor that the model needs.
func (r *reading) dims(name, want string) ([]int, error) {
	t := r.view.tensors[name]
	if t == nil {
		what, advice := seems(r.c.names)
		return nil, r.fail(advice, "this is no Vision Transformer that relevit builds, as it has no tensor %s %s: %s", name, want, what)
	}
	if len(t.dims) != strings.Count(want, ",")+1 || slices.Min(t.dims) < 1 {
		return nil, r.fail("", "tensor %s: expected %s, found %v", name, want, t.dims)
	}
	out := make([]int, len(t.dims))
	for i, d := range t.dims {
		out[i] = int(d)
	}
	return out, nil
}

// sizes reads what the tensors tell for certain.
func (r *reading) sizes() error {
	a := r.a
	patch, err := r.dims("patch_embed.proj.weight", "(width,channels,rows,columns)")
	if err != nil {
		return err
	}
	a.Width, a.Channels, a.Patch = patch[0], patch[1], [2]int{patch[2], patch[3]}
	for name := range r.view.tensors {
		if rest, ok := strings.CutPrefix(name, "blocks."); ok {
			number, _, _ := strings.Cut(rest, ".")
			if n, err := strconv.Atoi(number); err == nil && n >= 0 {
				a.Depth = max(a.Depth, n+1)
			}
		}
	}
	if a.Depth > len(r.view.tensors) {
		return r.fail("", "blocks are numbered up to %d, but there are only %d tensors", a.Depth-1, len(r.view.tensors))
	}
	if err := r.firstBlock(); err != nil {
		return err
	}
	for _, t := range []struct {
		name, want string
		axis       int
		to         *int
	}{
		{"reg_token", "(1,registers,width)", 1, &a.Registers},
		{"head.weight", "(classes,width)", 0, &a.Classes},
		{"pre_logits.fc.weight", "(features,width)", 0, &a.PreLogits},
		{"attn_pool.mlp.fc1.weight", "(hidden,width)", 0, &a.PoolHidden},
	} {
		if !r.has(t.name) {
			continue
		}
		d, err := r.dims(t.name, t.want)
		if err != nil {
			return err
		}
		*t.to = d[t.axis]
	}
	a.ClassToken, a.DistToken, a.Positions = r.has("cls_token"), r.has("dist_token"), r.has("pos_embed")
	a.SharedRelBias = r.has("rel_pos_bias.relative_position_bias_table")
	a.EmbedNorm, a.PreNorm, a.FCNorm = r.has("patch_embed.norm.weight"), r.has("norm_pre.weight"), r.has("fc_norm.weight")
	a.PatchBias, a.HeadBias, a.DistHead = r.has("patch_embed.proj.bias"), r.has("head.bias"), r.has("head_dist.weight")
	return nil
}

// firstBlock reads what the tensors of block 0 tell. The other blocks are
// compared with it.
func (r *reading) firstBlock() error {
	const block = "blocks.0."
	a := r.a
	attn, mlp, norm, scale := block+"attn.", block+"mlp.", block+"norm1", block+"ls1.gamma"
	a.Block = blockPre
	switch {
	case r.has(block + "in_proj.weight"):
		return r.scalingBlock(block)
	case r.has(block + "attns.0.attn.qkv.weight"):
		attn, mlp, norm, scale = block+"attns.0.attn.", block+"ffns.0.mlp.", block+"attns.0.norm", block+"attns.0.ls.gamma"
		a.Block = blockThings
		for r.has(fmt.Sprintf("%sattns.%d.attn.qkv.weight", block, a.Parallel)) {
			a.Parallel++
		}
	}
	first, second := "fc1", ""
	a.MLP = mlpPlain
	if r.has(mlp + "fc1_g.weight") {
		a.MLP, first, second = mlpGated, "fc1_g", "fc1_x"
	}
	hidden, err := r.dims(mlp+first+".weight", "(hidden,width)")
	if err != nil {
		return err
	}
	a.Hidden = hidden[0]
	if second != "" && !r.has(mlp+second+".weight") {
		return r.fail("take another copy of the checkpoint", "tensor %s has no counterpart %s", mlp+first+".weight", mlp+second+".weight")
	}
	a.AttnWidth = a.Width
	if r.has(attn + "qkv.weight") {
		d, err := r.dims(attn+"qkv.weight", "(3 times the width of all heads,width)")
		if err != nil {
			return err
		}
		a.AttnWidth, a.QKVSplit = d[0]/3, len(r.view.tensors[attn+"qkv.weight"].parts) > 1
	}
	if bias := r.view.tensors[attn+"qkv.bias"]; bias != nil {
		a.QKVBias, a.KeyBias = true, len(bias.parts) != 3 || bias.parts[1].source != ""
	}
	a.ProjBias, a.QKNorm = r.has(attn+"proj.bias"), r.has(attn+"q_norm.weight")
	a.RelBias, a.AttnNorm, a.AttnGate = r.has(attn+"relative_position_bias_table"), r.has(attn+"norm.weight"), r.has(attn+"gate.weight")
	a.MLPNorm, a.LayerScale = r.has(mlp+"norm.weight"), r.has(scale)
	a.NormBias = r.has(norm+".bias") || r.has(block+"norm2.bias") // one that is missing is reported
	a.AttnScale = a.LayerScale && a.Block == blockPre && !r.has(block+"ls2.gamma")
	return nil
}

func (r *reading) scalingBlock(block string) error {
	a := r.a
	d, err := r.dims(block+"in_proj.weight", "(hidden and 3 times width,width)")
	if err != nil {
		return err
	}
	a.Block, a.MLP, a.AttnWidth, a.Hidden = blockScaling, mlpPlain, a.Width, d[0]-3*a.Width
	if a.Hidden <= 0 {
		return r.fail("", "tensor %sin_proj.weight has %d rows, fewer than 3 times the width %d", block, d[0], a.Width)
	}
	a.FuseOut = r.has(block + "out_proj.weight")
	a.QKVBias, a.KeyBias = r.has(block+"in_proj.bias"), r.has(block+"in_proj.bias")
	a.ProjBias = r.has(block+"attn_out_proj.bias") || r.has(block+"out_proj.bias")
	a.QKNorm, a.NormBias, a.LayerScale = r.has(block+"q_norm.weight"), r.has(block+"in_norm.bias"), r.has(block+"ls.gamma")
	return nil
}

// collect gathers the statements and drops those about another model.
func (r *reading) collect(opt Options) error {
	if opt.Arch != "" {
		s, err := stated(opt.Arch)
		if err != nil {
			return err
		}
		r.statements = append(r.statements, s)
	}
	r.statements = append(r.statements, r.around()...)
	r.statements = append(r.statements, &statement{source: "the tensors' names", args: &r.view.says})
	r.a.Warnings = append(r.a.Warnings, r.view.notes...)
	if len(r.c.Others) > 0 {
		r.warn("the weights are those under %s; the file has others under %s, which have to be saved alone to be taken", r.c.Nesting, strings.Join(r.c.Others, ", "))
	}
	var kept []*statement
	for _, s := range r.statements {
		against := r.against(s.args)
		switch {
		case against == "":
			kept = append(kept, s)
		case s.explicit:
			return &Error{Path: r.c.Path, Usage: true, Problem: fmt.Sprintf("%s contradicts the tensors: %s", s.source, against),
				Advice: "give the architecture of this checkpoint, or none"}
		default:
			r.warn("%s describes another model (%s): not used", s.source, against)
		}
	}
	r.statements = kept
	r.likeness()
	for _, s := range kept {
		if s.args.Architecture != "" && r.a.Name == "" {
			r.a.Name = s.args.Architecture
		}
	}
	family := ""
	for _, s := range slices.Backward(r.statements) {
		if s.args.Family != "" && !(s.likeness && r.a.Name != "") {
			family = s.args.Family
		}
	}
	r.a.family(family)
	return nil
}

// against tells in what a statement contradicts the tensors.
func (r *reading) against(s *args) string {
	for _, c := range []struct {
		key    string
		stated *int
		found  int
	}{
		{"embed_dim", s.Width, r.a.Width}, {"depth", s.Depth, r.a.Depth}, {"in_chans", s.Channels, r.a.Channels},
		{"reg_tokens", s.Registers, r.a.Registers}, {"num_classes", s.Classes, r.a.Classes},
	} {
		if c.stated != nil && *c.stated != c.found {
			return fmt.Sprintf("%s is %d there, the tensors say %d", c.key, *c.stated, c.found)
		}
	}
	if s.Patch != nil && [2]int(*s.Patch) != r.a.Patch {
		return fmt.Sprintf("patch_size is %v there, the tensors say %v", *s.Patch, r.a.Patch)
	}
	if s.Heads != nil && (*s.Heads < 1 || r.a.AttnWidth%*s.Heads != 0) {
		return fmt.Sprintf("num_heads is %d there, which doesn't divide the width %d", *s.Heads, r.a.AttnWidth)
	}
	return ""
}

// say returns the first statement's value of an argument.
func say[T any](r *reading, get func(*args) *T) (*T, *statement) {
	for _, s := range r.statements {
		if v := get(s.args); v != nil {
			return v, s
		}
	}
	return nil, nil
}

func (r *reading) heads(opt Options) error {
	a := r.a
	if opt.Heads < 0 || (opt.Heads > 0 && a.AttnWidth%opt.Heads != 0) {
		return &Error{Path: r.c.Path, Usage: true, Problem: fmt.Sprintf("%d heads don't divide the width %d", opt.Heads, a.AttnWidth)}
	}
	if opt.Heads > 0 {
		a.Heads = opt.Heads
		return nil
	}
	for _, t := range []struct {
		name, want string
		axis       int
		count      bool // of heads; otherwise the width of one
	}{
		{"blocks.0.attn.relative_position_bias_table", "(distances,heads)", 1, true},
		{"rel_pos_bias.relative_position_bias_table", "(distances,heads)", 1, true},
		{"rope.freqs", "(2,blocks,heads,frequencies)", 2, true},
		{"blocks.0.attn.q_norm.weight", "(width of a head)", 0, false},
		{"blocks.0.attns.0.attn.q_norm.weight", "(width of a head)", 0, false},
		{"blocks.0.q_norm.weight", "(width of a head)", 0, false},
	} {
		if !r.has(t.name) {
			continue
		}
		d, err := r.dims(t.name, t.want)
		if err != nil {
			return err
		}
		if a.AttnWidth%d[t.axis] == 0 {
			a.Heads = d[t.axis]
			if !t.count {
				a.Heads = a.AttnWidth / d[t.axis]
			}
			return nil
		}
	}
	if v, _ := say(r, func(s *args) *int { return s.Heads }); v != nil {
		a.Heads = *v
		return nil
	}
	if a.Heads = headsOfWidth(a.AttnWidth); a.Heads > 0 {
		return nil
	}
	d := 16
	if a.AttnWidth%64 == 0 && a.AttnWidth > 64 {
		d = 64
	}
	if a.AttnWidth%d != 0 {
		return r.fail("state it by --arch, as in --arch '{\"num_heads\": 3}'", "the tensors don't tell the number of heads of width %d", a.AttnWidth)
	}
	a.Heads = a.AttnWidth / d
	r.warn("the number of heads is a guess: %d of %d dimensions each; if it is another, state it by --heads, or by --arch as in --arch '{\"num_heads\": %d}'",
		a.Heads, d, max(1, a.Heads/2))
	return nil
}
