// Package configs holds the training recipes: the schema of a configuration,
// the published presets as embedded YAML, and the strict parser of both.
//
// A configuration is built in layers, later ones winning key by key: the
// defaults (defaults.yaml, where every key is explained), then each -c source
// in order (preceded by the preset it names in its key "extends"), then each
// --set key=value. Every layer goes through the same strict parser.
package configs

import (
	"fmt"
	"math"
	"path"
	"strings"
)

// Config is one resolved training configuration. Its keys are the yaml tags;
// defaults.yaml says what each one means. The check tags hold the permitted
// values and are read by Validate.
type Config struct {
	Model string `yaml:"model"` // path of the model to finetune
	Find  Find   `yaml:"find"`

	Mode             string     `yaml:"mode" check:"one of first-order second-order"`
	Method           string     `yaml:"method" check:"one of relevance gradmask rrr"`
	LambdaSeg        float64    `yaml:"lambda_seg" check:"min 0"`
	LambdaAcc        float64    `yaml:"lambda_acc" check:"min 0"`
	LambdaBackground float64    `yaml:"lambda_background" check:"min 0"`
	LambdaForeground float64    `yaml:"lambda_foreground" check:"min 0"`
	Temperature      float64    `yaml:"temperature" check:"above 0"`
	Confidence       string     `yaml:"confidence" check:"one of own-argmax label"`
	StartLayer       int        `yaml:"start_layer" check:"min 0"`
	LR               float64    `yaml:"lr" check:"min 0"`
	LRSchedule       LRSchedule `yaml:"lr_schedule"`
	WeightDecay      float64    `yaml:"weight_decay" check:"min 0"`
	Betas            [2]float64 `yaml:"betas" check:"min 0, below 1"`
	Eps              float64    `yaml:"eps" check:"above 0"`
	Freeze           []string   `yaml:"freeze" check:"glob"`

	Epochs int    `yaml:"epochs" check:"min 1"`
	Steps  int    `yaml:"steps" check:"min 0"`
	Batch  int    `yaml:"batch" check:"min 1"`
	Seed   uint64 `yaml:"seed"`

	Precision  string `yaml:"precision" check:"one of fp32 tf32 bf16 fp16"`
	CUDAGraphs bool   `yaml:"cuda_graphs"`

	Protocol   string     `yaml:"protocol" check:"one of standard paper"`
	Preprocess Preprocess `yaml:"preprocess"`
	Data       Data       `yaml:"data"`

	Checkpoint  Checkpoint `yaml:"checkpoint" also:"checkpoints"`
	SheetImages int        `yaml:"sheet_images" check:"min 0"`
	Workers     int        `yaml:"workers" check:"min 0"`
	Strict      bool       `yaml:"strict"`
	OnNaN       string     `yaml:"on_nan" check:"one of stop skip rollback"`
	NaNLimit    int        `yaml:"nan_limit" check:"min 1"` // steps without a number in a row

	Memory        string        `yaml:"memory" check:"one of fast lean"`
	Optimizations Optimizations `yaml:"optimizations"`
}

// Find says what the model's graph doesn't tell.
type Find struct {
	Attention    []string `yaml:"attention" check:"glob"` // maps: names or patterns; empty: as found
	Grid         Size     `yaml:"grid" check:"min 0"`     // patches; zero: as found
	PrefixTokens int      `yaml:"prefix_tokens" check:"min -1"`
	Logits       string   `yaml:"logits"` // output; empty: as found
}

// LRSchedule multiplies the learning rate by Factor after every Every epochs.
type LRSchedule struct {
	Factor float64 `yaml:"factor" check:"above 0, max 1"`
	Every  int     `yaml:"every" check:"min 1"`
}

// Preprocess says how a picture becomes the model's input.
type Preprocess struct {
	Mean          []float64 `yaml:"mean" check:"min 0, max 1, length 0 or 3"` // per channel, pixels in [0,1]; empty: the model's
	Std           []float64 `yaml:"std" check:"above 0, length 0 or 3"`
	ImageSize     Size      `yaml:"image_size" check:"min 0"` // pixels; zero: the model's
	Resize        Size      `yaml:"resize" check:"min 0"`     // pixels; zero: image_size x 8/7
	Interpolation string    `yaml:"interpolation" check:"one of bilinear bicubic"`
	CropPct       float64   `yaml:"crop_pct" check:"above 0, max 1"`
}

