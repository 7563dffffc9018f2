package picture

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
)

// ResizeMode says how a picture is brought to the size that is cropped.
type ResizeMode string

// The modes, with timm's names for them.
const (
	ResizeShorter ResizeMode = "center" // the shorter side to the size, keeping proportions
	ResizeSquash  ResizeMode = "squash" // both sides to the size
)

// Preprocess is what a model expects its pictures to have undergone: resized
// to Size/CropPct, a centre crop of Size, and (x/255 - Mean)/Std per channel.
// Its JSON form has timm's keys, and travels in a model's metadata.
type Preprocess struct {
	Size          [2]int // height, width
	Resize        ResizeMode
	CropPct       float64
	Interpolation Filter
	Mean, Std     [3]float32
}

// Normalisations in use.
var (
	HalfMeanStd  = [3]float32{0.5, 0.5, 0.5} // mean and deviation alike
	ImageNetMean = [3]float32{0.485, 0.456, 0.406}
	ImageNetStd  = [3]float32{0.229, 0.224, 0.225}
)

// PaperEval is the published evaluation at height x width: shorter side to 256
// for 224 and in proportion otherwise, bilinear, centre crop, mean = std = 0.5.
// Its TrainGeometry is the published training transform.
func PaperEval(height, width int) Preprocess {
	return Preprocess{
		Size: [2]int{height, width}, Resize: ResizeShorter, CropPct: 224.0 / 256,
		Interpolation: Bilinear, Mean: HalfMeanStd, Std: HalfMeanStd,
	}
}

// SegmentationEval is the published segmentation protocol: straight to
// height x width, bilinear, without a crop.
func SegmentationEval(height, width int) Preprocess {
	p := PaperEval(height, width)
	p.Resize, p.CropPct = ResizeSquash, 1
	return p
}

// Validate says what makes p unusable.
func (p Preprocess) Validate() error {
	switch {
	case checkSize(p.Size[1], p.Size[0]) != nil:
		return fmt.Errorf("preprocessing: input size %dx%d", p.Size[0], p.Size[1])
	case p.Resize != ResizeShorter && p.Resize != ResizeSquash:
		return fmt.Errorf("preprocessing: crop_mode %q: use %q or %q", p.Resize, ResizeShorter, ResizeSquash)
	case !(p.CropPct > 0 && p.CropPct <= 1):
		return fmt.Errorf("preprocessing: crop_pct %v must be above 0 and at most 1", p.CropPct)
	case p.Interpolation < Bilinear || p.Interpolation > Nearest:
		return fmt.Errorf("preprocessing: interpolation %v is unknown", p.Interpolation)
	}
	for c := range 3 {
		if m, s := float64(p.Mean[c]), float64(p.Std[c]); math.IsNaN(m) || math.IsInf(m, 0) || !(s > 0) || math.IsInf(s, 0) {
			return fmt.Errorf("preprocessing: channel %d has mean %v and std %v", c, m, s)
		}
	}
	return nil
}

// Geometry says which part of a resized picture becomes the model's input.
type Geometry struct {
	Resized   [2]int // height, width of the whole picture
	Top, Left int    // of the crop in it
	Size      [2]int // height, width of the crop
	Mirror    bool
	Filter    Filter // for pictures; masks are always bilinear
}

// scaled is the size, before the crop, that Size stands for.
func (p Preprocess) scaled() (h, w int) {
	return int(math.Floor(float64(p.Size[0]) / p.CropPct)), int(math.Floor(float64(p.Size[1]) / p.CropPct))
}

// EvalGeometry is the deterministic geometry for a picture of width x height
// pixels, rounded as torchvision and timm do.
func (p Preprocess) EvalGeometry(width, height int) Geometry {
	h, w := p.scaled()
	if p.Resize == ResizeShorter {
		h, w = shorterTo(h, w, height, width)
	}
	return Geometry{
		Resized: [2]int{h, w},
		Top:     int(math.RoundToEven(float64(h-p.Size[0]) / 2)),
		Left:    int(math.RoundToEven(float64(w-p.Size[1]) / 2)),
		Size:    p.Size,
		Filter:  p.Interpolation,
	}
}

// shorterTo scales height x width so that it just covers h x w. For a square
// that is torchvision's Resize(int), which truncates the longer side; for
// others timm's ResizeKeepRatio, which rounds to even.
func shorterTo(h, w, height, width int) (int, int) {
	if h == w {
		if width <= height {
			return w * height / width, w
		}
		return h, h * width / height
	}
	ratio := min(float64(height)/float64(h), float64(width)/float64(w))
	scale := func(side int) int { return int(math.RoundToEven(float64(side) / ratio)) }
	return max(scale(height), h), max(scale(width), w)
}

// TrainGeometry draws a training geometry: stretched to resized (height, width;
// zero for Size/CropPct), a random crop, mirrored half of the time. It takes
// three numbers from random. resized must not be smaller than Size.
func (p Preprocess) TrainGeometry(resized [2]int, random rand.Source) Geometry {
	if resized == ([2]int{}) {
		resized[0], resized[1] = p.scaled()
	}
	h, w := resized[0], resized[1]
	return Geometry{
		Resized: resized,
		Top:     below(random, h-p.Size[0]+1),
		Left:    below(random, w-p.Size[1]+1),
		Size:    p.Size,
		Mirror:  below(random, 2) == 1,
		Filter:  p.Interpolation,
	}
}

// below draws from 0..n-1. Unlike rand.Rand's methods it is defined to the
// bit, so that a run continues alike under any later version of Go.
func below(random rand.Source, n int) int {
	high, _ := bits.Mul64(random.Uint64(), uint64(n))
	return int(high)
}

type preprocessJSON struct {
	InputSize     [3]int     `json:"input_size"`
	Interpolation Filter     `json:"interpolation"`
	CropPct       float64    `json:"crop_pct"`
	CropMode      ResizeMode `json:"crop_mode"`
	Mean          [3]float32 `json:"mean"`
	Std           [3]float32 `json:"std"`
}

// MarshalJSON writes timm's keys.
func (p Preprocess) MarshalJSON() ([]byte, error) {
	return json.Marshal(preprocessJSON{
		[3]int{3, p.Size[0], p.Size[1]}, p.Interpolation, p.CropPct, p.Resize, p.Mean, p.Std,
	})
}

// UnmarshalJSON reads timm's keys; those of a pretrained_cfg that are none of
// ours are ignored, a missing crop_mode means centre, as in timm.
func (p *Preprocess) UnmarshalJSON(data []byte) error {
	j := preprocessJSON{CropMode: ResizeShorter}
	if err := json.Unmarshal(data, &j); err != nil {
		return fmt.Errorf("preprocessing: %w", err)
	}
	if j.InputSize[0] != 3 {
		return fmt.Errorf("preprocessing: input_size %v, expected [3, height, width]", j.InputSize)
	}
	q := Preprocess{[2]int{j.InputSize[1], j.InputSize[2]}, j.CropMode, j.CropPct, j.Interpolation, j.Mean, j.Std}
	if err := q.Validate(); err != nil {
		return err
	}
	*p = q
	return nil
}
