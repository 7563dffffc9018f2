package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// Methods by which masks are made.
const (
	MethodAuto     = "auto"     // several cuts of the tokens, chosen by where the model looks
	MethodTokenCut = "tokencut" // the published procedure
	// MethodRelevance, of the predicted class, above its mean
	MethodBoxes = "boxes" // rectangles from a CSV, Pascal VOC or COCO
	MethodCOCO  = "coco"  // polygons and run lengths from COCO
)

// MaskMethods lists them.
var MaskMethods = []string{MethodAuto, MethodTokenCut, MethodRelevance, MethodBoxes, MethodCOCO}

// smallestMask is how many foreground pixels, of 224x224, a mask has at least.
const smallestMask = 520

// MaskOptions say which masks Masks makes.
type MaskOptions struct {
	Images string // folder, whose pictures are taken at any depth
	Output string // folder for the masks, in the same tree

	Method      string // "": MethodAuto
	Model       string // ONNX file or checkpoint, for the methods that look at pictures
	Annotations string // file or folder, for the methods that don't

	Features      string   // of MethodTokenCut: Queries, Keys or Values; "": Keys
	Blocks        []int    // of MethodTokenCut: counted from 0, or below zero from the last, side by side; nil: the last
	Tau           float64  // of MethodTokenCut; 0: 0.2
	MinConfidence *float64 // masks below it are dropped; nil: the method's default

	Batch  int  // pictures at once; 0: 8
	Strict bool // a picture that can't be decoded is an error, after all others
	Force  bool // replace masks made with other settings

	Open       ModelOptions
	ORT        ort.Options
	OnStart    func(done, total int) // with how many are there already, once the model is open; not where none are left; may be nil
	OnProgress func(done, total int) // may be nil
	OnSkipped  func(path, why string)
	OnWarning  func(text string)
}

// MaskSummary is what Masks did.
type MaskSummary struct {
	Output         string           `json:"output"`
	Method         string           `json:"method"`
	Pictures       int              `json:"pictures"`
	Kept           int              `json:"kept"`
	Finished       int              `json:"finished_before"` // of Pictures
	MeanConfidence Number           `json:"mean_confidence"` // of what is kept
	Seconds        float64          `json:"seconds"`
	PerSecond      Number           `json:"per_second"`
	Dropped        []DroppedMask    `json:"dropped"`
	Unreadable     []SkippedPicture `json:"unreadable"`
}

// DroppedMask is a picture that gets no mask.
type DroppedMask struct {
	Picture string `json:"picture"`
	Why     string `json:"why"`
}

// Masks makes a mask for every picture of a folder: an 8-bit PNG, 0 background
// and 255 foreground, of the picture's size and under its name. masks.jsonl
// lists all, with what is known of each, masks.html shows them, and masks.csv
// pairs them with their pictures, for training. Pictures
// that are listed there already, by a run with the same settings, are left as
// they are; an interrupted run is continued by repeating it.
func Masks(ctx context.Context, opt MaskOptions) (*MaskSummary, error) {
	began := time.Now()
	if opt.Method == "" {
		opt.Method = MethodAuto
	}
	if opt.Batch < 1 {
		opt.Batch = 8
	}
	if err := opt.check(); err != nil {
		return nil, err
	}
	sitters, err := maskedPictures(opt.Images)
	if err != nil {
		return nil, err
	}
	settings, err := opt.settings()
	if err != nil {
		return nil, err
	}
	log, err := openMaskLog(opt.Output, settings, opt.Force)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	j := &maskJob{opt: opt, log: log, sitters: sitters, unreadable: map[string]string{}, minimum: settings.MinConfidence}
	var todo []placed
	for i, s := range sitters {
		if !log.finished(s.relative()) {
			todo = append(todo, placed{s, i})
		}
	}
	j.done = len(sitters) - len(todo)
	finished := j.done
	if len(todo) > 0 {
		err = j.run(ctx, todo)
	}
	if errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("%w: %d of %d pictures are finished in %s; the same command goes on from there", err, j.done, len(sitters), opt.Output)
	}
	if err != nil {
		return nil, err
	}
	sum := j.summary()
	sum.Finished, sum.Seconds = finished, time.Since(began).Seconds()
	sum.PerSecond = Number(float64(len(todo)) / sum.Seconds)
	if len(sum.Unreadable) == len(sitters) {
		return nil, &dataset.Error{Kind: dataset.ErrEmpty, Path: opt.Images, Found: "none of its pictures can be decoded; the first: " + sum.Unreadable[0].Reason}
	}
	if err := log.writeSheet(opt.Images, sitters, sum); err != nil {
		return nil, err
	}
	if err := log.writeTable(sitters); err != nil {
		return nil, err
	}
	if opt.Strict && len(sum.Unreadable) > 0 {
		u := sum.Unreadable[0]
		return sum, &dataset.Error{Kind: dataset.ErrCount, Path: u.Picture, Found: u.Reason,
			Advice: fmt.Sprintf("%d of %d pictures can't be decoded; the masks of the others are written", len(sum.Unreadable), len(sitters))}
	}
	return sum, nil
}

