package ort

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const content = "pretend library"

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// wheel makes a fetcher whose package holds the given library, and counts its calls.
func wheel(t *testing.T, library string, calls *int) fetcher {
	return func(_ context.Context, b build, dir string, _ io.Writer) (string, error) {
		*calls++
		path := filepath.Join(dir, "package.whl")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		z := zip.NewWriter(f)
		w, err := z.Create(b.member)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, library)
		return path, errors.Join(z.Close(), f.Close())
	}
}

func TestInstallFetchesOnceAndChecksTheHash(t *testing.T) {
	cache := t.TempDir()
	var calls int
	by := map[string]fetcher{"pip": wheel(t, content, &calls)}
	list := []build{{"pip", "1.32.0", "tag", "capi/lib.so", sum(content)}}
	for range 2 {
		path, err := installTo(t.Context(), cache, list, by, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != content {
			t.Errorf("installed %q", got)
		}
	}
	if calls != 1 {
		t.Errorf("fetched %d times, expected once", calls)
	}
	if err := os.WriteFile(list[0].path(cache), []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := installTo(t.Context(), cache, list, by, io.Discard); err != nil || calls != 2 {
		t.Errorf("a damaged library: %d fetches, error %v; expected it to be fetched again", calls, err)
	}
	left, _ := filepath.Glob(filepath.Join(cache, "onnxruntime", ".fetch-*"))
	if len(left) != 0 {
		t.Errorf("temporary folders left: %v", left)
	}
}

func TestInstallFallsBackToTheNextClient(t *testing.T) {
	var calls, npm int
	by := map[string]fetcher{
		"broken":   func(context.Context, build, string, io.Writer) (string, error) { return "", errors.New("no network") },
		"tampered": wheel(t, "something else", &calls),
		"npm":      wheel(t, content, &npm),
	}
	list := []build{
		{"broken", "1", "", "lib.so", sum(content)},
		{"tampered", "2", "", "lib.so", sum(content)},
		{"npm", "3", "", "lib.so", sum(content)},
	}
	var said bytes.Buffer
	path, err := installTo(t.Context(), t.TempDir(), list, by, &said)
	if err != nil || npm != 1 || !strings.Contains(path, "3-npm") {
		t.Fatalf("path %s, error %v", path, err)
	}
	for _, want := range []string{"broken: no network", "tampered: the library in the package of version 2 has SHA-256", "Installed " + path} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("progress lacks %q:\n%s", want, said.String())
		}
	}
	_, err = installTo(t.Context(), t.TempDir(), list[:2], by, io.Discard)
	if !IsMissing(err) || !strings.Contains(err.Error(), "no network") {
		t.Errorf("with no way left: %v", err)
	}
	if _, err := installTo(t.Context(), t.TempDir(), nil, by, io.Discard); !IsMissing(err) {
		t.Errorf("on an unknown platform: %v", err)
	}
}

func TestInstallStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	by := map[string]fetcher{"pip": func(ctx context.Context, _ build, dir string, _ io.Writer) (string, error) {
		cancel()
		return "", run(ctx, dir, nil, "sleep", "60")
	}}
	list := []build{{"pip", "1", "", "lib.so", ""}, {"pip", "2", "", "lib.so", ""}}
	if _, err := installTo(ctx, t.TempDir(), list, by, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestReleaseIsCheckedAgainstItsPublishedDigest(t *testing.T) {
	var tgz bytes.Buffer
	zw := gzip.NewWriter(&tgz)
	tw := tar.NewWriter(zw)
	tw.WriteHeader(&tar.Header{Name: "./ort/lib/lib.so", Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o644})
	io.WriteString(tw, content)
	tw.Close()
	zw.Close()
	digest := sum(tgz.String())
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/tags/v1", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"assets":[{"name":"ort.tgz","digest":"sha256:%s","browser_download_url":"%s/ort.tgz"}]}`, digest, server.URL)
	})
	mux.HandleFunc("/ort.tgz", func(w http.ResponseWriter, _ *http.Request) { w.Write(tgz.Bytes()) })

	by := map[string]fetcher{"github": func(ctx context.Context, b build, dir string, progress io.Writer) (string, error) {
		return fetchRelease(ctx, server.URL+"/tags/v"+b.version, b.pack, dir, progress)
	}}
	cache, list := t.TempDir(), []build{{"github", "1", "ort.tgz", "ort/lib/lib.so", ""}}
	path, err := installTo(t.Context(), cache, list, by, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !list[0].intact(path) {
		t.Error("what was installed isn't taken for intact")
	}
	digest = sum("another file")
	if _, err := installTo(t.Context(), t.TempDir(), list, by, io.Discard); err == nil || !strings.Contains(err.Error(), "its publisher says") {
		t.Errorf("wrong digest: %v", err)
	}
	list[0].version = "2"
	if _, err := installTo(t.Context(), t.TempDir(), list, by, io.Discard); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("unknown release: %v", err)
	}
}

func TestBuildsAreComplete(t *testing.T) {
	for platform, list := range builds {
		for _, b := range list {
			if fetchers[b.client] == nil || b.version == "" || b.member == "" || (b.sha256 == "") != (b.client == "github") {
				t.Errorf("%s: %+v", platform, b)
			}
			if tooOld(b.version) {
				t.Errorf("%s: version %s is older than what we load", platform, b.version)
			}
		}
	}
}
