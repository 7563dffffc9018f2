//go:build e2e

package web

import (
	"bytes"
	"cmp"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// drop drops pictures of the folder on the page, and waits until the models
// have looked at them.
func (b *tab) drop(names ...string) {
	b.t.Helper()
	evaluate[chromedp.Void](b, `
		const dropped = new DataTransfer();
		document.querySelector('#error').hidden = true;
		for (const name of given) dropped.items.add(new File([await (await fetch('pictures/' + name)).blob()], name));
		document.querySelector('#drop').dispatchEvent(new DragEvent('drop', { dataTransfer: dropped, bubbles: true, cancelable: true }));`, names)
	b.settled()
}

// settled waits until what the page shows is complete.
func (b *tab) settled() {
	b.t.Helper()
	b.wait(`document.querySelector('#results').ariaBusy === 'false' || !document.querySelector('#error').hidden`)
}

// column is what the page shows of a model.
type column struct {
	Title, Caption string
	Classes        []string // with their shares
	Explained      string
}

func (b *tab) columns() []column {
	b.t.Helper()
	return evaluate[[]column](b, `return [...document.querySelectorAll('.model')].map((f) => ({
		Title: f.querySelector('h2').firstChild.data,
		Caption: f.querySelector('figcaption').textContent,
		Classes: [...f.querySelectorAll('ol button')].map((e) => e.innerText.replace(/\s+/g, ' ').trim()),
		Explained: f.querySelector('ol button[aria-pressed=true] span').textContent }));`, nil)
}

// text is what an element says, "" while it is hidden.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return evaluate[string](b, `const e = document.querySelector(given); return e.checkVisibility() ? e.innerText.trim() : '';`, selector)
}

// onPets finetunes ViT-Ti on half of the pets, and returns the original and the
// run.
func onPets(t *testing.T) []string {
	t.Helper()
	original := shared(t, "data", "models", "vit_tiny_patch16_224.safetensors")
	cfg, err := configs.Load([]string{"vit-tiny"}, []string{"model=" + original,
		"data.layout=flat", "data.images=" + shared(t, "data", "pets", "images"), "data.masks=" + shared(t, "data", "pets", "trimaps"),
		"data.mask_encoding=trimap", "data.labels=top1", "data.classes=0", "data.samples=0",
		"data.validation.split=fraction", "data.validation.fraction=0.5", "epochs=15", "lr=4e-5"})
	if err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(t.TempDir(), "run")
	if _, err := pipeline.Finetune(t.Context(), pipeline.FinetuneOptions{Config: cfg, Dir: run}); err != nil {
		t.Fatal(err)
	}
	return []string{original, run}
}

