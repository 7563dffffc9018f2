package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/relevit/relevit/models"
)

// types are the media types of what a page consists of. Browsers refuse modules
// of another type, and what a system's table says of .mjs differs.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".mjs":  "text/javascript; charset=utf-8",
	".json": "application/json",
	".wasm": "application/wasm",
	".onnx": "application/octet-stream",
	".data": "application/octet-stream",
	".txt":  "text/plain; charset=utf-8",
}

// policy keeps the page, and its workers, from asking other servers. The page
// states it too, for other servers of it.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; worker-src 'self'"

// Handler serves the page in a folder. Its headers isolate the page from other
// origins, without which browsers give WebAssembly no threads.
func Handler(dir string) http.Handler {
	files := http.FileServer(http.Dir(dir))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Embedder-Policy", "require-corp")
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache")
		if t, ok := types[path.Ext(r.URL.Path)]; ok {
			h.Set("Content-Type", t)
		}
		files.ServeHTTP(w, r)
	})
}

// Serve serves the page in a folder at address, a host and a port, until ctx
// ends. ready hears the page's URL once it can be opened.
func Serve(ctx context.Context, dir, address string, ready func(url string)) error {
	if _, err := os.Stat(filepath.Join(dir, settingsName)); err != nil {
		return &models.Error{Path: dir, Usage: true, Problem: "no page of relevit web is there, for it lacks " + settingsName, Advice: "name a MODEL to write one of"}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return &models.Error{Problem: "can't serve at " + address, Usage: true, Err: err, Advice: "give another --address, such as 127.0.0.1:0 for any free port"}
	}
	server := &http.Server{Handler: Handler(dir), ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	ready(fmt.Sprintf("http://%s/", l.Addr()))
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", dir, err)
	}
	return nil
}
