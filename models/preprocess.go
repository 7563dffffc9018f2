package models

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// Preprocess says how a picture becomes the model's input, with timm's keys: it
// is resized to input size / crop_pct, by its shorter side or, squashed, by
// both; the centre is cut out; and each channel of [0,1] is normalised by mean
// and std.
type Preprocess struct {
	InputSize     [3]int    `json:"input_size"` // channels, rows, columns
	Interpolation string    `json:"interpolation"`
	CropPct       float64   `json:"crop_pct"`
	CropMode      string    `json:"crop_mode"` // one of cropModes
	Mean          []float64 `json:"mean"`
	Std           []float64 `json:"std"`
}

// How a picture is brought to the size that is cropped, by timm's names.
const (
	cropCenter = "center" // the shorter side to the size, keeping proportions
	cropSquash = "squash" // both sides to the size
)

// cropModes are those that are understood. timm's border, which pads, isn't; no
// published model has it.
var cropModes = []string{cropCenter, cropSquash}

// interpolations are PIL's filters, by timm's names, in the order of PIL's
// numbers.
var interpolations = []string{"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"}

var (
	half         = []float64{0.5, 0.5, 0.5}
	imagenetMean = []float64{0.485, 0.456, 0.406}
	imagenetStd  = []float64{0.229, 0.224, 0.225}
	clipMean     = []float64{0.48145466, 0.4578275, 0.40821073}
	clipStd      = []float64{0.26862954, 0.26130258, 0.27577711}
)

// defaultPreprocess is what the family's published models use.
func (a *Architecture) defaultPreprocess() Preprocess {
	p := Preprocess{InputSize: [3]int{a.Channels, a.ImageSize[0], a.ImageSize[1]}, Interpolation: "bicubic", CropPct: 0.9, CropMode: cropCenter}
	if min(a.ImageSize[0], a.ImageSize[1]) >= 384 {
		p.CropPct = 1
	}
	switch a.Family {
	case "deit", "deit3":
		p.Mean, p.Std = imagenetMean, imagenetStd
	case "dino":
		p.Mean, p.Std, p.CropPct = imagenetMean, imagenetStd, 1
	case "torchvision":
		p.Mean, p.Std, p.CropPct, p.Interpolation = imagenetMean, imagenetStd, 224.0/256, "bilinear"
	case "clip":
		p.Mean, p.Std, p.CropPct = clipMean, clipStd, 1
	case "eva":
		p.Mean, p.Std = clipMean, clipStd
	case "siglip":
		p.Mean, p.Std, p.CropPct, p.CropMode = half, half, 1, cropSquash
	default:
		p.Mean, p.Std = half, half
	}
	if a.Channels != 3 {
		p.Mean, p.Std = slices.Repeat([]float64{0.5}, a.Channels), slices.Repeat([]float64{0.5}, a.Channels)
	}
	return p
}

// override takes what a JSON object with timm's keys says. The input size
// stays that of the architecture. It returns what isn't understood.
func (p *Preprocess) override(text []byte) (unknown []string) {
	q := pretrainedConfig{}
	if json.Unmarshal(text, &q) != nil {
		return nil
	}
	if q.CropPct > 0 && q.CropPct <= 1 {
		p.CropPct = q.CropPct
	}
	p.normalise(q.Mean, q.Std)
	return p.words(q.Interpolation, q.CropMode)
}

// words takes an interpolation and a crop mode where they are stated, and
// returns what it doesn't know.
func (p *Preprocess) words(interpolation, crop string) (unknown []string) {
	for _, w := range []struct {
		key, value string
		known      []string
		to         *string
	}{{"interpolation", interpolation, interpolations, &p.Interpolation}, {"crop_mode", crop, cropModes, &p.CropMode}} {
		switch {
		case slices.Contains(w.known, w.value):
			*w.to = w.value
		case w.value != "":
			unknown = append(unknown, fmt.Sprintf("%s %s (known are %s)", w.key, w.value, strings.Join(w.known, ", ")))
		}
	}
	return unknown
}

func (p *Preprocess) normalise(mean, std []float64) {
	if len(mean) == p.InputSize[0] && len(std) == len(mean) && !slices.Contains(std, 0) {
		p.Mean, p.Std = mean, std
	}
}

// overrideBy takes what a checkpoint's metadata say: a JSON object as in a
// converted model, or single keys such as mean=0.485,0.456,0.406.
func (p *Preprocess) overrideBy(metadata map[string]string) (unknown []string) {
	unknown = p.override([]byte(metadata[MetaPreprocess]))
	if v := numbers(metadata["crop_pct"]); len(v) == 1 && v[0] > 0 && v[0] <= 1 {
		p.CropPct = v[0]
	}
	p.normalise(numbers(metadata["mean"]), numbers(metadata["std"]))
	return append(unknown, p.words(metadata["interpolation"], metadata["crop_mode"])...)
}

func (p *Preprocess) describe() string {
	return fmt.Sprintf("interpolation %s, crop_mode %s", p.Interpolation, p.CropMode)
}

// PreprocessOf returns the preprocessing that a model's metadata state, nil if
// they state none.
func PreprocessOf(m *onnx.Model) *Preprocess {
	text, ok := m.Meta(MetaPreprocess)
	p := &Preprocess{CropMode: cropCenter}
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
