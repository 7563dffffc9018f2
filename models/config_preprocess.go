package models

import (
	"encoding/json"
	"math"
	"slices"
)

// pretrainedConfig has the keys of timm's pretrained_cfg that say how pictures
// are prepared.
type pretrainedConfig struct {
	Mean          []float64 `json:"mean,omitempty"`
	Std           []float64 `json:"std,omitempty"`
	Interpolation string    `json:"interpolation,omitempty"`
	CropPct       float64   `json:"crop_pct,omitempty"`
	CropMode      string    `json:"crop_mode,omitempty"` // center, or squash
}

// hubProcessor is transformers' preprocessor_config.json.
type hubProcessor struct {
	Size      hubSize   `json:"size"`
	Crop      hubSize   `json:"crop_size"`
	DoCrop    *bool     `json:"do_center_crop"`
	DoRescale *bool     `json:"do_rescale"`
	Rescale   float64   `json:"rescale_factor"`
	DoNormal  *bool     `json:"do_normalize"`
	Mean      []float64 `json:"image_mean"`
	Std       []float64 `json:"image_std"`
	Resample  *int      `json:"resample"`
}

// hubSize is a number, or an object with height and width, or with the shorter
// edge.
type hubSize struct {
	Height   int `json:"height"`
	Width    int `json:"width"`
	Shortest int `json:"shortest_edge"`
	number   int
}

// UnmarshalJSON reads 224, {"height": 224, "width": 224} or {"shortest_edge": 224}.
func (s *hubSize) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &s.number) == nil {
		return nil
	}
	type object hubSize
	return json.Unmarshal(text, (*object)(s))
}

// pixels is the height, or the shorter edge.
func (s hubSize) pixels() int { return max(s.Height, s.Shortest, s.number) }

// hubPreprocess says what a preprocessor_config.json says in timm's words: an
// object with its keys, nil where the file can't be understood. Absent keys
// have the defaults of the model type's processor.
func hubPreprocess(text []byte, modelType string) json.RawMessage {
	var h hubProcessor
	if json.Unmarshal(text, &h) != nil {
		return nil
	}
	crops := map[string]bool{"clip": true, "deit": true, "dinov2": true, "dinov2_with_registers": true, "clip_vision_model": true}[modelType]
	p := pretrainedConfig{Mean: h.Mean, Std: h.Std, Interpolation: "bicubic", CropPct: 1, CropMode: "center"}
	if modelType == "vit" || modelType == "dinov3_vit" || modelType == "vit_mae" || modelType == "vit_msn" || modelType == "ijepa" {
		p.Interpolation = "bilinear"
	}
	if h.Resample != nil && *h.Resample >= 0 && *h.Resample < len(interpolations) {
		p.Interpolation = interpolations[*h.Resample]
	}
	numbered := h.Size.number > 0 && modelType != "clip" && modelType != "clip_vision_model"
	if h.Size.Shortest == 0 && (h.Size.Height > 0 || numbered) {
		p.CropMode = "squash"
	}
	if crop, size := h.Crop.pixels(), h.Size.pixels(); or(h.DoCrop, crops) && crop > 0 && size > crop {
		p.CropPct = float64(crop) / float64(size)
	}
	p.normalise(&h)
	out, err := json.Marshal(p)
	if err != nil { // a number that JSON can't hold
		return nil
	}
	return out
}

// normalise makes mean and deviation those of pixels from 0 to 1.
func (p *pretrainedConfig) normalise(h *hubProcessor) {
	if !or(h.DoNormal, true) {
		p.Mean, p.Std = []float64{0, 0, 0}, []float64{1, 1, 1}
	}
	factor := h.Rescale * 255 // of pixels as the processor sees them
	if !or(h.DoRescale, true) {
		factor = 255
	}
	if factor <= 0 || math.IsInf(factor, 0) || math.Abs(factor-1) < 1e-9 {
		return
	}
	p.Mean, p.Std = slices.Clone(p.Mean), slices.Clone(p.Std)
	for i := range p.Mean {
		p.Mean[i] /= factor
	}
	for i := range p.Std {
		p.Std[i] /= factor
	}
}
