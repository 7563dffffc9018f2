package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

const maskModel = "testdata/zoo/ckpt-token/model.safetensors" // pictures of 12x12, patches of 4

// maskPictures writes pictures of a bright disc each and returns their folder
// and names.
func maskPictures(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for n, name := range names {
		p := picture.NewRGB(160+n, 120)
		for i := range p.W * p.H {
			x, y := float64(i%p.W)-80, float64(i/p.W)-48
			level := uint8(40 + i%7)
			if math.Hypot(x, y) < 36 {
				level = uint8(200 + i%11)
			}
			p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2] = level, level/2, 255-level
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := p.SavePNG(path); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func makeMasks(t *testing.T, opt MaskOptions) *MaskSummary {
	t.Helper()
	sum, err := Masks(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func maskRecords(t *testing.T, dir string) map[string]MaskRecord {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, maskLogName))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]MaskRecord{}
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		var r MaskRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if i > 0 {
			if _, twice := out[r.File]; twice {
				t.Errorf("%s is listed twice", r.File)
			}
			out[r.File] = r
		}
	}
	return out
}

var all = func() *float64 { zero := 0.0; return &zero }()

// TestMasksFollowThePictures makes masks by every method that looks at pictures:
// one of 0 and 255 for each picture that isn't dropped, of its size, in its
// folder and under its name, and a record of each.
func TestMasksFollowThePictures(t *testing.T) {
	orttest.Need(t)
	names := []string{"a/one.png", "a/two.png", "b/deep/three.png"}
	images := maskPictures(t, names...)
	for _, method := range []string{MethodAuto, MethodTokenCut, MethodRelevance} {
		t.Run(method, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "masks")
			opt := MaskOptions{Images: images, Output: out, Method: method, Model: maskModel, MinConfidence: all, Batch: 2}
			opt.Open.Convert.ImageSize = [2]int{36, 48}
			if method == MethodTokenCut {
				opt.Features, opt.Blocks, opt.Tau = Values, []int{0, -1}, 0.8
			}
			sum := makeMasks(t, opt)
			records := maskRecords(t, out)
			if sum.Pictures != 3 || sum.Kept+len(sum.Dropped) != 3 || sum.Kept == 0 || len(records) != 3 {
				t.Errorf("%+v, %d records", sum, len(records))
			}
			for n, name := range names {
				r, path := records[name], filepath.Join(out, filepath.FromSlash(name))
				if r.Dropped != "" {
					if exists(path) {
						t.Errorf("%s is dropped, and its mask is there", name)
					}
					continue
				}
				m, err := picture.ReadMask(path, picture.MaskOptions{Encoding: picture.Binary})
				if err != nil {
					t.Fatal(err)
				}
				inside := 0
				for _, v := range m.Pix {
					if v == 1 {
						inside++
					} else if v != 0 {
						t.Fatalf("%s: level %v", name, v)
					}
				}
				if m.W != 160+n || m.H != 120 || math.Abs(float64(inside)/float64(m.W*m.H)-r.Area) > 1e-12 || r.Mask != name {
					t.Errorf("%s: %dx%d pixels, %d inside, recorded %+v", name, m.H, m.W, inside, r)
				}
			}
			pairs, err := dataset.CSV(filepath.Join(out, maskTableName))
			if err != nil || len(pairs) != sum.Kept || pairs[0].Class != "a" {
				t.Errorf("masks.csv: %+v, %v", pairs, err)
			}
			for _, p := range pairs {
				if !strings.HasSuffix(p.ImagePath, strings.TrimPrefix(p.MaskPath, out)) {
					t.Errorf("masks.csv pairs %s with %s", p.ImagePath, p.MaskPath)
				}
			}
			page, err := os.ReadFile(filepath.Join(out, maskSheetName))
			if err != nil || strings.Count(string(page), "data:image/") < 3 || strings.Contains(string(page), "://") {
				t.Errorf("the contact sheet: %d bytes, %v", len(page), err)
			}
		})
	}
}

