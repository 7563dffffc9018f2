package models

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/relevit/relevit/onnx"
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
	w, err := viewOf(c)
	if err != nil {
		return nil, err
	}
	r := &reading{c: c, view: w, a: &Architecture{Activation: "gelu", Eps: 1e-6}}
	if err := r.sizes(); err != nil {
		return nil, err
	}
	if err := r.collect(opt); err != nil {
		return nil, err
	}
	for _, step := range []func(Options) error{r.heads, r.image, r.rest} {
		if err := step(opt); err != nil {
			return nil, err
		}
	}
	if err := r.a.Validate(); err != nil {
		return nil, &Error{Path: c.Path, Problem: err.Error(), Advice: "state what differs by --arch"}
	}
	if err := r.compare(); err != nil {
		return nil, err
	}
	return r.a, nil
}

// reading is an architecture on its way out of a checkpoint.
type reading struct {
	c          *Checkpoint
	view       *view
	a          *Architecture
	statements []*statement
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
		return nil, r.fail("relevit reads timm's Vision Transformers", "this is no timm Vision Transformer: it has no tensor %s %s; %s", name, want, seems(r.c))
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
	hidden, err := r.dims("blocks.0.mlp.fc1.weight", "(hidden,width)")
	if err != nil {
		return err
	}
	a.Hidden = hidden[0]
	if r.has("reg_token") {
		d, err := r.dims("reg_token", "(1,registers,width)")
		if err != nil {
			return err
		}
		a.Registers = d[1]
	}
	if r.has("head.weight") {
		d, err := r.dims("head.weight", "(classes,width)")
		if err != nil {
			return err
		}
		a.Classes = d[0]
	}
	if r.has("pre_logits.fc.weight") {
		d, err := r.dims("pre_logits.fc.weight", "(features,width)")
		if err != nil {
			return err
		}
		a.PreLogits = d[0]
	}
	a.ClassToken, a.DistToken = r.has("cls_token"), r.has("dist_token")
	a.QKVBias, a.ProjBias = r.has("blocks.0.attn.qkv.bias"), r.has("blocks.0.attn.proj.bias")
	a.QKNorm, a.LayerScale = r.has("blocks.0.attn.q_norm.weight"), r.has("blocks.0.ls1.gamma")
	a.PreNorm, a.FCNorm = r.has("norm_pre.weight"), r.has("fc_norm.weight")
	a.FinalNorm = r.has("norm.weight") || !a.FCNorm
	a.PatchBias, a.HeadBias = r.has("patch_embed.proj.bias"), r.has("head.bias")
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
	r.statements = append(r.statements, around(r.c)...)
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
	for _, s := range kept {
		if s.args.Architecture != "" && r.a.Name == "" {
			r.a.Name = s.args.Architecture
		}
	}
	r.a.Family = "vit"
	switch {
	case r.a.Name != "":
		r.a.Family = familyOf(r.a.Name)
	case r.a.DistToken:
		r.a.Family = "deit"
	}
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
	if s.Heads != nil && (*s.Heads < 1 || r.a.Width%*s.Heads != 0) {
		return fmt.Sprintf("num_heads is %d there, which doesn't divide the width %d", *s.Heads, r.a.Width)
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
	if opt.Heads < 0 || (opt.Heads > 0 && a.Width%opt.Heads != 0) {
		return &Error{Path: r.c.Path, Usage: true, Problem: fmt.Sprintf("%d heads don't divide the width %d", opt.Heads, a.Width)}
	}
	if opt.Heads > 0 {
		a.Heads = opt.Heads
		return nil
	}
	if a.QKNorm {
		d, err := r.dims("blocks.0.attn.q_norm.weight", "(width of a head)")
		if err != nil {
			return err
		}
		if a.Width%d[0] == 0 {
			a.Heads = a.Width / d[0]
			return nil
		}
	}
	if v, _ := say(r, func(s *args) *int { return s.Heads }); v != nil {
		a.Heads = *v
		return nil
	}
	if a.Heads = headsOfWidth(a.Width); a.Heads > 0 {
		return nil
	}
	d := 16
	if a.Width%64 == 0 && a.Width > 64 {
		d = 64
	}
	if a.Width%d != 0 {
		return r.fail("state it by --arch, as in --arch '{\"num_heads\": 3}'", "the tensors don't tell the number of heads of width %d", a.Width)
	}
	a.Heads = a.Width / d
	r.warn("the number of heads is a guess: %d of %d dimensions each; if it is another, state it by --heads, or by --arch as in --arch '{\"num_heads\": %d}'",
		a.Heads, d, max(1, a.Heads/2))
	return nil
}

// image finds image size and grid, and whether prefix tokens have positions.
func (r *reading) image(opt Options) error {
	a := r.a
	d, err := r.dims("pos_embed", "(1,tokens,width)")
	if err != nil {
		return err
	}
	n, prefix := d[1], a.Prefix()
	fits := func(size [2]int) bool {
		a.ImageSize = size
		patches := a.Patches()
		a.NoEmbedClass = patches == n && prefix > 0
		return patches+prefix == n || patches == n
	}
	if opt.ImageSize != [2]int{} {
		return r.stateImage(opt.ImageSize, "as stated", n, fits)
	}
	for _, s := range r.statements {
		if s.args.Image == nil {
			continue
		}
		size := [2]int(*s.args.Image)
		if s.explicit {
			return r.stateImage(size, s.source, n, fits)
		}
		if fits(size) {
			return nil
		}
		r.warn("%s says that images are %dx%d, which doesn't fit the %d position embeddings: not used", s.source, size[0], size[1], n)
	}
	for _, patches := range []int{n - prefix, n} {
		if root, ok := squareRoot(patches); ok {
			fits([2]int{root * a.Patch[0], root * a.Patch[1]})
			if a.NoEmbedClass = patches == n && prefix > 0; a.NoEmbedClass {
				r.warn("the image size is a guess: the %d position embeddings are taken for %dx%d patches without the prefix tokens, as %d are no square; "+
					"if it is another, state it by --image-size ROWSxCOLUMNS", n, root, root, n-prefix)
			}
			return nil
		}
	}
	return r.fail("state rows and columns of the image by --image-size HxW",
		"the %d position embeddings (%d without the prefix tokens) are no square grid, so the tensors don't tell the image size", n, n-prefix)
}

func (r *reading) stateImage(size [2]int, source string, n int, fits func([2]int) bool) error {
	p := r.a.Patch
	if size[0] < p[0] || size[1] < p[1] || size[0]%p[0] != 0 || size[1]%p[1] != 0 {
		return &Error{Path: r.c.Path, Usage: true, Problem: fmt.Sprintf("pictures of %dx%d (%s) are no multiple of the patches' %dx%d pixels", size[0], size[1], source, p[0], p[1])}
	}
	if fits(size) {
		return nil
	}
	return &Error{Path: r.c.Path, Usage: true,
		Problem: fmt.Sprintf("pictures of %dx%d (%s) have %d patches and %d prefix tokens, but there are %d position embeddings; resampling them isn't supported yet",
			size[0], size[1], source, size[0]/p[0]*(size[1]/p[1]), r.a.Prefix(), n),
		Advice: "give the image size that the model was trained with"}
}

// rest sets what only statements tell, and the preprocessing.
func (r *reading) rest(Options) error {
	a := r.a
	a.Pool = "token"
	if a.FCNorm || !a.ClassToken {
		a.Pool = "avg"
	}
	if v, _ := say(r, func(s *args) *string { return s.Pool }); v != nil {
		a.Pool = *v
	}
	if v, _ := say(r, func(s *args) *bool { return s.PoolPrefix }); v != nil {
		a.PoolPrefix = *v
	}
	if v, _ := say(r, func(s *args) *string { return s.Act }); v != nil {
		a.Activation = *v
	}
	v, _ := say(r, func(s *args) *float64 { return s.Eps })
	constructed, _ := say(r, func(s *args) *bool { return s.PreNorm })
	switch {
	case v != nil:
		a.Eps = *v
	case a.PreNorm && constructed == nil:
		a.Eps = 1e-5
		r.warn("norm_pre is CLIP's, so LayerNorm's epsilon is taken to be 1e-5; if it is another, state it by --arch, as in --arch '{\"norm_eps\": 1e-6}'")
	}
	a.Preprocess = a.defaultPreprocess()
	for _, s := range slices.Backward(r.statements) {
		if len(s.args.Pretrained) > 0 {
			a.Preprocess.override(s.args.Pretrained)
		}
		if len(s.args.Labels) == a.Classes && a.Classes > 0 {
			a.Labels = s.args.Labels
		}
	}
	a.Preprocess.overrideBy(r.c.Metadata)
	var labels []string
	if json.Unmarshal([]byte(r.c.Metadata[MetaLabels]), &labels) == nil && len(labels) == a.Classes {
		a.Labels = labels
	}
	return nil
}

// compare checks every tensor against the architecture's list.
func (r *reading) compare() error {
	const most = 4 // of each kind in the message
	var missing, wrong, unknown []string
	want := map[string]bool{}
	for _, s := range r.a.tensors() {
		want[s.name] = true
		t := r.view.tensors[s.name]
		switch {
		case t == nil:
			missing = append(missing, fmt.Sprintf("%s %v", s.name, s.dims))
		case !slices.Equal(t.dims, s.dims):
			wrong = append(wrong, fmt.Sprintf("%s %v (expected %v)", r.sourceOf(s.name), t.dims, s.dims))
		default:
			for _, p := range t.parts {
				if x := r.c.tensors[p.source]; x != nil && !x.Type.IsFloat() {
					wrong = append(wrong, fmt.Sprintf("%s of type %v (expected a float type)", p.source, x.Type))
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.view.tensors)) {
		if !want[name] {
			unknown = append(unknown, fmt.Sprintf("%s %v", r.sourceOf(name), r.view.tensors[name].dims))
		}
	}
	var parts []string
	for _, k := range []struct {
		what string
		list []string
	}{{"missing", missing}, {"of another shape or type", wrong}, {"not understood", unknown}} {
		if len(k.list) == 0 {
			continue
		}
		text := strings.Join(k.list[:min(most, len(k.list))], ", ")
		if more := len(k.list) - most; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, fmt.Sprintf("%d tensors %s: %s", len(k.list), k.what, text))
	}
	if parts == nil {
		return nil
	}
	advice := "relevit builds timm's VisionTransformer and distilled DeiT; for another model give its ONNX export instead"
	if unknown == nil && wrong == nil {
		advice = "the checkpoint is incomplete: take another copy"
	}
	return r.fail(advice, "the tensors are not those of a %s: %s", r.a.Title(), strings.Join(parts, "; "))
}

// sourceOf is what the checkpoint calls a tensor, with timm's name where that
// is another.
func (r *reading) sourceOf(name string) string {
	source := r.view.tensors[name].parts[0].source
	if source == name || source == "" {
		return name
	}
	return fmt.Sprintf("%s (%s)", source, name)
}

// float32s returns a tensor as float32, itself where it is.
func float32s(t *onnx.Tensor) (*onnx.Tensor, error) {
	if t.Type == onnx.Float {
		return t, nil
	}
	v, err := t.Float32s()
	if err != nil {
		return nil, err
	}
	return onnx.FloatTensor(v, t.Dims...), nil
}