// Size is a height and a width in pixels: one number in YAML when they are
// equal, else [rows, columns].
type Size struct{ Rows, Cols int }

// String is for messages: 224x320.
func (s Size) String() string { return fmt.Sprintf("%dx%d", s.Rows, s.Cols) }

// Data says which pictures and masks to train on.
type Data struct {
	Root         string     `yaml:"root"`
	Layout       string     `yaml:"layout" check:"one of folders flat csv imagenet-s pets voc coco"`
	Images       string     `yaml:"images"`
	Masks        string     `yaml:"masks"`
	CSV          string     `yaml:"csv"`
	List         string     `yaml:"list"`
	Annotations  string     `yaml:"annotations"`
	ClassesFile  string     `yaml:"classes_file"`
	Labels       string     `yaml:"labels" check:"one of auto folder classes-file csv imagenet top1"`
	MaskEncoding string     `yaml:"mask_encoding" check:"one of auto binary trimap imagenet-s"`
	Classes      int        `yaml:"classes" check:"min 0"`
	Samples      int        `yaml:"samples" check:"min 0"`
	Validation   Validation `yaml:"validation"`
}

// Validation says which pictures are held out to choose the best checkpoint.
type Validation struct {
	Split    string  `yaml:"split" check:"one of classes fraction none"`
	Fraction float64 `yaml:"fraction" check:"above 0, below 1"`
	Samples  int     `yaml:"samples" check:"min 0"`
}

// Checkpoint says how often a run is saved, 0 turning a cadence off, and how
// many checkpoints there are of each kind.
type Checkpoint struct {
	EverySteps  int `yaml:"every_steps" check:"min 0"`
	EveryEpochs int `yaml:"every_epochs" check:"min 0"`
	Keep        int `yaml:"keep" check:"min 1, max 1000"`
}

// Optimizations says what graphs are derived without; see pipeline.GraphOptions.
type Optimizations struct {
	Off []string `yaml:"off"`
}

// LRAt returns the learning rate of an epoch, counted from 0.
func (c *Config) LRAt(epoch int) float64 {
	if c.LRSchedule.Every < 1 {
		return c.LR
	}
	return c.LR * math.Pow(c.LRSchedule.Factor, float64(epoch/c.LRSchedule.Every))
}

// Normalization returns the mean and standard deviation per channel of pixels
// in [0,1]. known is false where the configuration leaves them to the model.
// The paper protocol uses 0.5 for every model, DeiT included.
func (c *Config) Normalization() (mean, std [3]float64, known bool) {
	p := c.Preprocess
	if c.Protocol == "paper" {
		half := [3]float64{0.5, 0.5, 0.5}
		return half, half, true
	}
	if len(p.Mean) != 3 || len(p.Std) != 3 {
		return mean, std, false
	}
	return [3]float64(p.Mean), [3]float64(p.Std), true
}

// ResizeFor returns the size to which training pictures are stretched before
// the random crop of the given image size: preprocess.resize, or 8/7 of the
// image size (256 for 224).
func (c *Config) ResizeFor(image Size) Size {
	if c.Preprocess.Resize != (Size{}) {
		return c.Preprocess.Resize
	}
	grow := func(n int) int { return int(math.Round(float64(n) * 8 / 7)) }
	return Size{Rows: grow(image.Rows), Cols: grow(image.Cols)}
}

// Freezes reports whether a parameter of that name stays as it is.
func (c *Config) Freezes(parameter string) bool {
	for _, glob := range c.Freeze {
		// path.Match stops * at a slash; parameter names have them freely.
		ok, err := path.Match(strings.ReplaceAll(glob, "/", "\x00"), strings.ReplaceAll(parameter, "/", "\x00"))
		if err == nil && ok {
			return true
		}
	}
	return false
}