// TestDroppedPictureIsExplainedBeforeAndAfter is what a visitor does: drop a
// pet, read its classes, choose another class, see the maps side by side.
// Screenshots go into the folder $RELEVIT_SCREENSHOTS, and with -update one goes
// into docs.
func TestDroppedPictureIsExplainedBeforeAndAfter(t *testing.T) {
	orttest.Need(t)
	table := shared(t, "data", "imagenet-classes.tsv")
	names, err := dataset.ReadClasses(table)
	if err != nil {
		t.Fatal(err)
	}
	pets := shared(t, "data", "pets", "images")
	opt := Options{Models: onPets(t), Classes: table}
	page := written(t, opt)
	b := openTab(t, with(Handler(page), pets))
	b.wait(`document.querySelector('#status').textContent === 'Ready.'`)
	shot := cmp.Or(os.Getenv("RELEVIT_SCREENSHOTS"), t.TempDir())
	b.screenshot(filepath.Join(shot, "empty.png"))
	const pet = "Ragdoll_99.jpg" // held out from the finetuning
	b.drop(pet)
	got := b.columns()
	want := []string{explainedTop(t, opt.Models[0], filepath.Join(pets, pet), names), explainedTop(t, opt.Models[1], filepath.Join(pets, pet), names)}
	for i, c := range got {
		if c.Title != titles[i] || len(c.Classes) != 5 || !strings.HasPrefix(c.Classes[0], want[i]+" ") || c.Explained != want[i] || !strings.Contains(c.Caption, want[i]) {
			t.Errorf("column %d shows %+v, expected class %q", i, c, want[i])
		}
	}
	if status := b.text("#status"); !strings.Contains(status, "before: "+want[0]) || !strings.Contains(status, "after: "+want[1]) {
		t.Errorf("the status is %q", status)
	}
	b.screenshot(filepath.Join(shot, "dropped.png"))
	if *update {
		b.do(chromedp.EmulateViewport(800, 600))
		b.screenshot(filepath.Join("..", "..", "docs", "web.png"))
	}

	b.do(chromedp.Click(chromedp.CSS(".model:last-child ol li:nth-child(2) button")))
	b.settled()
	second := strings.Join(strings.Fields(got[1].Classes[1])[:1], " ")
	for i, c := range b.columns() {
		if c.Explained != second || !strings.Contains(c.Caption, second) {
			t.Errorf("after a click on %s, column %d explains %q: %s", second, i, c.Explained, c.Caption)
		}
	}
	b.do(chromedp.SendKeys(chromedp.CSS("#class"), "999\r"))
	b.wait(`document.querySelector('#class').value !== '999'`)
	b.settled()
	if c := b.columns()[0]; c.Explained != names.Title(999) || len(c.Classes) != 6 {
		t.Errorf("class 999: %+v", c)
	}
	b.do(chromedp.SendKeys(chromedp.CSS("#class"), "no such thing\r"))
	if text := b.text("#error"); !strings.Contains(text, "“no such thing”: the models have no class of that name or number.") {
		t.Errorf("an unknown class: %q", text)
	}
	b.do(chromedp.Click(chromedp.CSS("#predicted")))
	b.settled()
	if c := b.columns()[0]; c.Explained != want[0] {
		t.Errorf("the predicted class again: %+v", c)
	}

	b.drop("Abyssinian_124.jpg", "havanese_26.jpg")
	if n := evaluate[int](b, `return document.querySelectorAll('#strip button').length`, nil); n != 3 {
		t.Errorf("%d thumbnails, expected 3", n)
	}
	if said := b.noted(&b.said); len(said) > 0 {
		t.Errorf("the page said %q", said)
	}
	if outside := b.noted(&b.outside); len(outside) > 0 {
		t.Errorf("the browser asked other servers: %q", outside)
	}
	if !evaluate[bool](b, `return self.crossOriginIsolated`, nil) {
		t.Error("the page isn't isolated from other origins, so that it gets no threads")
	}
	b.do(chromedp.EmulateViewport(390, 844))
	if wide := evaluate[int](b, `return document.documentElement.scrollWidth`, nil); wide > 390 {
		t.Errorf("on a phone of 390 pixels the page is %d wide", wide)
	}
	b.screenshot(filepath.Join(shot, "phone.png"))
}