func (o *MaskOptions) warn(text string) {
	if o.OnWarning != nil {
		o.OnWarning(text)
	}
}

// annotated reports whether the method reads masks off a file.
func (o *MaskOptions) annotated() bool { return o.Method == MethodBoxes || o.Method == MethodCOCO }

// check refuses options that don't go together.
func (o *MaskOptions) check() error {
	wrong := func(key, format string, args ...any) error {
		return &configs.Error{Key: key, Msg: fmt.Sprintf(format, args...)}
	}
	switch {
	case !slices.Contains(MaskMethods, o.Method):
		return wrong("method", "there is no method %q to make masks by; there are %s", o.Method, strings.Join(MaskMethods, ", "))
	case o.annotated() && o.Annotations == "":
		return wrong("annotations", "method %s reads masks off a file: name it", o.Method)
	case !o.annotated() && o.Annotations != "":
		return wrong("annotations", "method %s looks at the pictures alone; methods %s and %s read annotations", o.Method, MethodBoxes, MethodCOCO)
	case !o.annotated() && o.Model == "":
		return wrong("model", "method %s needs a model, an ONNX file or a checkpoint of a Vision Transformer", o.Method)
	case o.Method != MethodTokenCut && (o.Features != "" || len(o.Blocks) > 0 || o.Tau != 0):
		return wrong("method", "features, blocks and tau are those of method %s, and the method is %s", MethodTokenCut, o.Method)
	case o.Features != "" && !slices.Contains([]string{Queries, Keys, Values}, o.Features):
		return wrong("features", "%q: expected %s, %s or %s", o.Features, Queries, Keys, Values)
	case o.Tau <= -1 || o.Tau >= 1:
		return wrong("tau", "%g: expected a cosine between -1 and 1", o.Tau)
	case o.MinConfidence != nil && !(*o.MinConfidence >= 0 && *o.MinConfidence <= 1):
		return wrong("min_confidence", "%g: expected a number from 0 to 1", *o.MinConfidence)
	}
	return o.apart()
}

// apart refuses masks within the folder of pictures: they would be taken for
// pictures the next time.
func (o *MaskOptions) apart() error {
	images, err := filepath.Abs(o.Images)
	if err != nil {
		return err
	}
	output, err := filepath.Abs(o.Output)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(images, output); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return &configs.Error{Key: "output", Msg: fmt.Sprintf("%s lies in the folder of the pictures, %s: give a folder outside", o.Output, o.Images)}
	}
	return nil
}

// maskedPictures lists a folder's pictures at any depth. Two of one name but
// for the suffix would share a mask.
func maskedPictures(root string) ([]sitter, error) {
	if st, err := os.Stat(root); err != nil || !st.IsDir() {
		return nil, &dataset.Error{Kind: dataset.ErrMissing, Path: root, Found: "there is no such folder of pictures"}
	}
	list, err := listFolder(root)
	if err != nil {
		return nil, err
	}
	byStem := map[string]string{}
	for _, s := range list {
		stem := strings.ToLower(maskName(s.name)) // some file systems don't tell cases apart
		if other, ok := byStem[stem]; ok {
			return nil, &dataset.Error{Kind: dataset.ErrCount, Path: s.path,
				Found: fmt.Sprintf("same name but for the suffix as %s, so one mask would belong to both", other), Advice: "rename one of them"}
		}
		byStem[stem] = s.name
	}
	return list, nil
}

// relative is a picture's path below the folder, with slashes.
func (s sitter) relative() string { return s.name }

// maskName is a mask's path for a picture's, both with slashes.
func maskName(picture string) string {
	return strings.TrimSuffix(picture, filepath.Ext(picture)) + ".png"
}
