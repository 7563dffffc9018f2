package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/gradients"
)

// Methods by which a class can be explained; see docs/explain.md.
const (
	MethodRelevance           = "relevance"            // the published rollout with gradients
	MethodRollout             = "rollout"              // attention rollout
	MethodAttention           = "attention"            // of the last block
	MethodGradCAM             = "gradcam"              // on the last block's tokens
	MethodInputGradient       = "input-gradient"       // of pixels
	MethodIntegratedGradients = "integrated-gradients" // of pixels, on the way from a baseline
	MethodSmoothGrad          = "smoothgrad"           // of pixels, over noisy pictures
	MethodLeGrad              = "legrad"               // attention gradients of every block's own prediction
	MethodGradXAttention      = "grad-x-attention"     // of the last block
)

// Methods lists all of them.
func Methods() []string {
	return []string{MethodRelevance, MethodRollout, MethodAttention, MethodGradCAM, MethodInputGradient,
		MethodIntegratedGradients, MethodSmoothGrad, MethodLeGrad, MethodGradXAttention}
}

// Defaults of MapOptions.
const (
	DefaultSteps   = 50   // Captum's
	DefaultSamples = 25   // those of SmoothGrad's own code
	DefaultNoise   = 0.15 // the same
)

// MapOptions say which maps are computed, and how. The zero value is relevance
// from the first block on.
type MapOptions struct {
	Methods    []string         // none: MethodRelevance
	StartLayer int              // first block of relevance, rollout and LeGrad
	Heads      gradients.Fusion // of every method that fuses them, but LeGrad

	Steps   int     // of integrated gradients, doubled until these are complete to 1 %; 0: DefaultSteps
	Samples int     // of SmoothGrad; 0: DefaultSamples
	Noise   float64 // of SmoothGrad: standard deviation over the picture's range; 0: DefaultNoise
	Seed    uint64  // of SmoothGrad's noise, which else depends on the picture alone
}

// defaults fills in what isn't stated, or says what can't be.
func (o *MapOptions) defaults() error {
	if len(o.Methods) == 0 {
		o.Methods = []string{MethodRelevance}
	}
	for i, m := range o.Methods {
		if !slices.Contains(Methods(), m) {
			return &configs.Error{Key: "method", Msg: fmt.Sprintf("there is no method %q to explain by; there are %s", m, strings.Join(Methods(), ", "))}
		}
		if slices.Contains(o.Methods[:i], m) {
			return &configs.Error{Key: "method", Msg: fmt.Sprintf("%s is stated twice", m)}
		}
	}
	switch o.Heads {
	case "":
		o.Heads = gradients.MeanHeads
	case gradients.MeanHeads, gradients.MaxHeads:
	default:
		return &configs.Error{Key: "heads", Msg: fmt.Sprintf("heads are fused by %s or %s, not by %q", gradients.MeanHeads, gradients.MaxHeads, o.Heads)}
	}
	if o.Steps == 0 {
		o.Steps = DefaultSteps
	}
	if o.Samples == 0 {
		o.Samples = DefaultSamples
	}
	if o.Noise == 0 {
		o.Noise = DefaultNoise
	}
	if o.Steps < 1 || o.Samples < 1 || !(o.Noise > 0) {
		return &configs.Error{Msg: fmt.Sprintf("%d steps, %d samples and a noise of %g: each has to be above 0", o.Steps, o.Samples, o.Noise)}
	}
	return nil
}

// has reports whether one of the methods is wanted.
func (o *MapOptions) has(methods ...string) bool {
	return slices.ContainsFunc(o.Methods, func(m string) bool { return slices.Contains(methods, m) })
}
