package ort

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Install puts a pinned ONNX Runtime for this platform into the per-user cache
// and returns its path. Where one is there already, with the right hash, it
// does nothing. It asks the package clients of the machine in turn (pip, npm,
// Maven), each with its own configuration, and last the project's releases on
// GitHub. progress gets a line per attempt and may get a client's own progress.
func Install(ctx context.Context, progress io.Writer) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	return installTo(ctx, cache, platformBuilds(), fetchers, progress)
}

func installTo(ctx context.Context, cache string, list []build, by map[string]fetcher, progress io.Writer) (string, error) {
	for _, b := range list {
		if path := b.path(cache); b.intact(path) {
			return path, nil
		}
	}
	var failures []error
	for _, b := range list {
		fmt.Fprintf(progress, "Fetching ONNX Runtime %s for %s/%s with %s\n", b.version, runtime.GOOS, runtime.GOARCH, b.client)
		path := b.path(cache)
		err := b.install(ctx, path, by[b.client], progress)
		if err == nil {
			fmt.Fprintf(progress, "Installed %s\n", path)
			return path, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		err = fmt.Errorf("%s: %w", b.client, err)
		fmt.Fprintf(progress, "  %v\n", err)
		failures = append(failures, err)
	}
	missing := &MissingError{
		What:   wanted,
		Found:  "none of the ways to fetch it worked",
		Advice: "install pip or npm, or download a release of github.com/microsoft/onnxruntime and name its library by --runtime or " + envRuntime,
		Err:    errors.Join(failures...),
	}
	if len(list) == 0 {
		missing.Found = fmt.Sprintf("there is no pinned one for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	return "", missing
}

// intact reports whether the library at path is the one that was installed.
func (b build) intact(path string) bool {
	want := b.sha256
	if want == "" {
		recorded, err := os.ReadFile(hashFile(path))
		if err != nil {
			return false
		}
		want = strings.TrimSpace(string(recorded))
	}
	got, err := fileHash(path)
	return err == nil && got == want
}

// hashFile records the hash of a library for which none is pinned.
func hashFile(path string) string { return path + ".sha256" }

// install fetches the package into a temporary folder beside path, takes the
// library out, checks it, and moves it into place in one step.
func (b build) install(ctx context.Context, path string, fetch fetcher, progress io.Writer) error {
	parent := filepath.Dir(filepath.Dir(path))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, ".fetch-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	archive, err := fetch(ctx, b, tmp, progress)
	if err != nil {
		return err
	}
	library := filepath.Join(tmp, "library")
	if err := unpack(archive, b.member, library); err != nil {
		return err
	}
	got, err := fileHash(library)
	if err != nil {
		return err
	}
	if b.sha256 != "" && got != b.sha256 {
		return fmt.Errorf("the library in the package of version %s has SHA-256 %s, expected %s", b.version, got, b.sha256)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if b.sha256 == "" {
		if err := os.WriteFile(hashFile(path), []byte(got+"\n"), 0o644); err != nil {
			return err
		}
	}
	return os.Rename(library, path)
}

func fileHash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
