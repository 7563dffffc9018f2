package models

import (
	"encoding/json"
	"slices"
)

// rest sets what only statements tell.
func (r *reading) rest(Options) error {
	a := r.a
	if a.Classes == 0 && !r.has("attn_pool.latent") {
		r.warn("the checkpoint has no classifier, so the model's output is the features that one would read: it can be converted and find objects, but finetuning, relevance and accuracy need classes; take a checkpoint with its head for them")
	}
	r.pooling()
	if v, _ := say(r, func(s *args) *string { return s.MLP }); v != nil && a.MLP == mlpGated && *v == mlpGateLast {
		a.MLP = mlpGateLast
	}
	for _, s := range r.statements {
		if a.Block == blockPre && s.args.block() == blockPost {
			a.Block = blockPost
		}
	}
	if v, _ := say(r, func(s *args) *bool { return s.PoolPrefix }); v != nil {
		a.PoolPrefix = *v
	}
	act, _ := say(r, func(s *args) *string { return s.Act })
	a.Activation = (&args{Act: act}).activation(a.MLP, r.class())
	r.norms()
	return r.rotary()
}

// class is timm's class of the model, empty where nobody says it. Eva and Beit
// know no mlp_layer.
func (r *reading) class() string {
	v, _ := say(r, func(s *args) *string { return s.Class })
	if layer, _ := say(r, func(s *args) *string { return s.MLP }); v == nil && layer != nil {
		return plainClass
	}
	return or(v, "")
}

// pooling tells how tokens become one vector.
func (r *reading) pooling() {
	a := r.a
	switch class := r.class(); {
	case class != "":
		a.Pool = defaultPool(class)
	case a.FCNorm || !a.ClassToken:
		a.Pool = "avg"
	default:
		a.Pool = "token"
	}
	if v, _ := say(r, func(s *args) *string { return s.Pool }); v != nil && *v != "map" && *v != "" {
		a.Pool = *v
	}
	if head := r.view.tensors["head.weight"]; head != nil && a.ClassToken && a.PreLogits == 0 && head.dims[1] == 2*int64(a.Width) {
		a.Pool = "token_avg" // the linear heads of DINOv2
	}
	if !r.has("attn_pool.latent") {
		return
	}
	a.Pool, a.PoolHeads = "map", a.Heads
	if v, _ := say(r, func(s *args) *int { return s.PoolHeads }); v != nil {
		a.PoolHeads = *v
	}
}

// norms tells the kind of normalisation and which there are.
func (r *reading) norms() {
	a := r.a
	a.FinalNorm = r.has("norm.weight")
	if v, _ := say(r, func(s *args) *bool { return s.FinalNorm }); !a.FinalNorm && !a.FCNorm && (v == nil || *v) {
		a.FinalNorm = true // it is missing, and compare says so
	}
	a.Norm = "layernorm"
	if v, _ := say(r, func(s *args) *string { return s.Norm }); v != nil {
		a.Norm = (&args{Norm: v}).norm()
	} else if !a.NormBias {
		a.Norm = "rmsnorm"
		r.warn("the norms have no bias, so they are taken for RMSNorm; if they are another, state it by --arch '{\"norm_layer\": \"layernorm\"}'")
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
}

// rotary tells whether and how positions rotate. The tensors of most models
// don't show it, so that families which have it are told by what else is theirs.
func (r *reading) rotary() error {
	a := r.a
	for _, s := range r.statements {
		if s.args.Rope != nil {
			a.Rotary = s.args.rotary()
			break
		}
	}
	stated, _ := say(r, func(s *args) *bool { return s.Rope })
	switch {
	case r.has("rope.freqs"):
		if a.Rotary == nil || a.RopeType != ropeMixed {
			a.Rotary = &Rotary{RopeType: ropeMixed, RopeTemperature: 10, RopeIndexing: "xy"}
		}
	case stated != nil:
	case a.MLP != mlpPlain && a.QKVBias && !a.KeyBias && a.Positions:
		a.Rotary = &Rotary{RopeType: ropeCat, RopeTemperature: 10000, RopeIndexing: "ij", RopeReference: [2]int{16, 16}}
		r.warn("a gated MLP without a bias of keys is EVA-02's, so positions are taken to rotate as there (ref_feat_shape 16); if they don't, state it by --arch '{\"use_rot_pos_emb\": false}'")
	case !a.Positions && !a.RelBias && !a.SharedRelBias && a.ClassToken && a.Registers == 4 && a.LayerScale:
		a.Rotary = &Rotary{RopeType: ropeDINOv3, RopeTemperature: 100, RopeIndexing: "ij", RopeHalf: true}
		if v, _ := say(r, func(s *args) *float64 { return s.Eps }); v == nil {
			a.Eps = 1e-5
		}
		r.warn("no position embeddings, 4 registers and LayerScale are DINOv3's, so positions are taken to rotate as there; if they don't, state how by --arch NAME")
	case !a.Positions && !a.RelBias && !a.SharedRelBias:
		return r.fail("state the model by --arch NAME, or how positions enter, as in --arch '{\"use_rot_pos_emb\": true, \"rope_type\": \"cat\"}'",
			"the checkpoint has no position embeddings (tensor pos_embed) and no relative position bias, so positions must rotate queries and keys in a way that the tensors don't tell")
	}
	if a.Rotary != nil {
		return r.checkRotary()
	}
	return nil
}

func (r *reading) checkRotary() error {
	if err := r.a.Rotary.validate(r.a.HeadWidth()); err != nil {
		return &Error{Path: r.c.Path, Problem: err.Error(), Advice: "state what differs by --arch"}
	}
	return nil
}

// preprocess sets how pictures are prepared, and class names.
func (r *reading) preprocess(Options) error {
	a := r.a
	a.Preprocess = a.defaultPreprocess()
	var unknown []string
	for _, s := range slices.Backward(r.statements) {
		if len(s.args.Pretrained) > 0 {
			unknown = append(unknown, a.Preprocess.override(s.args.Pretrained)...)
		}
		if len(s.args.Labels) == a.Classes && a.Classes > 0 {
			a.Labels = s.args.Labels
		}
	}
	unknown = append(unknown, a.Preprocess.overrideBy(r.c.Metadata)...)
	if r.unprepared && len(r.stated().Pretrained) == 0 && r.c.Metadata[MetaPreprocess] == "" && r.c.Metadata["mean"] == "" {
		r.warn("timm's models with these tensors differ in how pictures are prepared: mean %.4g and std %.4g are taken; if they are others, state the model by --arch NAME", a.Preprocess.Mean, a.Preprocess.Std)
	}
	for _, what := range unknown {
		r.warn("the preprocessing's %s isn't supported: %s is taken", what, a.Preprocess.describe())
	}
	var labels []string
	if json.Unmarshal([]byte(r.c.Metadata[MetaLabels]), &labels) == nil && len(labels) == a.Classes {
		a.Labels = labels
	}
	return nil
}
