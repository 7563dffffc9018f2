package ort

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const (
	envRuntime = "RELEVIT_RUNTIME" // path of the library, or of its folder
	envCache   = "RELEVIT_CACHE"   // replaces the per-user cache folder
)

// CacheDir is where relevit keeps what it fetched: $RELEVIT_CACHE, or relevit
// in the user's cache folder.
func CacheDir() (string, error) {
	if dir := os.Getenv(envCache); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder (set %s): %w", envCache, err)
	}
	return filepath.Join(dir, "relevit"), nil
}

// Locate finds the runtime library: what the --runtime flag names, then
// $RELEVIT_RUNTIME, then what Install put into the cache, or InstallCUDA, then
// beside the executable, then where systems keep libraries. A flag or a variable
// that names nothing is a *MissingError, and so is finding none at all.
func Locate(flag string) (string, error) { return locate(flag, false) }

// locate finds the library, with cuda what InstallCUDA put into the cache before
// what Install did.
func locate(flag string, cuda bool) (string, error) {
	if flag != "" {
		return named(flag, "--runtime")
	}
	if env := os.Getenv(envRuntime); env != "" {
		return named(env, envRuntime)
	}
	withCUDA, cudaErr := locateCUDA()
	if cuda && cudaErr == nil {
		return withCUDA, nil
	}
	if cache, err := CacheDir(); err == nil {
		for _, b := range platformBuilds() {
			if p := b.path(cache); isFile(p) {
				return p, nil
			}
		}
	}
	if cudaErr == nil { // it runs graphs on the CPU as well
		return withCUDA, nil
	}
	dirs := slices.DeleteFunc(searchDirs(), func(dir string) bool { return dir == "" })
	for _, dir := range dirs {
		if p := inDir(dir); p != "" {
			return p, nil
		}
	}
	return "", &MissingError{
		What:   wanted,
		Found:  "none in the cache, beside the program, or in " + strings.Join(dirs, ", "),
		Advice: advice,
	}
}

// Load locates the library and initializes it.
func Load(flag string) error {
	path, err := Locate(flag)
	if err != nil {
		return err
	}
	return Init(path)
}

func named(path, by string) (string, error) {
	st, err := os.Stat(path)
	switch {
	case err == nil && !st.IsDir():
		return path, nil
	case err == nil:
		if p := inDir(path); p != "" {
			return p, nil
		}
		err = fmt.Errorf("no %s in that folder", libraryName())
	case errors.Is(err, fs.ErrNotExist):
		err = fs.ErrNotExist
	}
	return "", &MissingError{What: wanted, Found: fmt.Sprintf("%s names %s", by, path), Advice: advice, Err: err}
}

func libraryName() string {
	if runtime.GOOS == "darwin" {
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}

// inDir returns the library in a folder, under its plain name or with a version
// in it, the highest one; "" if there is none.
func inDir(dir string) string {
	if p := filepath.Join(dir, libraryName()); isFile(p) {
		return p
	}
	pattern := libraryName() + ".*"
	if runtime.GOOS == "darwin" {
		pattern = "libonnxruntime.*.dylib"
	}
	matches, _ := filepath.Glob(filepath.Join(dir, pattern))
	best := ""
	for _, m := range matches {
		if isFile(m) && (best == "" || newer(m, best)) {
			best = m
		}
	}
	return best
}

// newer compares names by the numbers in them, so that 1.32 comes after 1.9.
func newer(a, b string) bool {
	na, nb := numbers(filepath.Base(a)), numbers(filepath.Base(b))
	for i := range min(len(na), len(nb)) {
		if na[i] != nb[i] {
			return na[i] > nb[i]
		}
	}
	return len(na) > len(nb)
}

func numbers(s string) []int {
	var out []int
	in := false
	for _, r := range s {
		if r < '0' || r > '9' {
			in = false
			continue
		}
		if !in {
			out = append(out, 0)
			in = true
		}
		out[len(out)-1] = out[len(out)-1]*10 + int(r-'0')
	}
	return out
}

func searchDirs() []string {
	var dirs []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dirs = append(dirs, filepath.Dir(exe))
	}
	if runtime.GOOS == "darwin" {
		dirs = append(dirs, filepath.SplitList(os.Getenv("DYLD_LIBRARY_PATH"))...)
		return append(dirs, "/opt/homebrew/lib", "/usr/local/lib")
	}
	dirs = append(dirs, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	triple := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	if triple != "" {
		dirs = append(dirs, "/usr/local/lib/"+triple, "/usr/lib/"+triple)
	}
	return append(dirs, "/usr/local/lib", "/usr/lib64", "/usr/lib", "/opt/onnxruntime/lib")
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}