// explainedTop is the title of the class that the command line finds in a picture.
func explainedTop(t *testing.T, model, file string, names *dataset.Classes) string {
	t.Helper()
	p, err := pipeline.Explain(t.Context(), pipeline.ExplainOptions{Model: model, Inputs: []string{file}, Output: t.TempDir(), Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	return names.Title(p.Pictures[0].Top[0].Class)
}

// screenshot stores what the page looks like.
func (b *tab) screenshot(path string) {
	b.t.Helper()
	data, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	seen, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		b.t.Fatal(err)
	}
	small := png.Encoder{CompressionLevel: png.BestCompression}
	if err := atomic.Write(path, func(w io.Writer) error { return small.Encode(w, seen) }); err != nil {
		b.t.Error(err)
	}
}

// TestPageWorksFromAnyServer opens it from a server without the headers that
// give threads, and drops a picture beside a file that is none.
func TestPageWorksFromAnyServer(t *testing.T) {
	orttest.Need(t)
	dir := t.TempDir()
	if err := cmp.Or(noise(50, 60).SavePNG(filepath.Join(dir, "noise.png")), os.WriteFile(filepath.Join(dir, "text.png"), []byte("no picture"), 0o666)); err != nil {
		t.Fatal(err)
	}
	page := written(t, Options{Models: []string{tiny(t, smallArchitecture)}})
	b := openTab(t, with(http.FileServer(http.Dir(page)), dir))
	b.drop("noise.png", "text.png")
	b.wait(`document.querySelectorAll('ol button').length > 0`)
	b.wait(`!document.querySelector('#error').hidden`)
	if c := b.columns(); len(c) != 1 || !regexp.MustCompile(`^class \d \d+(\.\d)? %$`).MatchString(c[0].Classes[0]) {
		t.Errorf("the page shows %+v", c)
	}
	if text := b.text("#error"); !strings.HasPrefix(text, "text.png: this browser can’t read it") {
		t.Errorf("error %q", text)
	}
}

// TestPageSaysWhatIsWrong breaks the folder, or gives what is no picture.
func TestPageSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name    string
		damage  func(page string) error
		dropped string
		want    string
	}{
		{"a file that is no picture", func(string) error { return nil }, "text.png", "text.png: this browser can’t read it as a picture: use a JPEG, PNG or WebP file."},
		{"no settings", func(page string) error { return os.Remove(filepath.Join(page, settingsName)) }, "", "The page can’t start: models.json can’t be loaded (404): write the folder again by relevit web."},
		{"no model", func(page string) error { return os.Remove(filepath.Join(page, "model.onnx")) }, "", "The page can’t start: model.onnx can’t be loaded: 404 Not Found."},
		{"half a model", func(page string) error { return os.Truncate(filepath.Join(page, "model.onnx"), 1000) }, "", "The page can’t start: model.onnx has 1000 of its "},
		{"a model that is none", func(page string) error {
			path := filepath.Join(page, "model.onnx")
			info, err := os.Stat(path)
			return cmp.Or(err, os.WriteFile(path, slices.Repeat([]byte{7}, int(info.Size())), 0o666))
		}, "", "protobuf parsing failed"},
		{"no runtime", func(page string) error { return os.Remove(filepath.Join(page, ort.WebFiles[0].Name)) }, "", "The page can’t start: onnxruntime-web doesn’t start: its files can’t be loaded."},
	} {
		t.Run(c.name, func(t *testing.T) {
			page, dir := written(t, Options{Models: []string{tiny(t, smallArchitecture)}}), t.TempDir()
			if err := cmp.Or(c.damage(page), os.WriteFile(filepath.Join(dir, "text.png"), []byte("no picture"), 0o666)); err != nil {
				t.Fatal(err)
			}
			b := openTab(t, with(Handler(page), dir))
			if c.dropped != "" {
				b.drop(c.dropped)
			}
			b.wait(`!document.querySelector('#error').hidden`)
			if text := b.text("#error"); !strings.Contains(text, c.want) {
				t.Errorf("the page says %q, expected %q", text, c.want)
			}
		})
	}
}

// TestPageColoursLikeOverlays compares the colour map's 1001 values.
func TestPageColoursLikeOverlays(t *testing.T) {
	b := openTab(t, Handler(written(t, Options{Models: []string{tiny(t, smallArchitecture)}})))
	got := evaluate[[][3]uint8](b, `
		const { colour } = await import('./colour.js');
		return Array.from({ length: 1001 }, (_, i) => colour(Math.fround(i / 1000)));`, nil)
	for i, c := range got {
		r, g, b := picture.Colour(float32(float64(i) / 1000))
		if c != [3]uint8{r, g, b} {
			t.Errorf("%s: %v, expected %v", fmt.Sprint(float64(i)/1000), c, [3]uint8{r, g, b})
		}
	}
}
