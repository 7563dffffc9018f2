package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// A statement is what somebody says about an architecture: the user, the
// checkpoint's metadata, or a file beside it. Tensors tell most, but not the
// number of heads nor a grid that isn't square.
type statement struct {
	source   string
	explicit bool // by the user: a contradiction is an error
	likeness bool // by none, but true of a published model with these tensors
	args     *args
}

// args are timm's constructor arguments, and what wraps them in the
// description files of timm, of its models on a hub, and of test cases. Absent
// is nil.
type args struct {
	Architecture string          `json:"architecture"`
	Timm         string          `json:"timm"`
	Family       string          `json:"family"`
	Arch         json.RawMessage `json:"arch"`
	ModelArgs    json.RawMessage `json:"model_args"`
	Pretrained   json.RawMessage `json:"pretrained_cfg"`
	Labels       []string        `json:"label_names"`

	Class        *string  `json:"class"` // timm's: VisionTransformer, Eva or Beit
	Image        *pair    `json:"img_size"`
	Patch        *pair    `json:"patch_size"`
	Channels     *int     `json:"in_chans"`
	Classes      *int     `json:"num_classes"`
	Width        *int     `json:"embed_dim"`
	Depth        *int     `json:"depth"`
	Heads        *int     `json:"num_heads"`
	Ratio        *float64 `json:"mlp_ratio"`
	Pool         *string  `json:"global_pool"`
	Act          *string  `json:"act_layer"`
	Norm         *string  `json:"norm_layer"`
	Eps          *float64 `json:"norm_eps"`
	LayerNormEps *float64 `json:"layer_norm_eps"`
	ClassToken   *bool    `json:"class_token"`
	Distilled    *bool    `json:"distilled"`
	DistToken    *bool    `json:"dist_token"`
	Registers    *int     `json:"reg_tokens"`
	NumRegisters *int     `json:"num_reg_tokens"`
	NoEmbedClass *bool    `json:"no_embed_class"`
	PoolPrefix   *bool    `json:"pool_include_prefix"`
	PoolHeads    *int     `json:"attn_pool_num_heads"`
	PoolRatio    *float64 `json:"attn_pool_mlp_ratio"`
	QKVBias      *bool    `json:"qkv_bias"`
	QKVFused     *bool    `json:"qkv_fused"`
	ProjBias     *bool    `json:"proj_bias"`
	QKNorm       *bool    `json:"qk_norm"`
	AttnNorm     *bool    `json:"scale_attn_norm"`
	AttnInner    *bool    `json:"scale_attn_inner"`
	AttnType     *string  `json:"attn_type"`
	AttnGate     *bool    `json:"gated_attn"`
	MLPNorm      *bool    `json:"scale_mlp_norm"`
	MLPScale     *bool    `json:"scale_mlp"`
	MLP          *string  `json:"mlp_layer"`
	SwiGLU       *bool    `json:"swiglu_mlp"`
	AlignTo      *int     `json:"swiglu_align_to"`
	Block        *string  `json:"block_fn"`
	PostNorm     *bool    `json:"use_post_norm"`
	PreNorm      *bool    `json:"pre_norm"`
	UsePreNorm   *bool    `json:"use_pre_transformer_norm"`
	EmbedNorm    *string  `json:"embed_norm_layer"`
	FinalNorm    *bool    `json:"final_norm"`
	UseFinalNorm *bool    `json:"use_post_transformer_norm"`
	FCNorm       *bool    `json:"fc_norm"`
	UseFCNorm    *bool    `json:"use_fc_norm"`
	InitValues   *float64 `json:"init_values"`
	AttnScale    *bool    `json:"attn_only_layer_scale"`

	Positions     *bool    `json:"use_abs_pos_emb"`
	PosEmbed      *string  `json:"pos_embed"` // learn or none
	RelBias       *bool    `json:"use_rel_pos_bias"`
	SharedRelBias *bool    `json:"use_shared_rel_pos_bias"`
	Rope          *bool    `json:"use_rot_pos_emb"`
	RopeType      *string  `json:"rope_type"`
	Temperature   *float64 `json:"rope_temperature"`
	RopeOffset    *float64 `json:"rope_grid_offset"`
	RopeIndexing  *string  `json:"rope_grid_indexing"`
	RopeHalf      *bool    `json:"rope_rotate_half"`
	RopeReference *pair    `json:"ref_feat_shape"`
}

// pair is two sizes, in JSON a number or a list of two.
type pair [2]int

// UnmarshalJSON reads 224 or [192, 320].
func (p *pair) UnmarshalJSON(text []byte) error {
	var n int
	if json.Unmarshal(text, &n) == nil {
		*p = pair{n, n}
		return nil
	}
	var two []int
	if err := json.Unmarshal(text, &two); err != nil || len(two) != 2 {
		return fmt.Errorf("expected a size or two (rows, columns), found %s", text)
	}
	*p = pair{two[0], two[1]}
	return nil
}

