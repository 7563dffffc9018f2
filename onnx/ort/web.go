package ort

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// webVersion is the version of onnxruntime-web, ONNX Runtime for browsers, that
// pages are written with and tested with.
const webVersion = "1.30.0"

// WebFile is a file of onnxruntime-web.
type WebFile struct {
	Name   string
	SHA256 string
}

// WebFiles are the files of onnxruntime-web that a page needs: the module with
// its loader, and the WebAssembly backend. They are the same for every machine.
var WebFiles = []WebFile{
	{"ort.wasm.bundle.min.mjs", "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"},
	{"ort-wasm-simd-threaded.wasm", "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"},
}

// webFolder is where the package keeps its built files.
const webFolder = "dist"

// InstallWeb puts the pinned files of onnxruntime-web into the per-user cache,
// once, by npm with its own configuration, and returns their folder. progress
// gets a line per attempt.
func InstallWeb(ctx context.Context, progress io.Writer) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	return installWebTo(ctx, cache, WebFiles, fetchNpmPackage, progress)
}

// npmFetcher downloads an npm package into dir and returns the archive's path.
type npmFetcher func(ctx context.Context, pack, dir string) (string, error)

func installWebTo(ctx context.Context, cache string, files []WebFile, fetch npmFetcher, progress io.Writer) (string, error) {
	folder := filepath.Join(cache, "onnxruntime-web", webVersion)
	if checkWeb(folder, files) == nil {
		return folder, nil
	}
	fmt.Fprintf(progress, "Fetching onnxruntime-web %s with npm\n", webVersion)
	err := fetchWeb(ctx, folder, files, fetch)
	switch {
	case err == nil:
		fmt.Fprintf(progress, "Installed %s\n", folder)
		return folder, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	return "", missingWeb("it could not be fetched", err)
}

// LocateWeb finds the pinned files in a folder that the user names: the
// unpacked package, or the folder of its built files.
func LocateWeb(folder string) (string, error) {
	return locateWeb(folder, WebFiles)
}

func locateWeb(folder string, files []WebFile) (string, error) {
	built := filepath.Join(folder, webFolder)
	err := checkWeb(built, files)
	if err == nil {
		return built, nil
	}
	if here := checkWeb(folder, files); here == nil || !errors.Is(here, os.ErrNotExist) {
		built, err = folder, here
	}
	if err != nil {
		return "", missingWeb(folder+" doesn't hold it", err)
	}
	return built, nil
}

func missingWeb(found string, err error) error {
	return &MissingError{What: "onnxruntime-web " + webVersion, Found: found, Err: err,
		Advice: fmt.Sprintf("install npm, or unpack the npm package onnxruntime-web@%s yourself and name its folder by --web-runtime", webVersion)}
}

// checkWeb compares the files in a folder with their hashes.
func checkWeb(folder string, files []WebFile) error {
	for _, f := range files {
		got, err := fileHash(filepath.Join(folder, f.Name))
		if err != nil {
			return err
		}
		if got != f.SHA256 {
			return fmt.Errorf("%s has SHA-256 %s, expected %s", f.Name, got, f.SHA256)
		}
	}
	return nil
}

// fetchWeb takes the files out of the package into a temporary folder, checks
// them, and moves them into place in one step.
func fetchWeb(ctx context.Context, folder string, files []WebFile, fetch npmFetcher) error {
	parent := filepath.Dir(folder)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, ".fetch-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	archive, err := fetch(ctx, "onnxruntime-web@"+webVersion, tmp)
	if err != nil {
		return err
	}
	staged := filepath.Join(tmp, webVersion)
	if err := os.Mkdir(staged, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		if err := unpack(archive, path.Join("package", webFolder, f.Name), filepath.Join(staged, f.Name)); err != nil {
			return err
		}
	}
	if err := checkWeb(staged, files); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil { // damaged, or it would have been taken
		return err
	}
	return os.Rename(staged, folder)
}
