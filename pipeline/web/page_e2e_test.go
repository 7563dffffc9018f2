//go:build e2e

package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/picture"
)

var update = flag.Bool("update", false, "write the screenshot in docs anew")

// shared is a path in the folder of reference data; without it the test is skipped.
func shared(t *testing.T, names ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{"..", "..", "..", "shared"}, names...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no reference data: %v", err)
	}
	return path
}

// written writes the page of models, with onnxruntime-web as npm has it.
func written(t *testing.T, opt Options) string {
	t.Helper()
	opt.Output = filepath.Join(t.TempDir(), "page")
	opt.Runtime = func(ctx context.Context) (string, error) { return ort.InstallWeb(ctx, t.Output()) }
	if _, err := Write(t.Context(), opt); err != nil {
		if ort.IsMissing(err) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	return opt.Output
}

// with serves a page and, below /pictures/, a folder of pictures.
func with(page http.Handler, pictures string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", page)
	mux.Handle("/pictures/", http.StripPrefix("/pictures/", http.FileServer(http.Dir(pictures))))
	return mux
}

// noise is a picture of random pixels.
func noise(w, h int) *picture.RGB {
	p := picture.NewRGB(w, h)
	random := rand.New(rand.NewPCG(uint64(w), uint64(h)))
	for i := range p.Pix {
		p.Pix[i] = uint8(random.Uint32())
	}
	return p
}

// TestPageResamplesLikePIL compares pixels, for every filter, for squares and
// others, shrinking, growing, and where the vertical pass comes first.
func TestPageResamplesLikePIL(t *testing.T) {
	dir := t.TempDir()
	b := openTab(t, with(Handler(written(t, Options{Models: []string{tiny(t, smallArchitecture)}})), dir))
	for _, size := range [][2]int{{131, 97}, {97, 311}, {640, 31}, {20, 17}, {224, 224}} {
		p := noise(size[0], size[1])
		name := fmt.Sprintf("%dx%d.png", size[0], size[1])
		if err := p.SavePNG(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		for _, pre := range preprocessings() {
			want, err := picture.Crop(p, pre.EvalGeometry(p.W, p.H))
			if err != nil {
				t.Fatal(err)
			}
			tensor := make([]float32, 3*pre.Size[0]*pre.Size[1])
			if err := new(picture.Transformer).Image(tensor, p, pre.EvalGeometry(p.W, p.H), pre); err != nil {
				t.Fatal(err)
			}
			got := evaluate[struct{ Pixels, Tensor string }](b, `
				const { crop, decode, tensor } = await import('./picture.js');
				const seen = crop(await decode(await (await fetch('pictures/' + given.name)).blob()), given.preprocess);
				const text = (array) => new Uint8Array(array.buffer).toBase64();
				return { Pixels: text(seen.pixels), Tensor: text(tensor(seen, given.preprocess)) };`,
				map[string]any{"name": name, "preprocess": pre})
			if pixels := decoded(t, got.Pixels); !bytes.Equal(pixels, want.Pix) {
				t.Errorf("%s, %v %v: %d of %d samples differ", name, pre.Size, pre.Interpolation, differing(pixels, want.Pix), len(want.Pix))
			}
			if !bytes.Equal(decoded(t, got.Tensor), littleEndian(tensor)) {
				t.Errorf("%s, %v %v: the tensor differs", name, pre.Size, pre.Interpolation)
			}
		}
	}
}

// TestPageDecodesPhotographsLikePIL compares JPEG files' pixels. It holds in
// Chromium, whose decoder is PIL's; the standard leaves decoders some freedom.
func TestPageDecodesPhotographsLikePIL(t *testing.T) {
	pets := shared(t, "data", "pets", "images")
	b := openTab(t, with(Handler(written(t, Options{Models: []string{tiny(t, smallArchitecture)}})), pets))
	files, err := filepath.Glob(filepath.Join(pets, "*.jpg"))
	if err != nil || len(files) < 10 {
		t.Fatalf("pets: %d, %v", len(files), err)
	}
	for _, f := range files[:10] {
		want, err := picture.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got := decoded(t, evaluate[string](b, `
			const { decode } = await import('./picture.js');
			return (await decode(await (await fetch('pictures/' + given)).blob())).pixels.toBase64();`, filepath.Base(f)))
		if n := differing(got, want.Pix); n > 0 {
			t.Errorf("%s: %d of %d samples differ", filepath.Base(f), n, len(want.Pix))
		}
	}
}

func preprocessings() (out []picture.Preprocess) {
	for f := picture.Bilinear; f <= picture.Nearest; f++ {
		p := picture.PaperEval(48, 48)
		p.Interpolation = f
		wide := p
		wide.Size, wide.CropPct, wide.Mean, wide.Std = [2]int{32, 56}, 0.9, picture.ImageNetMean, picture.ImageNetStd
		squash := wide
		squash.Resize = picture.ResizeSquash
		out = append(out, p, wide, squash)
	}
	return out
}

func differing(a, b []byte) (n int) {
	for i := range b {
		if i >= len(a) || a[i] != b[i] {
			n++
		}
	}
	return n
}

func decoded(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func littleEndian(v []float32) []byte {
	out := make([]byte, 0, 4*len(v))
	for _, x := range v {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
	}
	return out
}

func float32s(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

// relative is the largest difference over the largest value.
func relative(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	diff, most := 0.0, 0.0
	for i, w := range want {
		diff, most = max(diff, math.Abs(float64(got[i])-float64(w))), max(most, math.Abs(float64(w)))
	}
	if math.IsNaN(diff) || most == 0 {
		return math.Inf(1)
	}
	return diff / most
}

// tolerance of a browser's scores and maps against the command line's. Maps of
// classes that a model all but excludes can be so ill-conditioned that float32
// can't keep it: there, spread decides.
const tolerance = 1e-5

// TestPageExplainsLikeTheCommandLine runs models in the browser on batches of
// 1, 2 and 7 pictures, decoded and resized there, for the predicted class, for
// one class, and for another class of each picture.
func TestPageExplainsLikeTheCommandLine(t *testing.T) {
	orttest.Need(t)
	t.Run("a small model with its weights beside it", func(t *testing.T) {
		beside(t)
		dir := t.TempDir()
		var files []string
		for i := range 7 {
			files = append(files, filepath.Join(dir, fmt.Sprintf("%d.png", i)))
			if err := noise(40+7*i, 64-5*i).SavePNG(files[i]); err != nil {
				t.Fatal(err)
			}
		}
		testExplains(t, tiny(t, `{"img_size":[32,48],"patch_size":8,"embed_dim":32,"depth":3,"num_heads":2,"num_classes":6}`), files, 6)
	})
	t.Run("ViT-Ti", func(t *testing.T) {
		weights := shared(t, "data", "models", "vit_tiny_patch16_224.safetensors")
		testExplains(t, weights, asPNG(t, shared(t, "data", "pets", "images"), 7), 1000)
	})
	t.Run("DeiT-Ti", func(t *testing.T) {
		weights := shared(t, "data", "models", "deit_tiny_patch16_224.safetensors")
		testExplains(t, weights, asPNG(t, shared(t, "data", "imagenet-samples"), 7), 1000)
	})
}

// asPNG writes n pictures of a folder as PNG, which every decoder reads alike.
func asPNG(t *testing.T, folder string, n int) (files []string) {
	t.Helper()
	dir := t.TempDir()
	found, err := filepath.Glob(filepath.Join(folder, "*.jpg"))
	if nested, _ := filepath.Glob(filepath.Join(folder, "*", "*.JPEG")); len(found) == 0 {
		found = nested
	}
	if err != nil || len(found) < n {
		t.Fatalf("%d pictures in %s, %v", len(found), folder, err)
	}
	for i := range n {
		p, err := picture.ReadFile(found[i*len(found)/n])
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Join(dir, fmt.Sprintf("%d.png", i)))
		if err := p.SavePNG(files[i]); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func testExplains(t *testing.T, model string, files []string, classes int64) {
	m, err := pipeline.OpenModel(model, pipeline.ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := openTab(t, with(Handler(written(t, Options{Models: []string{model}})), filepath.Dir(files[0])))
	evaluate[chromedp.Void](b, `
		const { Model } = await import('./models.js');
		const { models } = await (await fetch('models.json')).json();
		window.model = new Model(models[0]);
		await model.load();`, nil)
	for _, batch := range []int{1, 2, 7} {
		own := make([]int64, batch)
		for i := range own {
			own[i] = (int64(i)*317 + 5) % classes
		}
		if batch > 1 {
			own[1] = -1 // predicted, among given ones
		}
		for _, targets := range [][]int64{{-1}, {classes - 1}, own} {
			t.Run(fmt.Sprintf("%d pictures, classes %v", batch, targets), func(t *testing.T) {
				var names []string
				for _, f := range files[:batch] {
					names = append(names, filepath.Base(f))
				}
				got := evaluate[struct{ Scores, Maps string }](b, `
					const { crop, decode, tensor } = await import('./picture.js');
					const { preprocess } = model.settings;
					const read = async (name) => tensor(crop(await decode(await (await fetch('pictures/' + name)).blob()), preprocess), preprocess);
					const images = [];
					for (const name of given.names) images.push(await read(name));
					const found = await model.explain(images, given.targets);
					const text = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength).toBase64();
					return { Scores: text(found.logits), Maps: text(found.maps) };`,
					map[string]any{"names": names, "targets": targets})
				scores, maps := explained(t, m, files[:batch], targets)
				gotScores, gotMaps := float32s(decoded(t, got.Scores)), float32s(decoded(t, got.Maps))
				t.Logf("scores within %.2g, maps within %.2g of the largest value", relative(gotScores, scores), relative(gotMaps, maps))
				if d := relative(gotScores, scores); d > tolerance {
					t.Errorf("scores differ by %.2g", d)
				}
				for i := range batch {
					n := len(maps) / batch
					got, want := gotMaps[i*n:][:n], maps[i*n:][:n]
					if d := relative(got, want); d > tolerance {
						limit := spread(t, m, files[i], targets[i%len(targets)])
						t.Logf("the map of picture %d differs by %.2g; orders of summing the patch convolution alone differ by %.2g", i, d, limit)
						if d > limit {
							t.Errorf("the map of picture %d differs by %.2g, beyond what rounding explains", i, d)
						}
					}
				}
			})
		}
	}
}

// explained is what the command line says of pictures, for one class or one
// each: scores (B,C) and maps (B,H,W).
func explained(t *testing.T, m *pipeline.Model, files []string, targets []int64) (scores, maps []float32) {
	t.Helper()
	x, err := pipeline.NewMapper(m, len(files), pipeline.MapOptions{}, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var images []float32
	classes := make([]int64, len(files))
	for i, f := range files {
		images = append(images, pixelsOf(t, m, f)...)
		classes[i] = targets[i%len(targets)]
	}
	if err := x.Run(t.Context(), images, classes); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		scores, maps = append(scores, x.Scores(i)...), append(maps, x.Map(pipeline.MethodRelevance, i)...)
	}
	return scores, maps
}
