//go:build e2e

package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// tab is a page in a headless browser.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	said    []string // warnings and errors
	outside []string // requests to other servers than the page's
}

// own matches the servers that browsers ask on their own account.
var own = regexp.MustCompile(`(^|\.)(google|googleapis|gstatic|gvt1)\.com(:\d+)?$`)

// openTab opens the page that handler serves, in a browser of its own profile
// whose other requests all go to a proxy that notes and refuses them.
func openTab(t *testing.T, handler http.Handler) *tab {
	t.Helper()
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
	b := &tab{t: t}
	page := httptest.NewServer(handler)
	t.Cleanup(page.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !own.MatchString(r.Host) {
			b.note(&b.outside, r.Method+" "+r.Host)
		}
		http.Error(w, "no way out", http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.ProxyServer(proxy.URL), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))...)
	t.Cleanup(cancel)
	b.ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	console := chromedp.Console(b.ctx)
	go func() {
		for m, err := range console {
			if err == nil && (m.IsException() || m.Type == "error" || m.Type == "warning") {
				b.note(&b.said, m.String())
			}
		}
	}()
	b.do(chromedp.EmulateViewport(1200, 900), chromedp.Navigate(page.URL+"/"))
	return b
}

func (b *tab) note(list *[]string, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*list = append(*list, text)
}

// noted is what was noted so far.
func (b *tab) noted(list *[]string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(*list)
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatalf("%v; the page said %q", err, b.noted(&b.said))
	}
}

// evaluate runs the body of an async function in the page, in which given is
// the value that is handed over, and returns what that returns.
func evaluate[T any](b *tab, body string, given any) T {
	b.t.Helper()
	text, err := json.Marshal(given)
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](fmt.Sprintf("(async (given) => {%s})(%s)", body, text), chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%v; the page said %q", err, b.noted(&b.said))
	}
	return out
}

// wait waits until an expression is true in the page.
func (b *tab) wait(expression string) {
	b.t.Helper()
	b.do(chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingTimeout(3*time.Minute), chromedp.WithPollingInterval(50*time.Millisecond)))
}
