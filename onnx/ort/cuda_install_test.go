package ort

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// wheels makes a fetcher of wheels that hold the given files, and counts its calls.
func wheels(t *testing.T, content map[string]string, calls map[string]int) wheelFetcher {
	return func(_ context.Context, requirement, _, dir string, _ io.Writer) (string, error) {
		calls[requirement]++
		path := filepath.Join(dir, "package.whl")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		z := zip.NewWriter(f)
		for name, text := range content {
			w, err := z.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, text)
		}
		return path, errors.Join(z.Close(), f.Close())
	}
}

func TestInstallPutsTheLibrariesOfAllWheelsSideBySide(t *testing.T) {
	cache := t.TempDir()
	b := cudaBuild{"1.31.1", []cudaWheel{
		{"runtime", "1", "tag", "capi", []library{{versioned("1.31.1"), sum("runtime")}, {"provider.so", sum("provider")}}},
		{"cuda", "2", "tag", "nvidia/lib", []library{{"libcudart.so.13", sum("cudart")}}},
	}}
	content := map[string]string{"capi/" + versioned("1.31.1"): "runtime", "capi/provider.so": "provider", "nvidia/lib/libcudart.so.13": "cudart", "nvidia/lib/other.so": "not wanted"}
	calls := map[string]int{}
	fetch := wheels(t, content, calls)
	for range 2 {
		path, err := b.installTo(t.Context(), cache, fetch, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if path != b.path(cache) {
			t.Errorf("installed %s, expected %s", path, b.path(cache))
		}
	}
	if calls["runtime==1"] != 1 || calls["cuda==2"] != 1 {
		t.Errorf("fetched %v, expected each once", calls)
	}
	found, _ := filepath.Glob(filepath.Join(b.folder(cache), "*"))
	if len(found) != 3 {
		t.Errorf("installed %v", found)
	}
	if err := os.WriteFile(filepath.Join(b.folder(cache), "provider.so"), []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.installTo(t.Context(), cache, fetch, io.Discard); err != nil || calls["runtime==1"] != 2 || b.check(b.folder(cache)) != nil {
		t.Errorf("a damaged library: fetched %v, error %v, %v", calls, err, b.check(b.folder(cache)))
	}

	content["nvidia/lib/libcudart.so.13"] = "tampered"
	other := filepath.Join(t.TempDir(), "cache")
	_, err := b.installTo(t.Context(), other, fetch, io.Discard)
	if !IsMissing(err) || !strings.Contains(err.Error(), "libcudart.so.13 of cuda==2 has SHA-256") || !strings.Contains(err.Error(), "runtime==1, cuda==2") {
		t.Errorf("a tampered wheel: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(other, "*", "*")); len(left) != 0 {
		t.Errorf("a failed installation left %v", left)
	}
}

// compileTo makes a shared library of C source, or skips the test.
func compileTo(t *testing.T, path, source string, needs ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "source.c")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-shared", "-fPIC", "-Wl,--no-as-needed", "-Wl,-soname," + filepath.Base(path), "-o", path, file}, needs...)
	if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		t.Skipf("needs a C compiler and an ELF linker: %v: %s", err, out)
	}
}

// TestLibrariesOfCUDAAreLoadedFromBesideTheProvider lays out libraries as
// InstallCUDA does, none of which says where the others are.
func TestLibrariesOfCUDAAreLoadedFromBesideTheProvider(t *testing.T) {
	dir := t.TempDir()
	lib := func(name string) string { return filepath.Join(dir, name) }
	compileTo(t, lib("librelevit_base.so.1"), "int base(void) { return 7; }")
	compileTo(t, lib("librelevit_blas.so.1"), "int base(void); int blas(void) { return base(); }", lib("librelevit_base.so.1"))
	compileTo(t, lib("libcudart.so.99"), "int cudart(void) { return 1; }")
	compileTo(t, lib("libonnxruntime_providers_cuda.so"), "int blas(void), cudart(void); int provider(void) { return blas() + cudart(); }",
		lib("librelevit_blas.so.1"), lib("libcudart.so.99"), "-Wl,-rpath-link,"+dir)
	if _, err := loadLibrary(lib("libonnxruntime_providers_cuda.so")); err == nil || !strings.Contains(err.Error(), "librelevit_blas.so.1") {
		t.Fatalf("the system finds the libraries by itself: %v", err)
	}
	if cudart, err := loadCUDA(dir); err != nil || cudart == nil {
		t.Fatalf("libcudart %v, error %v", cudart, err)
	}
	if _, err := loadLibrary(lib("libonnxruntime_providers_cuda.so")); err != nil {
		t.Error(err)
	}

	if err := os.Remove(lib("libcudart.so.99")); err != nil {
		t.Fatal(err)
	}
	compileTo(t, lib("libonnxruntime_providers_cuda.so"), "int provider(void) { return 0; }")
	if _, err := loadCUDA(dir); err == nil || !strings.Contains(err.Error(), "libcudart") {
		t.Errorf("without libcudart: %v", err)
	}
}

func TestAMissingLibraryOfCUDAIsNamed(t *testing.T) {
	dir := t.TempDir()
	gone := filepath.Join(dir, "librelevit_gone.so.1")
	compileTo(t, gone, "int gone(void) { return 0; }")
	compileTo(t, filepath.Join(dir, "libonnxruntime_providers_cuda.so"), "int gone(void); int provider(void) { return gone(); }", gone)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if _, err := loadCUDA(dir); err == nil || !strings.Contains(err.Error(), "librelevit_gone.so.1") {
		t.Errorf("got %v", err)
	}
}

func TestTheLibraryForTheDeviceIsFound(t *testing.T) {
	b, ok := platformCUDA()
	list := platformBuilds()
	if !ok || len(list) == 0 {
		t.Skip("there is no pinned library with CUDA for this platform")
	}
	cache := t.TempDir()
	t.Setenv(envCache, cache)
	t.Setenv(envRuntime, "")
	withCUDA := touch(t, b.path(cache))
	check := func(what string, cuda bool, want string) {
		t.Helper()
		if got, err := locate("", cuda); err != nil || got != want {
			t.Errorf("%s: found %s, %v; expected %s", what, got, err, want)
		}
	}
	check("the only one, for a CPU", false, withCUDA)
	plain := touch(t, list[0].path(cache))
	check("for a CPU", false, plain)
	check("for a GPU", true, withCUDA)
	named := touch(t, t.TempDir(), "custom.so")
	if got, err := locate(named, true); err != nil || got != named {
		t.Errorf("a named library: found %s, %v", got, err)
	}
}

func TestDevicesAreCheckedBeforeAnythingIsLoaded(t *testing.T) {
	for s, want := range map[string]bool{"": true, "cpu": true, "cuda": true, "cuda:0": true, "cuda:12": true, "auto": true,
		"gpu": false, "cuda:": false, "cuda:-1": false, "cuda:x": false, "cpu:0": false, "auto:1": false, "CUDA": false} {
		if err := CheckDevice(s); (err == nil) != want {
			t.Errorf("%q: %v", s, err)
		}
	}
}
