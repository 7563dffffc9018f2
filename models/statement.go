package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A statement is what somebody says about an architecture: the user, the
// checkpoint's metadata, or a file beside it. Tensors tell most, but not the
// number of heads nor a grid that isn't square.
type statement struct {
	source   string
	explicit bool // by the user: a contradiction is an error
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
	Eps          *float64 `json:"norm_eps"`
	LayerNormEps *float64 `json:"layer_norm_eps"`
	ClassToken   *bool    `json:"class_token"`
	Distilled    *bool    `json:"distilled"`
	DistToken    *bool    `json:"dist_token"`
	Registers    *int     `json:"reg_tokens"`
	NoEmbedClass *bool    `json:"no_embed_class"`
	PoolPrefix   *bool    `json:"pool_include_prefix"`
	QKVBias      *bool    `json:"qkv_bias"`
	ProjBias     *bool    `json:"proj_bias"`
	QKNorm       *bool    `json:"qk_norm"`
	PreNorm      *bool    `json:"pre_norm"`
	FCNorm       *bool    `json:"fc_norm"`
	InitValues   *float64 `json:"init_values"`
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
	if a.Eps == nil {
		a.Eps = a.LayerNormEps
	}
	if a.Distilled == nil {
		a.Distilled = a.DistToken
	}
	if byName, ok := named(a.Architecture); ok {
		a.fill(byName)
	}
	return a, nil
}

// fill takes from b what a leaves open.
func (a *args) fill(b *args) {
	set(&a.Image, b.Image)
	set(&a.Patch, b.Patch)
	set(&a.Channels, b.Channels)
	set(&a.Classes, b.Classes)
	set(&a.Width, b.Width)
	set(&a.Depth, b.Depth)
	set(&a.Heads, b.Heads)
	set(&a.Ratio, b.Ratio)
	set(&a.Pool, b.Pool)
	set(&a.Act, b.Act)
	set(&a.Eps, b.Eps)
	set(&a.ClassToken, b.ClassToken)
	set(&a.Distilled, b.Distilled)
	set(&a.Registers, b.Registers)
	set(&a.NoEmbedClass, b.NoEmbedClass)
	set(&a.PreNorm, b.PreNorm)
	set(&a.InitValues, b.InitValues)
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
			return &statement{source, true, a}, nil
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
	return &statement{source, true, a}, nil
}

// around collects what a checkpoint's metadata, files beside it and its name
// say, the most reliable first. Files that can't be read as descriptions are
// none.
func around(c *Checkpoint) []*statement {
	var out []*statement
	if name := c.Metadata["architecture"]; name != "" {
		if a, ok := named(name); ok {
			out = append(out, &statement{"the checkpoint's metadata", false, a})
		}
	}
	if text := c.Metadata[MetaArchitecture]; text != "" {
		if a, err := parseArgs([]byte(text)); err == nil {
			out = append(out, &statement{"the checkpoint's metadata", false, a})
		}
	}
	if c.Path == "" {
		return out
	}
	for _, name := range []string{"config.json", "case.json"} {
		file := filepath.Join(filepath.Dir(c.Path), name)
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if a, err := parseArgs(text); err == nil {
			out = append(out, &statement{file, false, a})
		}
	}
	base := filepath.Base(c.Path)
	base, _, _ = strings.Cut(strings.TrimSuffix(base, filepath.Ext(base)), "-")
	if a, ok := named(base); ok {
		out = append(out, &statement{"the file's name", false, a})
	}
	return out
}
