package picture

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/relevit/relevit/onnx/memtest"
)

func timm(size int) Preprocess {
	return Preprocess{Size: [2]int{size, size}, Resize: ResizeShorter, CropPct: 0.9,
		Interpolation: Bicubic, Mean: HalfMeanStd, Std: HalfMeanStd}
}

type oracleImage struct {
	File string
	Size [2]int
	Crop [2]int
	Flip bool
}

// geometries are the oracle's names for transforms of one picture.
func (o oracleImage) geometries(p *RGB) map[string]Geometry {
	return map[string]Geometry{
		"timm":       timm(224).EvalGeometry(p.W, p.H),
		"paper_eval": PaperEval(224, 224).EvalGeometry(p.W, p.H),
		"seg_eval":   SegmentationEval(224, 224).EvalGeometry(p.W, p.H),
		"paper_train": {Resized: [2]int{256, 256}, Top: o.Crop[0], Left: o.Crop[1],
			Size: [2]int{224, 224}, Mirror: o.Flip, Filter: Bilinear},
	}
}

// TestTransformsEqualTheOracle: pictures equal torchvision's on PIL to the
// pixel, from our own decoding, and masks to half precision's rounding.
func TestTransformsEqualTheOracle(t *testing.T) {
	shared := sharedDir(t)
	data, err := os.ReadFile(filepath.Join(shared, "oracle/pipeline/images.json"))
	if err != nil {
		t.Fatal(err)
	}
	var images []oracleImage
	if err := json.Unmarshal(data, &images); err != nil {
		t.Fatal(err)
	}
	var tr Transformer
	for i, o := range images {
		want := readArrays(t, filepath.Join(shared, fmt.Sprintf("oracle/pipeline/%02d.safetensors", i)))
		src, err := ReadFile(filepath.Join(shared, o.File))
		if err != nil {
			t.Fatal(err)
		}
		if decoded, ok := want["decoded"]; ok && string(decoded.bytes) != string(src.Pix) {
			t.Errorf("%s: decoded pixels differ", o.File)
		}
		for name, g := range o.geometries(src) {
			got, err := Crop(src, g)
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Pix) != string(want["image."+name].bytes) {
				t.Errorf("%s: image.%s differs", o.File, name)
			}
			expected, ok := want["mask."+name]
			if !ok {
				continue
			}
			mask := make([]float32, 224*224)
			if err := tr.Mask(mask, ellipse(src.W, src.H), g); err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for k, v := range expected.float32s() {
				worst = max(worst, math.Abs(float64(v-mask[k])))
			}
			if worst > 3e-4 {
				t.Errorf("%s: mask.%s differs by %v", o.File, name, worst)
			}
		}
	}
}

func ellipse(w, h int) *Gray {
	m := NewGray(w, h)
	for y := range h {
		for x := range w {
			dy, dx := float64(y)/float64(h)-.5, float64(x)/float64(w)-.45
			if dy*dy+dx*dx < .09 {
				m.Pix[y*w+x] = 1
			}
		}
	}
	return m
}

