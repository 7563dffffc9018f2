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
// timm's constructor arguments, whose defaults are those of timm's
// VisionTransformer: ViT-B/16 at 224x224 with 1000 classes.
func NewArchitecture(spec string) (*Architecture, error) {
	s, err := stated(spec)
	if err != nil {
		return nil, err
	}
	p := s.args
	image, patch := or(p.Image, pair{224, 224}), or(p.Patch, pair{16, 16})
	pool := or(p.Pool, "token")
	a := &Architecture{
		Name: p.Architecture, Family: familyOf(p.Architecture),
		ImageSize: image, Patch: patch, Channels: or(p.Channels, 3), Classes: or(p.Classes, 1000),
		Width: or(p.Width, 768), Depth: or(p.Depth, 12), Heads: or(p.Heads, 12),
		ClassToken: or(p.ClassToken, true), DistToken: or(p.Distilled, false), Registers: or(p.Registers, 0),
		NoEmbedClass: or(p.NoEmbedClass, false), Pool: pool, PoolPrefix: or(p.PoolPrefix, false),
		QKVBias: or(p.QKVBias, true), ProjBias: or(p.ProjBias, true), QKNorm: or(p.QKNorm, false),
		LayerScale: p.InitValues != nil, PreNorm: or(p.PreNorm, false), FCNorm: or(p.FCNorm, pool == "avg"),
		HeadBias: true, Activation: or(p.Act, "gelu"), Eps: or(p.Eps, 1e-6),
	}
	if p.Family != "" {
		a.Family = p.Family
	}
	if a.DistToken {
		a.Family = "deit"
	}
	a.Hidden = int(math.Round(float64(a.Width) * or(p.Ratio, 4)))
	a.FinalNorm, a.PatchBias = !a.FCNorm, !a.PreNorm
	a.Labels = p.Labels
	if err := a.Validate(); err != nil {
		return nil, &Error{Problem: err.Error(), Usage: true}
	}
	a.Preprocess = a.defaultPreprocess()
	return a, nil
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
	for _, s := range a.tensors() {
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
	case strings.HasSuffix(name, ".bias"):
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
