package models

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// Preprocess says how a picture becomes the model's input, with timm's keys:
// the shorter side is resized to input size / crop_pct, the centre is cut out,
// and each channel of [0,1] is normalised by mean and std.
type Preprocess struct {
	InputSize     [3]int    `json:"input_size"` // channels, rows, columns
	Interpolation string    `json:"interpolation"`
	CropPct       float64   `json:"crop_pct"`
	Mean          []float64 `json:"mean"`
	Std           []float64 `json:"std"`
}

var (
	half         = []float64{0.5, 0.5, 0.5}
	imagenetMean = []float64{0.485, 0.456, 0.406}
	imagenetStd  = []float64{0.229, 0.224, 0.225}
	clipMean     = []float64{0.48145466, 0.4578275, 0.40821073}
	clipStd      = []float64{0.26862954, 0.26130258, 0.27577711}
)

// defaultPreprocess is what the family's published models use.
func (a *Architecture) defaultPreprocess() Preprocess {
	p := Preprocess{InputSize: [3]int{a.Channels, a.ImageSize[0], a.ImageSize[1]}, Interpolation: "bicubic", CropPct: 0.9}
	if min(a.ImageSize[0], a.ImageSize[1]) >= 384 {
		p.CropPct = 1
	}
	switch a.Family {
	case "deit", "deit3", "dino":
		p.Mean, p.Std = imagenetMean, imagenetStd
	case "clip":
		p.Mean, p.Std = clipMean, clipStd
	default:
		p.Mean, p.Std = half, half
	}
	if a.Channels != 3 {
		p.Mean, p.Std = slices.Repeat([]float64{0.5}, a.Channels), slices.Repeat([]float64{0.5}, a.Channels)
	}
	return p
}

// override takes what a JSON object with timm's keys says. The input size
// stays that of the architecture.
func (p *Preprocess) override(text []byte) {
	q := struct {
		Interpolation string    `json:"interpolation"`
		CropPct       float64   `json:"crop_pct"`
		Mean          []float64 `json:"mean"`
		Std           []float64 `json:"std"`
	}{}
	if json.Unmarshal(text, &q) != nil {
		return
	}
	if q.Interpolation != "" {
		p.Interpolation = q.Interpolation
	}
	if q.CropPct > 0 {
		p.CropPct = q.CropPct
	}
	p.normalise(q.Mean, q.Std)
}

func (p *Preprocess) normalise(mean, std []float64) {
	if len(mean) == p.InputSize[0] && len(std) == len(mean) && !slices.Contains(std, 0) {
		p.Mean, p.Std = mean, std
	}
}

// overrideBy takes what a checkpoint's metadata say: a JSON object as in a
// converted model, or single keys such as mean=0.485,0.456,0.406.
func (p *Preprocess) overrideBy(metadata map[string]string) {
	p.override([]byte(metadata[MetaPreprocess]))
	if s := metadata["interpolation"]; s != "" {
		p.Interpolation = s
	}
	if v := numbers(metadata["crop_pct"]); len(v) == 1 && v[0] > 0 {
		p.CropPct = v[0]
	}
	p.normalise(numbers(metadata["mean"]), numbers(metadata["std"]))
}

// PreprocessOf returns the preprocessing that a model's metadata state, nil if
// they state none.
func PreprocessOf(m *onnx.Model) *Preprocess {
	text, ok := m.Meta(MetaPreprocess)
	p := &Preprocess{}
	if !ok || json.Unmarshal([]byte(text), p) != nil || len(p.Mean) == 0 || len(p.Mean) != len(p.Std) {
		return nil
	}
	return p
}

// numbers reads 0.485,0.456,0.406 with or without brackets; nil if it is none.
func numbers(s string) []float64 {
	var out []float64
	for _, part := range strings.Split(strings.Trim(s, "[]() "), ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil {
			return nil
		}
		out = append(out, v)
	}
	return out
}