// TestMasksNeedNoClassifier makes them by attention where there is no class to
// be relevant for; the relevance itself can't be had.
func TestMasksNeedNoClassifier(t *testing.T) {
	orttest.Need(t)
	opt := MaskOptions{Images: maskPictures(t, "1.png", "2.png"), Output: filepath.Join(t.TempDir(), "masks"), Model: headlessModel(t), MinConfidence: all}
	opt.Open.Convert.Heads = 2
	if sum := makeMasks(t, opt); sum.Kept != 2 {
		t.Errorf("%+v", sum)
	}
	opt.Method, opt.Output = MethodRelevance, filepath.Join(t.TempDir(), "masks")
	if _, err := Masks(context.Background(), opt); err == nil || !strings.Contains(err.Error(), "no classifier") {
		t.Errorf("relevance without a classifier: %v", err)
	}
}

// TestDINOGetsThePublishedSetting under auto, and other models don't.
func TestDINOGetsThePublishedSetting(t *testing.T) {
	for text, want := range map[string]bool{
		`{"family": "dino", "patch_size": [16, 16], "num_classes": 0}`:                  true,
		`{"family": "dino", "patch_size": [8, 8], "num_classes": 0}`:                    true,
		`{"family": "dino", "patch_size": [14, 14], "num_classes": 0}`:                  false,
		`{"family": "dino", "patch_size": [16, 16], "num_classes": 0, "reg_tokens": 4}`: false,
		`{"family": "vit", "patch_size": [16, 16], "num_classes": 0}`:                   false,
		`{"family": "dino", "patch_size": [16, 16], "num_classes": 1000}`:               false,
		``: false,
	} {
		m := &Model{Source: &onnx.Model{Metadata: []onnx.KV{{Key: models.MetaArchitecture, Value: text}}}}
		if likeDINO(m) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

// TestKilledMasksGoOn takes a run as a killed process leaves it: the last line in
// part, a mask without a record, one that was never written, and a temporary
// file. What was finished stays as it is, to the time of change.
func TestKilledMasksGoOn(t *testing.T) {
	orttest.Need(t)
	names := []string{"1.png", "2.png", "3.png", "4.png", "5.png"}
	opt := MaskOptions{Images: maskPictures(t, names...), Output: filepath.Join(t.TempDir(), "masks"), Method: MethodRelevance, Model: maskModel, MinConfidence: all, Batch: 1}
	makeMasks(t, opt)
	whole := maskRecords(t, opt.Output)
	path := filepath.Join(opt.Output, maskLogName)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	var lost MaskRecord
	if err := json.Unmarshal([]byte(lines[5]), &lost); err != nil {
		t.Fatal(err)
	}
	var gone MaskRecord
	if err := json.Unmarshal([]byte(lines[4]), &gone); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines[:4], "")+lines[5][:len(lines[5])/2]), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(opt.Output, gone.Mask)); err != nil {
		t.Fatal(err)
	}
	temporary := atomic.Temporary(filepath.Join(opt.Output, "4.png"))
	if err := os.WriteFile(temporary, []byte("half"), 0o666); err != nil {
		t.Fatal(err)
	}
	before := map[string]fs.FileInfo{}
	for name := range whole {
		if info, err := os.Stat(filepath.Join(opt.Output, name)); err == nil && name != lost.File {
			before[name] = info
		}
	}
	if sum := makeMasks(t, opt); sum.Finished != 3 || sum.Kept != 5 {
		t.Errorf("%+v", sum)
	}
	for name, info := range before {
		now, err := os.Stat(filepath.Join(opt.Output, name))
		if err != nil || !os.SameFile(info, now) || !now.ModTime().Equal(info.ModTime()) {
			t.Errorf("%s was made again (%v)", name, err)
		}
	}
	if exists(temporary) {
		t.Error("the temporary file is still there")
	}
	if again := maskRecords(t, opt.Output); fmt.Sprint(len(again)) != fmt.Sprint(len(whole)) || again[lost.File].Confidence != whole[lost.File].Confidence || again[gone.File].Area != whole[gone.File].Area {
		t.Errorf("records %v, want %v", again, whole)
	}
}