// TestCropModesMatchTimm: the digests are SHA-256 of the pixels that timm
// 1.0.31's create_transform(size, crop_pct=..., crop_mode=..., interpolation=...)
// makes on Pillow 13.0, before ToTensor.
func TestCropModesMatchTimm(t *testing.T) {
	src := checkered(83, 61)
	for _, c := range []struct {
		mode   ResizeMode
		filter Filter
		size   [2]int // height, width
		pct    float64
		digest string
	}{
		{ResizeShorter, Bicubic, [2]int{32, 32}, 0.9, "7684e63e1d815b51"},
		{ResizeShorter, Lanczos, [2]int{32, 32}, 0.9, "91a265af218cbb51"},
		{ResizeShorter, Nearest, [2]int{32, 32}, 0.9, "611bb897c6592c39"},
		{ResizeShorter, Bicubic, [2]int{32, 32}, 1, "64c40f2b4f00a80c"},
		{ResizeShorter, Lanczos, [2]int{32, 32}, 1, "194ae393d58836b4"},
		{ResizeShorter, Bicubic, [2]int{24, 40}, 0.9, "2d2c4d274328c444"},
		{ResizeShorter, Lanczos, [2]int{24, 40}, 0.9, "d5e1de6f36d9f09f"},
		{ResizeShorter, Nearest, [2]int{24, 40}, 0.9, "daccf03fb4daee19"},
		{ResizeShorter, Bicubic, [2]int{24, 40}, 1, "409e0a1156c5b53c"},
		{ResizeShorter, Lanczos, [2]int{24, 40}, 1, "45cc0d4fec796578"},
		{ResizeSquash, Bicubic, [2]int{32, 32}, 0.9, "11292052610ba0d8"},
		{ResizeSquash, Lanczos, [2]int{32, 32}, 0.9, "7b8949061f4b52e9"},
		{ResizeSquash, Nearest, [2]int{32, 32}, 0.9, "24c478f6f000f9f9"},
		{ResizeSquash, Bicubic, [2]int{32, 32}, 1, "489d9dc11cc2d1e9"},
		{ResizeSquash, Lanczos, [2]int{32, 32}, 1, "3547aa976cca34cb"},
		{ResizeSquash, Bicubic, [2]int{24, 40}, 0.9, "83f363a55bad43d7"},
		{ResizeSquash, Lanczos, [2]int{24, 40}, 0.9, "b16a7802f7aae568"},
		{ResizeSquash, Nearest, [2]int{24, 40}, 0.9, "3470b7c7e14fddc0"},
		{ResizeSquash, Bicubic, [2]int{24, 40}, 1, "7be95058e8fad9a9"},
		{ResizeSquash, Lanczos, [2]int{24, 40}, 1, "dce765ee081c1a0a"},
	} {
		p := Preprocess{Size: c.size, Resize: c.mode, CropPct: c.pct, Interpolation: c.filter, Mean: HalfMeanStd, Std: HalfMeanStd}
		got, err := Crop(src, p.EvalGeometry(src.W, src.H))
		if err != nil {
			t.Fatal(err)
		}
		if d := fmt.Sprintf("%x", sha256.Sum256(got.Pix))[:16]; d != c.digest {
			t.Errorf("%s, %v, %v, crop %v: digest %s, timm's is %s", c.mode, c.filter, c.size, c.pct, d, c.digest)
		}
	}
}

func TestImageIsTheNormalisedCrop(t *testing.T) {
	src := checkered(70, 50)
	p := PaperEval(32, 48)
	p.Mean, p.Std = ImageNetMean, ImageNetStd
	random := rand.NewPCG(1, 2)
	var tr Transformer
	for range 20 {
		g := p.TrainGeometry([2]int{}, random)
		got := make([]float32, 3*32*48)
		if err := tr.Image(got, src, g, p); err != nil {
			t.Fatal(err)
		}
		crop, err := Crop(src, g)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range crop.Pix {
			c := i % 3
			want := (float32(v)/255 - p.Mean[c]) / p.Std[c]
			if got[c*32*48+i/3] != want {
				t.Fatalf("%+v: sample %d is %v, want %v", g, i, got[c*32*48+i/3], want)
			}
		}
		back, err := FromTensor(got, p)
		if err != nil {
			t.Fatal(err)
		}
		if string(back.Pix) != string(crop.Pix) {
			t.Fatal("the picture does not survive normalisation and back")
		}
	}
}

func TestMaskAndImageShareTheirGeometry(t *testing.T) {
	// A picture that is white exactly where the mask is 1, at a size that is
	// cropped without scaling, stays so under every crop and mirror.
	mask := ellipse(64, 64)
	src := NewRGB(64, 64)
	for i, v := range mask.Pix {
		for c := range 3 {
			src.Pix[3*i+c] = uint8(255 * v)
		}
	}
	p := PaperEval(56, 56) // scales to 64
	random := rand.NewPCG(3, 4)
	var tr Transformer
	mirrored := 0
	for range 30 {
		g := p.TrainGeometry([2]int{}, random)
		if g.Mirror {
			mirrored++
		}
		img, m := make([]float32, 3*56*56), make([]float32, 56*56)
		if err := tr.Image(img, src, g, p); err != nil {
			t.Fatal(err)
		}
		if err := tr.Mask(m, mask, g); err != nil {
			t.Fatal(err)
		}
		for i := range m {
			if img[i] != 2*m[i]-1 {
				t.Fatalf("%+v: position %d has image %v, mask %v", g, i, img[i], m[i])
			}
		}
	}
	if mirrored == 0 || mirrored == 30 {
		t.Errorf("%d of 30 mirrored", mirrored)
	}
}