// parseArgs reads a JSON object with constructor arguments, unwrapping it.
func parseArgs(text []byte) (*args, error) {
	a := &args{}
	if err := json.Unmarshal(text, a); err != nil {
		return nil, err
	}
	for _, inner := range []json.RawMessage{a.Arch, a.ModelArgs} {
		if len(inner) == 0 || bytes.Equal(inner, []byte("null")) {
			continue
		}
		if err := json.Unmarshal(inner, a); err != nil {
			return nil, err
		}
	}
	if _, ok := named(a.Timm); ok { // elsewhere it is the library's version
		a.Architecture = a.Timm
	}
	set(&a.Eps, a.LayerNormEps)
	set(&a.Distilled, a.DistToken)
	set(&a.Registers, a.NumRegisters)
	set(&a.AttnNorm, a.AttnInner)
	set(&a.MLPNorm, a.MLPScale)
	set(&a.PreNorm, a.UsePreNorm)
	set(&a.FinalNorm, a.UseFinalNorm)
	set(&a.FCNorm, a.UseFCNorm)
	if a.PosEmbed != nil {
		learned := *a.PosEmbed == "learn"
		set(&a.Positions, &learned)
	}
	if a.RopeType != nil {
		yes := true
		set(&a.Rope, &yes)
	}
	if byName, ok := named(a.Architecture); ok {
		a.fill(byName)
	}
	return a, nil
}

// fill takes from b what p leaves open.
func (p *args) fill(b *args) {
	to, from := reflect.ValueOf(p).Elem(), reflect.ValueOf(b).Elem()
	for i := range to.NumField() {
		if f := to.Field(i); f.Kind() == reflect.Pointer && f.IsNil() {
			f.Set(from.Field(i))
		}
	}
	if len(p.Pretrained) == 0 {
		p.Pretrained = b.Pretrained
	}
}

func set[T any](to **T, from *T) {
	if *to == nil {
		*to = from
	}
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// stated reads --arch: a timm name, a JSON object, or a file that holds one.
func stated(arch string) (*statement, error) {
	const source = "--arch"
	usage := func(problem string, err error) error {
		return &Error{Problem: source + ": " + problem, Usage: true, Err: err,
			Advice: "give a timm name such as vit_base_patch16_224, or a JSON object with timm's constructor arguments, or a file that holds one"}
	}
	text := []byte(arch)
	if !strings.HasPrefix(strings.TrimSpace(arch), "{") {
		if a, ok := named(arch); ok {
			return &statement{source: source, explicit: true, args: a}, nil
		}
		data, err := os.ReadFile(arch)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, usage(fmt.Sprintf("%q is no known architecture", arch), nil)
		}
		if err != nil {
			return nil, usage("reading the description", err)
		}
		text = data
	}
	a, err := parseArgs(text)
	if err != nil {
		return nil, usage("bad JSON", err)
	}
	return &statement{source: source, explicit: true, args: a}, nil
}

// around collects what a checkpoint's metadata, files beside it and its name
// say, the most reliable first. Files that can't be read as descriptions are
// none.
func (r *reading) around() []*statement {
	c := r.c
	var out []*statement
	if name := c.Metadata["architecture"]; name != "" {
		if a, ok := named(name); ok {
			out = append(out, &statement{source: "the checkpoint's metadata", args: a})
		}
	}
	if text := c.Metadata[MetaArchitecture]; text != "" {
		if a, err := parseArgs([]byte(text)); err == nil {
			out = append(out, &statement{source: "the checkpoint's metadata", args: a})
		}
	}
	if c.Path == "" {
		return out
	}
	s, err := configStatement(c)
	if err != nil {
		r.warn("%v: not used", err)
	}
	if s != nil {
		out = append(out, s)
	}
	for _, name := range []string{"config.json", "case.json"} {
		text := beside(c, name)
		if s != nil && name == "config.json" {
			continue
		}
		if a, err := parseArgs(text); err == nil {
			out = append(out, &statement{source: filepath.Join(folderOf(c), name), args: a})
		}
	}
	base := strings.ToLower(filepath.Base(c.Path))
	for _, suffix := range []string{".tar", ".index.json", filepath.Ext(base)} {
		base = strings.TrimSuffix(base, suffix)
	}
	if a, ok := named(base); ok {
		return append(out, &statement{source: "the file's name", args: a})
	}
	base, _, _ = strings.Cut(base, "-")
	if a, ok := named(base); ok {
		out = append(out, &statement{source: "the file's name", args: a})
	}
	return out
}
