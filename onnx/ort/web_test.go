package ort

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// webPackage makes a fetcher of a package with the given files, and counts its calls.
func webPackage(t *testing.T, files map[string]string, calls *int) npmFetcher {
	return func(_ context.Context, pack, dir string) (string, error) {
		*calls++
		if pack != "onnxruntime-web@"+webVersion {
			t.Errorf("asked for %s", pack)
		}
		path := filepath.Join(dir, "package.tgz")
		f, err := os.Create(path)
		if err != nil {
			return "", err
		}
		zw := gzip.NewWriter(f)
		tw := tar.NewWriter(zw)
		for name, content := range files {
			tw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o644})
			io.WriteString(tw, content)
		}
		return path, errors.Join(tw.Close(), zw.Close(), f.Close())
	}
}

func TestWebRuntimeIsFetchedOnceAndChecked(t *testing.T) {
	cache := t.TempDir()
	var calls int
	files := []WebFile{{"a.mjs", sum("module")}, {"b.wasm", sum("binary")}}
	fetch := webPackage(t, map[string]string{"package/dist/a.mjs": "module", "package/dist/b.wasm": "binary", "package/dist/c.js": "other"}, &calls)
	var folder string
	for range 2 {
		var err error
		if folder, err = installWebTo(t.Context(), cache, files, fetch, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	if entries, _ := os.ReadDir(folder); calls != 1 || len(entries) != 2 {
		t.Errorf("%d fetches, %v in the folder", calls, entries)
	}
	if err := os.WriteFile(filepath.Join(folder, "b.wasm"), []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := installWebTo(t.Context(), cache, files, fetch, io.Discard); err != nil || calls != 2 {
		t.Errorf("a damaged file: %d fetches, error %v; expected it to be fetched again", calls, err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "onnxruntime-web", ".fetch-*")); len(left) != 0 {
		t.Errorf("temporary folders left: %v", left)
	}
}

func TestWebRuntimeThatCannotBeHadIsMissing(t *testing.T) {
	var calls int
	files := []WebFile{{"a.mjs", sum("module")}}
	for name, fetch := range map[string]npmFetcher{
		"no npm":         func(context.Context, string, string) (string, error) { return "", joined("npm", nil) },
		"SHA-256":        webPackage(t, map[string]string{"package/dist/a.mjs": "tampered"}, &calls),
		"does not exist": webPackage(t, map[string]string{"package/other": "x"}, &calls),
	} {
		_, err := installWebTo(t.Context(), t.TempDir(), files, fetch, io.Discard)
		if !IsMissing(err) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "--web-runtime") {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stopped := func(ctx context.Context, _, _ string) (string, error) { return "", ctx.Err() }
	if _, err := installWebTo(ctx, t.TempDir(), files, stopped, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestWebRuntimeIsFoundInANamedFolder(t *testing.T) {
	files := []WebFile{{"a.mjs", sum("module")}}
	write := func(path, content string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	root := t.TempDir()
	write(filepath.Join(root, "package", "dist", "a.mjs"), "module")
	write(filepath.Join(root, "other", "a.mjs"), "another version")
	built := filepath.Join(root, "package", "dist")
	for _, named := range []string{built, filepath.Dir(built)} {
		if got, err := locateWeb(named, files); err != nil || got != built {
			t.Errorf("%s: %s, %v", named, got, err)
		}
	}
	for named, want := range map[string]string{"other": "SHA-256", "nowhere": "no such file"} {
		if _, err := locateWeb(filepath.Join(root, named), files); !IsMissing(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", named, err)
		}
	}
}