// TestInterruptedMasksGoOn stops after the first mask.
func TestInterruptedMasksGoOn(t *testing.T) {
	orttest.Need(t)
	opt := MaskOptions{Images: maskPictures(t, "1.png", "2.png", "3.png", "4.png", "5.png", "6.png", "7.png", "8.png"), Output: filepath.Join(t.TempDir(), "masks"), Method: MethodRelevance, Model: maskModel, MinConfidence: all, Batch: 1}
	ctx, cancel := context.WithCancel(context.Background())
	interrupted := opt
	interrupted.OnProgress = func(done, total int) { cancel() }
	if _, err := Masks(ctx, interrupted); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "of 8 pictures are finished") {
		t.Fatalf("interrupted: %v", err)
	}
	first := len(maskRecords(t, opt.Output))
	if first == 0 || first == 8 {
		t.Fatalf("%d of 8 are finished", first)
	}
	if sum := makeMasks(t, opt); sum.Finished != first || sum.Kept != 8 {
		t.Errorf("%+v, want %d finished before", sum, first)
	}
}

// TestMasksOfOtherSettingsAreRefused unless they are to be replaced.
func TestMasksOfOtherSettingsAreRefused(t *testing.T) {
	orttest.Need(t)
	opt := MaskOptions{Images: maskPictures(t, "1.png", "2.png"), Output: filepath.Join(t.TempDir(), "masks"), Method: MethodTokenCut, Model: maskModel, MinConfidence: all}
	makeMasks(t, opt)
	other := opt
	other.Features = Values
	var there *ExistsError
	if _, err := Masks(context.Background(), other); !errors.As(err, &there) || !strings.Contains(err.Error(), "other settings") {
		t.Errorf("other features: %v", err)
	}
	other.Force = true
	if sum := makeMasks(t, other); sum.Finished != 0 {
		t.Errorf("with force: %+v", sum)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.tex"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	other.Output, other.Force = foreign, false
	if _, err := Masks(context.Background(), other); !errors.As(err, &there) {
		t.Errorf("a folder of something else: %v", err)
	}
}

// TestAnUnreadablePictureIsListedAtTheEnd doesn't stop the run, and is tried
// again by the next.
func TestAnUnreadablePictureIsListedAtTheEnd(t *testing.T) {
	orttest.Need(t)
	opt := MaskOptions{Images: maskPictures(t, "1.png", "2.png", "3.png"), Output: filepath.Join(t.TempDir(), "masks"), Method: MethodRelevance, Model: maskModel, MinConfidence: all}
	broken := filepath.Join(opt.Images, "2.jpg")
	if err := os.Rename(filepath.Join(opt.Images, "2.png"), broken+".png"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, []byte("\xff\xd8\xff no picture"), 0o666); err != nil {
		t.Fatal(err)
	}
	if sum := makeMasks(t, opt); sum.Kept != 3 || len(sum.Unreadable) != 1 || sum.Unreadable[0].Picture != broken {
		t.Errorf("%+v", sum)
	}
	opt.Strict = true
	sum, err := Masks(context.Background(), opt)
	if e := (*dataset.Error)(nil); !errors.As(err, &e) || e.ExitCode() != 3 || sum == nil || sum.Finished != 3 {
		t.Errorf("strict: %v, %+v", err, sum)
	}
}

// TestMasksComeFromAnnotations without a model; small ones and pictures without
// are dropped.
func TestMasksComeFromAnnotations(t *testing.T) {
	images := maskPictures(t, "a/1.png", "a/2.png", "b/3.png", "b/4.png") // 120 rows, 160 to 163 columns
	coco := filepath.Join(t.TempDir(), "instances.json")
	err := os.WriteFile(coco, []byte(`{"images": [{"id": 1, "file_name": "1.png", "height": 120, "width": 160}, {"id": 2, "file_name": "2.png", "height": 120, "width": 161},
		{"id": 3, "file_name": "3.png", "height": 99, "width": 42}], "annotations": [
		{"image_id": 1, "bbox": [40, 20, 80, 80], "segmentation": [[40, 20, 120, 20, 120, 60, 40, 60]]},
		{"image_id": 2, "bbox": [0, 0, 12, 12], "segmentation": [[0, 0, 12, 0, 12, 12, 0, 12]]},
		{"image_id": 3, "bbox": [0, 0, 30, 30], "segmentation": []}]}`), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	for method, area := range map[string]float64{MethodBoxes: 6400. / 19200, MethodCOCO: 3200. / 19200} {
		out := filepath.Join(t.TempDir(), "masks")
		sum := makeMasks(t, MaskOptions{Images: images, Output: out, Method: method, Annotations: coco})
		why := []string{}
		for _, d := range sum.Dropped {
			why = append(why, d.Why)
		}
		if sum.Kept != 1 || len(why) != 3 || !strings.Contains(why[0], "too small") || !strings.Contains(why[1], "99x42") || why[2] != "not annotated" {
			t.Errorf("%s: %+v", method, sum)
		}
		if r := maskRecords(t, out)["a/1.png"]; math.Abs(r.Area-area) > 1e-12 || r.Confidence != 1 || !math.IsNaN(float64(r.Eigengap)) {
			t.Errorf("%s: %+v, want area %v", method, r, area)
		}
	}
}

// TestMasksFromAnnotationsGoOnAmongPicturesWithout stops behind the pictures
// that are annotated: what is left has none, and isn't taken for a wrong folder.
func TestMasksFromAnnotationsGoOnAmongPicturesWithout(t *testing.T) {
	opt := MaskOptions{Images: maskPictures(t, "1.png"), Output: filepath.Join(t.TempDir(), "masks"), Method: MethodBoxes, Annotations: boxesOf(t, "1.png")}
	makeMasks(t, opt)
	if err := os.CopyFS(opt.Images, os.DirFS(maskPictures(t, "2.png", "3.png"))); err != nil {
		t.Fatal(err)
	}
	if sum := makeMasks(t, opt); sum.Finished != 1 || len(sum.Dropped) != 3 {
		t.Errorf("%+v", sum)
	}
}

// TestMasksRefuseWhatDoesNotGoTogether says what to state.
func TestMasksRefuseWhatDoesNotGoTogether(t *testing.T) {
	images := maskPictures(t, "1.png", "sub/1.png")
	half := 1.5
	for name, c := range map[string]struct {
		change func(*MaskOptions)
		want   string
	}{
		"no model":                  {func(o *MaskOptions) { o.Model = "" }, "needs a model"},
		"no annotations":            {func(o *MaskOptions) { o.Method = MethodBoxes }, "name it"},
		"annotations for nothing":   {func(o *MaskOptions) { o.Annotations = "a.csv" }, "looks at the pictures alone"},
		"no such method":            {func(o *MaskOptions) { o.Method = "magic" }, "there are auto, tokencut"},
		"tau of another method":     {func(o *MaskOptions) { o.Tau = 0.3 }, "those of method tokencut"},
		"no such features":          {func(o *MaskOptions) { o.Method, o.Features = MethodTokenCut, "scores" }, "queries, keys or values"},
		"confidence above 1":        {func(o *MaskOptions) { o.MinConfidence = &half }, "from 0 to 1"},
		"masks among the pictures":  {func(o *MaskOptions) { o.Output = filepath.Join(images, "masks") }, "folder outside"},
		"masks over the pictures":   {func(o *MaskOptions) { o.Output = images }, "folder outside"},
		"an unknown block":          {func(o *MaskOptions) { o.Method, o.Blocks = MethodTokenCut, []int{2} }, "0 to 1"},
		"a missing folder":          {func(o *MaskOptions) { o.Images = filepath.Join(images, "nowhere") }, "no such folder"},
		"two pictures of one stem":  {func(o *MaskOptions) { o.Images = maskPictures(t, "1.png", "1.PNG") }, "one mask would belong to both"},
		"annotations of other ones": {func(o *MaskOptions) { o.Method, o.Model, o.Annotations = MethodBoxes, "", boxesOf(t, "x.png") }, "none of the 2 pictures"},
	} {
		opt := MaskOptions{Images: images, Output: filepath.Join(t.TempDir(), "masks"), Model: maskModel}
		c.change(&opt)
		_, err := Masks(context.Background(), opt)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		var usage *configs.Error
		if slices.Contains([]string{"no model", "no annotations", "no such method"}, name) && !errors.As(err, &usage) {
			t.Errorf("%s: %T, want a *configs.Error", name, err)
		}
	}
}

func boxesOf(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "boxes.csv")
	if err := os.WriteFile(path, []byte("image,xmin,ymin,xmax,ymax\n"+name+",0,0,9,9\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}
