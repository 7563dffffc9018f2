//go:build e2e

package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/report/reporttest"
)

var update = flag.Bool("update", false, "write the pictures in docs anew")

// TestReportOfPetsRepeatsItsFiguresAndLooksRight is the report on the pets' run
// with an evaluation on the 500 sample images. Screenshots of its top, its sheets
// and its phone view go into the folder $RELEVIT_SCREENSHOTS, and with -update
// two go into docs.
func TestReportOfPetsRepeatsItsFiguresAndLooksRight(t *testing.T) {
	orttest.Need(t)
	model := shared(t, "data", "models", vitTiny)
	dir, result := finetunePets(t, petsConfig(t, model))
	e, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{model, dir}, Data: shared(t, "data", "imagenet-samples")})
	if err != nil {
		t.Fatal(err)
	}
	evaluation := filepath.Join(t.TempDir(), "samples.json")
	if err := saveJSON(evaluation, e); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "report.html")
	r, err := Report(ReportOptions{Sources: []string{dir, evaluation}, Output: page})
	if err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	n, err := reporttest.Repeats(html, text)
	if err != nil || n < 100 {
		t.Errorf("the page shows %d figures: %v", n, err)
	}
	t.Logf("%d bytes, %d figures", len(html), n)
	share := r.Sections[1].Tables[0].Rows[0]
	if got, want := *share[1].Value, float64(result.Before.ForegroundShare); got < want-1e-9 || got > want+1e-9 {
		t.Errorf("the table's first figure is %v, the run's %v", got, want)
	}
	photograph(t, page)
}

// photograph opens a page in a headless browser, light and dark, wide and on a
// phone, and checks what can be measured of it.
func photograph(t *testing.T, page string) {
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("needs Chromium: there is no chromium, chromium-browser or google-chrome in PATH")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU)...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	do := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatal(err)
		}
	}
	do(chromedp.Navigate("file://" + page))
	into := cmp.Or(os.Getenv("RELEVIT_SCREENSHOTS"), t.TempDir())
	for _, scheme := range []string{"light", "dark"} {
		do(func(ctx context.Context, target *chromedp.Target) (v chromedp.Void, err error) {
			_, err = cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			return v, err
		})
		for _, view := range []struct {
			name, heading string // that stands at the top
			width, height int64
		}{
			{"top", "", 1000, 1250},
			{"curves", "Course of the run", 1000, 900},
			{"sheets", "Largest gains", 1000, 900},
			{"evaluation", "Evaluation samples.json", 1000, 1250},
			{"card", "Model card", 1000, 800},
			{"phone", "", 390, 844},
			{"phone-curves", "Course of the run", 390, 844},
			{"phone-sheets", "Largest gains", 390, 844},
		} {
			do(chromedp.EmulateViewport(view.width, view.height))
			text, err := json.Marshal(view.heading)
			if err != nil {
				t.Fatal(err)
			}
			wide, err := chromedp.Run(ctx, chromedp.Evaluate[int64](`(() => {
				const heading = [...document.querySelectorAll('h2')].find(h => h.textContent === `+string(text)+`);
				if (heading) heading.scrollIntoView(); else scrollTo(0, 0);
				return document.documentElement.scrollWidth;
			})()`))
			if err != nil {
				t.Fatal(err)
			}
			if wide > view.width {
				t.Errorf("%s: the page is %d pixels wide in a window of %d", view.name, wide, view.width)
			}
			data, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			keep(t, data, filepath.Join(into, "report-"+view.name+"-"+scheme+".png"))
			if *update && (view.name == "curves" && scheme == "light" || view.name == "phone-sheets" && scheme == "dark") {
				keep(t, data, filepath.Join("..", "docs", "report-"+view.name+".png"))
			}
		}
	}
}

// keep stores a screenshot as a small PNG.
func keep(t *testing.T, data []byte, path string) {
	t.Helper()
	seen, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	small := png.Encoder{CompressionLevel: png.BestCompression}
	if err := atomic.Write(path, func(w io.Writer) error { return small.Encode(w, seen) }); err != nil {
		t.Error(err)
	}
}
