package models

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// publishedText describes every ViT that timm publishes: constructor arguments
// where they differ from the class's defaults, and preprocessing by tag. The
// recipe timm_published.py writes it.
//
//go:embed published.json
var publishedText []byte

type publishedModel struct {
	Args json.RawMessage `json:"args"`
	Cfg  map[string]int  `json:"cfg"` // by tag, the default's is empty
}

var published = sync.OnceValues(func() (map[string]publishedModel, []json.RawMessage) {
	var all struct {
		Cfgs   []json.RawMessage         `json:"cfgs"`
		Models map[string]publishedModel `json:"models"`
	}
	if json.Unmarshal(publishedText, &all) != nil {
		return nil, nil // a test reads every entry
	}
	return all.Models, all.Cfgs
})

// lookUp returns the constructor arguments of a model that timm publishes.
func lookUp(base, tag string) (*args, bool) {
	models, cfgs := published()
	m, ok := models[base]
	if !ok {
		return nil, false
	}
	a, err := parseArgs(m.Args)
	if err != nil {
		return nil, false
	}
	width, depth, heads, patch := 768, 12, 12, pair{16, 16}
	set(&a.Width, &width)
	set(&a.Depth, &depth)
	set(&a.Heads, &heads)
	set(&a.Patch, &patch)
	cfg, ok := m.Cfg[tag]
	if !ok {
		cfg, ok = m.Cfg[""]
	}
	if ok && cfg >= 0 && cfg < len(cfgs) {
		a.Pretrained = cfgs[cfg]
	}
	return a, true
}

// sizes lists those of published models by timm's words. A later entry of the
// same width has the same number of heads.
var sizes = []struct {
	size                string
	width, depth, heads int
	ratio               float64 // of mlp_hidden to embed_dim
}{
	{"tiny", 192, 12, 3, 4},
	{"wee", 256, 14, 4, 5},
	{"little", 320, 14, 5, 5.6},
	{"small", 384, 12, 6, 4},
	{"medium", 512, 12, 8, 4},
	{"mediumd", 512, 20, 8, 4},
	{"betwixt", 640, 12, 10, 4},
	{"base", 768, 12, 12, 4},
	{"large", 1024, 24, 16, 4},
	{"so400m", 1152, 27, 16, 3.7362},
	{"huge", 1280, 32, 16, 4},
	{"giant", 1408, 40, 16, 48.0 / 11},
	{"gigantic", 1664, 48, 16, 64.0 / 13},
}

// headsOfWidth is the number of heads of the published models of a width, 0
// where there is none.
func headsOfWidth(width int) int {
	for _, p := range sizes {
		if p.width == width {
			return p.heads
		}
	}
	return 0
}

var timmName = regexp.MustCompile(`^(vit|deit|deit3)_([a-z0-9]+)(_distilled)?_patch(\d+)((?:_[a-z0-9]+)*)$`)

// dinoName matches what DINO calls its own ViTs: those of its release, as in
// dino_deitsmall16_pretrain, of torch.hub, as in dino_vits16, and of the hub, as
// in dino-vitb8.
var dinoName = regexp.MustCompile(`^dino[-_](?:deit|vit)(s|b)(?:mall|ase)?(8|16)(?:_|$)`)

// named reads a timm name such as vit_base_patch16_384.augreg_in21k or
// deit_small_distilled_patch16_224, or one of DINO's, as constructor arguments.
func named(name string) (*args, bool) {
	if m := dinoName.FindStringSubmatch(name); m != nil {
		name = fmt.Sprintf("vit_%s_patch%s_224.dino", map[string]string{"s": "small", "b": "base"}[m[1]], m[2])
	}
	base, tag, _ := strings.Cut(strings.TrimPrefix(name, "timm/"), ".")
	if a, ok := lookUp(base, tag); ok {
		a.Architecture = name
		return a, true
	}
	m := timmName.FindStringSubmatch(base)
	if m == nil {
		return nil, false
	}
	a := &args{Architecture: name}
	for _, p := range sizes {
		if p.size == m[2] {
			a.Width, a.Depth, a.Heads, a.Ratio = &p.width, &p.depth, &p.heads, &p.ratio
		}
	}
	if a.Width == nil {
		return nil, false
	}
	distilled := m[3] != ""
	a.Distilled = &distilled
	patch, err := strconv.Atoi(m[4])
	if err != nil || patch == 0 {
		return nil, false
	}
	a.Patch = &pair{patch, patch}
	for _, flag := range strings.Split(m[5], "_") {
		if n, err := strconv.Atoi(flag); err == nil && n > 0 {
			a.Image = &pair{n, n}
		}
		switch {
		case flag == "clip":
			yes, eps := true, 1e-5
			a.PreNorm, a.Eps = &yes, &eps
		case flag == "quickgelu":
			act := "quick_gelu"
			a.Act = &act
		case flag == "gap":
			no, avg := false, "avg"
			a.ClassToken, a.Pool = &no, &avg
		case strings.HasPrefix(flag, "reg"):
			if n, err := strconv.Atoi(flag[3:]); err == nil {
				a.Registers = &n
			}
		}
	}
	switch {
	case m[1] == "deit3":
		yes, init := true, 1e-6
		a.NoEmbedClass, a.InitValues = &yes, &init
	case strings.Contains(m[5], "dinov2") && a.Image == nil:
		a.Image = &pair{518, 518}
	}
	return a, true
}

// familyOf tells the family from a timm name.
func familyOf(name string) string {
	base := strings.TrimPrefix(name, "timm/")
	switch {
	case strings.HasPrefix(base, "eva"):
		return "eva"
	case strings.HasPrefix(base, "beit"):
		return "beit"
	case strings.HasPrefix(base, "deit3"):
		return "deit3"
	case strings.HasPrefix(base, "deit"):
		return "deit"
	case strings.Contains(base, "_clip_"):
		return "clip"
	case strings.Contains(base, "dino"):
		return "dino"
	}
	return "vit"
}
