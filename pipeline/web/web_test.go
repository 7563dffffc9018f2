package web

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline"
)

// smallArchitecture is a model that computes in no time.
const smallArchitecture = `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":3}`

// tiny writes a checkpoint with random weights, of timm's arguments as JSON.
func tiny(t testing.TB, arguments string) string {
	t.Helper()
	a, err := models.NewArchitecture(arguments)
	if err != nil {
		t.Fatal(err)
	}
	c, err := models.RandomCheckpoint(a, 7)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tiny.safetensors")
	if err := c.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// exported writes a tiny model as ONNX after a change.
func exported(t *testing.T, opt pipeline.ExportOptions) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "exported.onnx")
	if _, err := pipeline.Export(t.Context(), tiny(t, smallArchitecture), path, opt); err != nil {
		t.Fatal(err)
	}
	return path
}

// pretend makes a folder with files of onnxruntime-web's names.
func pretend(t *testing.T) func(context.Context) (string, error) {
	dir := t.TempDir()
	for _, f := range ort.WebFiles {
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte("pretend "+f.Name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return func(context.Context) (string, error) { return dir, nil }
}

// settings reads what the page is told.
func settings(t *testing.T, dir string) (s struct{ Models []Model }) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, settingsName))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFolderHoldsAllThatThePageNeeds(t *testing.T) {
	out := filepath.Join(t.TempDir(), "page")
	before, after := tiny(t, smallArchitecture), exported(t, pipeline.ExportOptions{WithRelevance: true})
	site, err := Write(t.Context(), Options{Models: []string{before, after}, Output: out, Runtime: pretend(t)})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range site.Files {
		names = append(names, f.Name)
		if info, err := os.Stat(filepath.Join(out, f.Name)); err != nil || info.Size() != f.Bytes {
			t.Errorf("%s of %d bytes: %v", f.Name, f.Bytes, err)
		}
	}
	entries, err := os.ReadDir(out)
	if err != nil || len(entries) != len(names) {
		t.Errorf("%d files in the folder, %d listed, %v", len(entries), len(names), err)
	}
	for _, name := range []string{"index.html", "before.onnx", "after.onnx", "onnxruntime-web.LICENSE.txt", ort.WebFiles[0].Name, ort.WebFiles[1].Name} {
		if !slices.Contains(names, name) {
			t.Errorf("the folder lacks %s: %q", name, names)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	for i, m := range settings(t, out).Models {
		written, _, err := onnx.ReadModel(filepath.Join(out, m.Model.Name))
		if err != nil {
			t.Fatal(err)
		}
		ends, ok := pipeline.RelevanceOf(written)
		if !ok || ends != m.Ends || ends.Optional {
			t.Errorf("model %d has the ends %+v and is described by %+v", i, ends, m.Ends)
		}
		if m.Title != titles[i] || m.Classes != 3 || m.Preprocess.Size != [2]int{16, 16} || len(m.Model.SHA256) != 64 {
			t.Errorf("model %d: %+v", i, m)
		}
	}
}

// beside keeps all weights in data files for the time of a test.
func beside(t *testing.T) {
	former := insideWeights
	insideWeights = 0
	t.Cleanup(func() { insideWeights = former })
}

func TestManyWeightsLieBesideTheModel(t *testing.T) {
	beside(t)
	out := filepath.Join(t.TempDir(), "page")
	if _, err := Write(t.Context(), Options{Models: []string{tiny(t, smallArchitecture)}, Output: out, Runtime: pretend(t)}); err != nil {
		t.Fatal(err)
	}
	m := settings(t, out).Models[0]
	if m.Data == nil {
		t.Fatal("the page isn't told of a data file")
	}
	for _, f := range []ModelFile{m.Model, *m.Data} {
		if got, err := describe(out, f.Name); err != nil || got != f {
			t.Errorf("%+v is described as %+v, %v", got, f, err)
		}
	}
	if _, _, err := onnx.ReadModel(filepath.Join(out, m.Model.Name)); err != nil || m.Data.Name != "model.data" {
		t.Errorf("data file %s: %v", m.Data.Name, err)
	}
}

// TestPageNamesNoOtherServer looks for addresses in what a browser loads of ours.
func TestPageNamesNoOtherServer(t *testing.T) {
	address := regexp.MustCompile(`(?:https?:)?//[a-z]+[.:/]`)
	err := fs.WalkDir(page, pageFolder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".txt") {
			return err
		}
		data, err := page.ReadFile(path)
		if found := address.Find(data); found != nil {
			t.Errorf("%s names %s", path, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if html, err := page.ReadFile(pageFolder + "/index.html"); err != nil || !strings.Contains(string(html), policy) {
		t.Errorf("the page doesn't state the policy that its server does: %v", err)
	}
}

func TestNamesOfClassesComeFromTheTableOrEitherModel(t *testing.T) {
	table := filepath.Join(t.TempDir(), "classes.tsv")
	if err := os.WriteFile(table, []byte("0\tn0\tcat\n1\tn1\tdog\n2\tn2\t<b>bird</b>\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "page")
	if _, err := Write(t.Context(), Options{Models: []string{tiny(t, smallArchitecture)}, Output: out, Classes: table, Runtime: pretend(t)}); err != nil {
		t.Fatal(err)
	}
	want := []string{"cat", "dog", "<b>bird</b>"}
	if got := settings(t, out).Models[0].Names; !slices.Equal(got, want) {
		t.Errorf("names %q", got)
	}
	list := []Model{{Classes: 3}, {Classes: 3, Names: want}}
	if err := comparable(list); err != nil || !slices.Equal(list[0].Names, want) {
		t.Errorf("names %q, %v", list[0].Names, err)
	}
}

func TestOverwritingReplacesTheModels(t *testing.T) {
	out := filepath.Join(t.TempDir(), "page")
	opt := Options{Models: []string{tiny(t, smallArchitecture)}, Output: out, Runtime: pretend(t)}
	opt.Models = append(opt.Models, opt.Models[0])
	if _, err := Write(t.Context(), opt); err != nil {
		t.Fatal(err)
	}
	opt.Models = opt.Models[:1]
	var exists *pipeline.ExistsError
	if _, err := Write(t.Context(), opt); !errors.As(err, &exists) {
		t.Fatalf("error %v, want an *ExistsError", err)
	}
	mine := filepath.Join(out, "mine.txt")
	if err := os.WriteFile(mine, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	opt.Force = true
	if _, err := Write(t.Context(), opt); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"model.onnx": true, "mine.txt": true, "before.onnx": false, "after.onnx": false} {
		if _, err := os.Stat(filepath.Join(out, name)); (err == nil) != want {
			t.Errorf("%s is there: %v", name, err == nil)
		}
	}
	if got := settings(t, out).Models; len(got) != 1 || got[0].Title != "model" {
		t.Errorf("the page shows %+v", got)
	}
}

func TestModelsThatAPageCannotRunAreRefused(t *testing.T) {
	small := tiny(t, smallArchitecture)
	other := tiny(t, `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":4}`)
	half := exported(t, pipeline.ExportOptions{Precision: pipeline.Float16, WithRelevance: true})
	fixed := exported(t, pipeline.ExportOptions{Batch: 4})
	for _, c := range []struct {
		models []string
		want   string
	}{
		{[]string{small, other}, "it has 4 classes, and tiny.safetensors has 3: a page compares models of the same classes"},
		{[]string{half}, "is float16, and the page hands over float32; export it with --keep-io-fp32"},
		{[]string{fixed}, "it takes 4 pictures at a time, and the page hands over one; export it with --batch dynamic"},
	} {
		out := filepath.Join(t.TempDir(), "page")
		_, err := Write(t.Context(), Options{Models: c.models, Output: out, Runtime: pretend(t)})
		var refused *models.Error
		if !errors.As(err, &refused) || refused.ExitCode() != 3 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, expected %q", err, c.want)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), "*")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

func TestHalfPrecisionWithFloat32EndsIsTaken(t *testing.T) {
	out := filepath.Join(t.TempDir(), "page")
	half := exported(t, pipeline.ExportOptions{Precision: pipeline.Float16, KeepIO: true})
	if _, err := Write(t.Context(), Options{Models: []string{half}, Output: out, Runtime: pretend(t)}); err != nil {
		t.Fatal(err)
	}
}

func TestServerIsolatesThePage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "page")
	if _, err := Write(t.Context(), Options{Models: []string{tiny(t, smallArchitecture)}, Output: out, Runtime: pretend(t)}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := Serve(ctx, out, "127.0.0.1:0", func(url string) {
		go func() {
			defer cancel()
			for name, want := range map[string]string{"": "text/html", "app.js": "text/javascript", ort.WebFiles[0].Name: "text/javascript", ort.WebFiles[1].Name: "application/wasm", "style.css": "text/css"} {
				answer, err := http.Get(url + name)
				if err != nil {
					t.Error(err)
					continue
				}
				answer.Body.Close()
				h := answer.Header
				if answer.StatusCode != http.StatusOK || !strings.HasPrefix(h.Get("Content-Type"), want) || h.Get("Cross-Origin-Opener-Policy") != "same-origin" || h.Get("Cross-Origin-Embedder-Policy") != "require-corp" || !strings.Contains(h.Get("Content-Security-Policy"), "connect-src 'self'") {
					t.Errorf("%q: %s, %v", name, answer.Status, h)
				}
			}
		}()
	})
	if err != nil {
		t.Error(err)
	}
}

func TestServingWhatIsNoPageIsWrongUsage(t *testing.T) {
	busy := httptest.NewServer(http.NotFoundHandler())
	defer busy.Close()
	page := t.TempDir()
	if err := os.WriteFile(filepath.Join(page, settingsName), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, address, want string }{
		{t.TempDir(), "127.0.0.1:0", "no page of relevit web is there"},
		{page, strings.TrimPrefix(busy.URL, "http://"), "give another --address"},
		{page, "nonsense", "give another --address"},
	} {
		err := Serve(t.Context(), c.dir, c.address, func(string) { t.Error("it serves") })
		var wrong *models.Error
		if !errors.As(err, &wrong) || wrong.ExitCode() != 2 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, expected %q", err, c.want)
		}
	}
}
