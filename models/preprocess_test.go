package models

import (
	"reflect"
	"strings"
	"testing"
)

func TestUnstatedPreprocessingIsWarnedAboutWhereModelsDiffer(t *testing.T) {
	all, _ := timmArchitectures(t)
	for name, ambiguous := range map[string]bool{"vit_tiny_patch16_224": true, "deit_small_patch16_224": true, "vit_base_patch16_siglip_224": false} {
		for _, opt := range []Options{{}, {Arch: name}} {
			a, err := ReadArchitecture(hollow(all[name]), opt)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(strings.Join(a.Warnings, "\n"), "how pictures are prepared"); got != (ambiguous && opt.Arch == "") {
				t.Errorf("%s, %+v: warnings %q", name, opt, a.Warnings)
			}
		}
	}
}

func TestPreprocessingComesFromTheConfigurationThenFromTheFamily(t *testing.T) {
	const vit = `"img_size":32,"patch_size":8,"embed_dim":32,"depth":1,"num_heads":2,"num_classes":5`
	plain := Preprocess{InputSize: [3]int{3, 32, 32}, Interpolation: "bicubic", CropPct: 0.9, CropMode: "center", Mean: half, Std: half}
	with := func(change func(*Preprocess)) Preprocess {
		p := plain
		change(&p)
		return p
	}
	for _, c := range []struct {
		spec     string
		metadata map[string]string
		want     Preprocess
		warning  string
	}{
		{`{` + vit + `}`, nil, plain, ""},
		{`{` + vit + `,"family":"siglip"}`, nil, with(func(p *Preprocess) { p.CropPct, p.CropMode = 1, "squash" }), ""},
		{`{` + vit + `,"family":"clip"}`, nil, with(func(p *Preprocess) { p.CropPct, p.Mean, p.Std = 1, clipMean, clipStd }), ""},
		{`{` + vit + `,"pretrained_cfg":{"crop_mode":"squash","interpolation":"lanczos","crop_pct":0.8}}`, nil,
			with(func(p *Preprocess) { p.CropMode, p.Interpolation, p.CropPct = "squash", "lanczos", 0.8 }), ""},
		{`{` + vit + `,"pretrained_cfg":{"crop_mode":"border","crop_pct":1.5}}`, nil, plain,
			"crop_mode border (known are center, squash) isn't supported"},
		{`{` + vit + `,"pretrained_cfg":{"interpolation":"random"}}`, nil, plain, "interpolation random"},
		{`{` + vit + `,"pretrained_cfg":{"mean":[0,0,0],"std":[1,0,1]}}`, nil, plain, ""},
		{`{` + vit + `}`, map[string]string{"crop_mode": "squash", "interpolation": "box"},
			with(func(p *Preprocess) { p.CropMode, p.Interpolation = "squash", "box" }), ""},
	} {
		checkpoint, _ := random(t, c.spec)
		for key, value := range c.metadata {
			checkpoint.Metadata[key] = value
		}
		a, err := ReadArchitecture(checkpoint, Options{Arch: c.spec})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a.Preprocess, c.want) {
			t.Errorf("%s, %v: %+v, want %+v", c.spec, c.metadata, a.Preprocess, c.want)
		}
		if warnings := strings.Join(a.Warnings, "\n"); (c.warning == "") != (warnings == "") || !strings.Contains(warnings, c.warning) {
			t.Errorf("%s: warnings %q, want %q", c.spec, warnings, c.warning)
		}
		m, err := Build(checkpoint, a, BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := PreprocessOf(m); got == nil || !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: the model's metadata say %+v", c.spec, got)
		}
	}
}