func TestEvalGeometryRoundsAsTorchvision(t *testing.T) {
	for _, c := range []struct {
		p             Preprocess
		width, height int
		want          Geometry
	}{
		{timm(224), 500, 375, Geometry{Resized: [2]int{248, 330}, Top: 12, Left: 53, Size: [2]int{224, 224}, Filter: Bicubic}},
		{timm(224), 333, 500, Geometry{Resized: [2]int{372, 248}, Top: 74, Left: 12, Size: [2]int{224, 224}, Filter: Bicubic}},
		// An odd margin of 5 rounds half to even: 2.5 -> 2, and 107 -> 53.5 -> 54.
		{PaperEval(224, 224), 331, 256, Geometry{Resized: [2]int{256, 331}, Top: 16, Left: 54, Size: [2]int{224, 224}}},
		// timm's ResizeKeepRatio for sizes that are not square.
		{PaperEval(112, 224), 300, 300, Geometry{Resized: [2]int{256, 256}, Top: 72, Left: 16, Size: [2]int{112, 224}}},
		{SegmentationEval(160, 96), 300, 500, Geometry{Resized: [2]int{160, 96}, Size: [2]int{160, 96}}},
	} {
		if got := c.p.EvalGeometry(c.width, c.height); got != c.want {
			t.Errorf("%dx%d: %+v, want %+v", c.width, c.height, got, c.want)
		}
	}
}

func TestExtremeProportionsStillCoverTheCrop(t *testing.T) {
	for _, p := range []Preprocess{timm(224), PaperEval(96, 160), PaperEval(7, 5), SegmentationEval(9, 31)} {
		for _, size := range [][2]int{{1, 1}, {1, 999}, {4000, 3}, {224, 225}, {11, 10}} {
			g := p.EvalGeometry(size[0], size[1])
			if g.Top < 0 || g.Left < 0 || g.Top+g.Size[0] > g.Resized[0] || g.Left+g.Size[1] > g.Resized[1] {
				t.Errorf("%dx%d: %+v", size[0], size[1], g)
			}
		}
	}
}

func TestPreprocessSurvivesJSON(t *testing.T) {
	p := timm(224)
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"input_size":[3,224,224],"interpolation":"bicubic","crop_pct":0.9,"crop_mode":"center","mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5]}`
	if string(data) != want {
		t.Errorf("%s", data)
	}
	var back Preprocess
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(p, back) {
		t.Errorf("%+v (%v)", back, err)
	}
	for _, bad := range []string{
		`{"input_size":[1,224,224],"interpolation":"bicubic","crop_pct":0.9,"mean":[0,0,0],"std":[1,1,1]}`,
		`{"input_size":[3,224,224],"interpolation":"cubic","crop_pct":0.9,"mean":[0,0,0],"std":[1,1,1]}`,
		`{"input_size":[3,224,224],"interpolation":"bicubic","crop_pct":1.9,"mean":[0,0,0],"std":[1,1,1]}`,
		`{"input_size":[3,224,224],"interpolation":"bicubic","crop_pct":0.9,"mean":[0,0,0],"std":[1,0,1]}`,
		`{"input_size":[3,224,224],"interpolation":"bicubic","crop_pct":0.9,"crop_mode":"border","mean":[0,0,0],"std":[1,1,1]}`,
	} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("accepted %s", bad)
		}
	}
}

func TestTrimCutsTheBorderOffEachSide(t *testing.T) {
	p := NewRGB(5, 6)
	for i := range p.Pix {
		p.Pix[i] = uint8(i)
	}
	whole := *p
	whole.Pix = append([]uint8{}, p.Pix...)
	if err := p.Trim(2); err != nil || p.W != 1 || p.H != 2 || len(p.Pix) != 6 {
		t.Fatalf("%dx%d, %d values (%v)", p.W, p.H, len(p.Pix), err)
	}
	for i, v := range p.Pix {
		if want := whole.Pix[3*((i/3+2)*5+2)+i%3]; v != want {
			t.Errorf("value %d is %d, want %d", i, v, want)
		}
	}
	if err := p.Trim(1); err == nil {
		t.Error("nothing was left, and it was no error")
	}
}

// FuzzPreprocess reads preprocessing that somebody else wrote.
func FuzzPreprocess(f *testing.F) {
	f.Add([]byte(`{"input_size":[3,224,224],"interpolation":"bicubic","crop_pct":0.9,"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5]}`))
	f.Add([]byte(`{"input_size":[3,1000000000,-1],"crop_pct":1e-300,"std":[0,0,0]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Preprocess
		var err error
		memtest.Within(t, len(data), 64, 1<<16, func() { err = p.UnmarshalJSON(data) })
		if err == nil && p.Validate() != nil {
			t.Errorf("%+v is read and isn't valid: %v", p, p.Validate())
		}
	})
}
