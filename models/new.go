package models

import (
	"io"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// NewArchitecture makes an architecture from a timm name or a JSON object with
// timm's constructor arguments. Their defaults are those of timm's
// VisionTransformer (ViT-B/16 at 224x224 with 1000 classes), or of Eva or Beit
// where "class" says so.
func NewArchitecture(spec string) (*Architecture, error) {
	s, err := stated(spec)
	if err != nil {
		return nil, err
	}
	a := s.args.architecture()
	if err := a.Validate(); err != nil {
		return nil, &Error{Problem: err.Error(), Usage: true}
	}
	a.Preprocess = a.defaultPreprocess()
	if len(s.args.Pretrained) > 0 {
		a.Preprocess.override(s.args.Pretrained)
	}
	return a, nil
}

// architecture is what timm's constructor makes of its arguments.
func (p *args) architecture() *Architecture {
	class := or(p.Class, plainClass)
	plain := class == plainClass
	pool := or(p.Pool, defaultPool(class))
	a := &Architecture{
		Name: p.Architecture, Family: familyOf(p.Architecture),
		ImageSize: or(p.Image, pair{224, 224}), Patch: or(p.Patch, pair{16, 16}), Channels: or(p.Channels, 3), Classes: or(p.Classes, 1000),
		Width: or(p.Width, 768), Depth: or(p.Depth, 12), Heads: or(p.Heads, 12),
		ClassToken: or(p.ClassToken, true), DistToken: or(p.Distilled, false), Registers: or(p.Registers, 0),
		Positions: or(p.Positions, true), NoEmbedClass: or(p.NoEmbedClass, false),
		RelBias: or(p.RelBias, false), SharedRelBias: or(p.SharedRelBias, false),
		Pool: pool, PoolPrefix: or(p.PoolPrefix, false), Block: p.block(),
		QKVBias: or(p.QKVBias, true), QKVSplit: !or(p.QKVFused, true), ProjBias: or(p.ProjBias, true),
		QKNorm: or(p.QKNorm, false), AttnNorm: or(p.AttnNorm, false), AttnGate: or(p.AttnGate, false),
		MLP: p.mlp(), MLPNorm: or(p.MLPNorm, false), AttnScale: or(p.AttnScale, false),
		PreNorm: or(p.PreNorm, false), EmbedNorm: p.EmbedNorm != nil,
		Norm: p.norm(), Eps: or(p.Eps, 1e-6), Labels: p.Labels,
	}
	a.HeadBias, a.DistHead = a.Classes > 0, a.Classes > 0 && a.DistToken
	a.AttnWidth, a.PatchBias = a.Width, !a.PreNorm
	a.NormBias = a.Norm == "layernorm"
	a.KeyBias = a.QKVBias && (plain || class == "Eva" && or(p.AttnType, "eva") == "rope")
	a.LayerScale = p.InitValues != nil && *p.InitValues != 0 && a.Block != blockPost
	a.Activation = p.activation(a.MLP, class)
	a.FCNorm = or(p.FCNorm, pool == "avg" || plain && (pool == "max" || pool == "avgmax"))
	a.FinalNorm = or(p.FinalNorm, true) && !a.FCNorm
	if plain {
		a.FCNorm = a.FCNorm && or(p.FinalNorm, true)
	} else if p.FinalNorm != nil {
		a.FinalNorm = *p.FinalNorm
	}
	ratio := or(p.Ratio, 4)
	a.Hidden = int(float64(a.Width) * ratio)
	if name := or(p.MLP, ""); name == "SwiGLUPacked" || name == mlpGateLast {
		a.Hidden /= 2
	}
	if n := or(p.AlignTo, 0); n > 0 {
		a.Hidden = (a.Hidden + n - 1) / n * n
	}
	if pool == "map" {
		a.PoolHeads, a.PoolHidden = or(p.PoolHeads, a.Heads), int(float64(a.Width)*or(p.PoolRatio, ratio))
	}
	if a.Block == blockThings {
		a.Parallel = 2
	}
	a.Rotary = p.rotary()
	a.family(p.Family)
	return a
}

// family sets the family from its statement, or from what only it has.
func (a *Architecture) family(stated string) {
	switch {
	case stated != "":
		a.Family = stated
	case a.Name != "":
		a.Family = familyOf(a.Name)
	case a.DistToken:
		a.Family = "deit"
	case a.RelBias || a.SharedRelBias:
		a.Family = "beit"
	default:
		a.Family = "vit"
	}
}

// block is the kind of blocks that arguments say.
func (p *args) block() string {
	if or(p.PostNorm, false) {
		return blockPost
	}
	return or(p.Block, blockPre)
}

// mlp is the kind of MLP that arguments say.
func (p *args) mlp() string {
	name := or(p.MLP, mlpPlain)
	if or(p.SwiGLU, false) || name == "SwiGLUPacked" {
		return mlpGated
	}
	return name
}

// norm is the kind of normalisation that arguments say.
func (p *args) norm() string {
	if strings.Contains(strings.ToLower(or(p.Norm, "")), "rms") {
		return "rmsnorm"
	}
	return "layernorm"
}

// activation is the nonlinearity of a kind of MLP in a model of a class of
// timm's, if it is known. VisionTransformer gives SwiGLU its own, too.
func (p *args) activation(mlp, class string) string {
	if p.Act == nil && mlp == mlpGated && class != plainClass {
		return "silu"
	}
	return or(p.Act, "gelu")
}

// plainClass is timm's class of models that are neither Eva nor Beit.
const plainClass = "VisionTransformer"

// defaultPool is the pooling of a class of timm's where nothing else is stated.
func defaultPool(class string) string {
	if class == plainClass {
		return "token"
	}
	return "avg"
}

// rotary is how arguments say that positions rotate; nil if they don't.
func (p *args) rotary() *Rotary {
	if !or(p.Rope, false) {
		return nil
	}
	kind := or(p.RopeType, ropeCat)
	r := &Rotary{RopeType: kind, RopeTemperature: or(p.Temperature, 10000), RopeIndexing: or(p.RopeIndexing, "ij"), RopeHalf: or(p.RopeHalf, false)}
	if kind != ropeMixed {
		r.RopeOffset = or(p.RopeOffset, 0)
	}
	if kind == ropeCat {
		r.RopeReference = or(p.RopeReference, pair{})
	}
	return r
}

// RandomCheckpoint initialises an architecture's weights as timm does before
// training: weights from a normal distribution of deviation 0.02 cut off at
// two deviations, biases zero, norms one, LayerScale 1e-5. A seed gives the
// same weights everywhere.
func RandomCheckpoint(a *Architecture, seed uint64) (*Checkpoint, error) {
	if err := a.Validate(); err != nil {
		return nil, &Error{Problem: err.Error(), Usage: true}
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	c := &Checkpoint{Metadata: map[string]string{}, tensors: map[string]*onnx.Tensor{}}
	if a.Name != "" {
		c.Metadata["architecture"] = a.Name
	}
	for _, s := range a.asTimm() {
		n := int64(1)
		for _, d := range s.dims {
			n *= d
		}
		v := make([]float32, n)
		constant, value := initial(s.name)
		for i := range v {
			v[i] = value
			if !constant {
				v[i] = float32(0.02 * truncatedNormal(rng))
			}
		}
		c.names = append(c.names, s.name)
		c.tensors[s.name] = onnx.FloatTensor(v, s.dims...)
	}
	var err error
	c.SHA256, err = sumOf(func(w io.Writer) error { return safetensors.Encode(w, "", c.named(), c.Metadata) })
	return c, err
}

// initial tells whether a tensor begins as a constant, and as which.
func initial(name string) (constant bool, value float32) {
	switch {
	case strings.HasSuffix(name, ".gamma"):
		return true, 1e-5
	case strings.HasSuffix(name, "bias"), strings.HasSuffix(name, "relative_position_bias_table"):
		return true, 0
	case strings.HasSuffix(name, ".weight") && strings.Contains(name, "norm"):
		return true, 1
	}
	return false, 0
}

func truncatedNormal(rng *rand.Rand) float64 {
	for {
		if x := rng.NormFloat64(); math.Abs(x) <= 2 {
			return x
		}
	}
}
