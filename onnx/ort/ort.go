// Package ort runs graphs on ONNX Runtime. It finds or installs the shared
// library, opens sessions, and binds buffers to their inputs and outputs, so
// that a training step neither copies nor allocates.
//
// The Go binding opens the library, its environment and its sessions. What it
// lacks, and a training loop needs, is reached through the small C layer of
// api.h. Nothing outside this package imports the binding.
package ort

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	binding "github.com/yalue/onnxruntime_go"
)

// apiLevel is the version of the C API that the binding speaks; a library
// offers the levels up to its own minor version.
const (
	apiLevel = 24
	oldest   = "1.24"
)

// Info describes the loaded runtime.
type Info struct {
	Path       string   `json:"path"`
	Version    string   `json:"version"`
	APIVersion int      `json:"api_version"` // highest API level that the library offers
	Providers  []string `json:"providers"`   // execution providers built into it
}

// loaded is the process's one runtime; ONNX Runtime can't be loaded twice.
var loaded struct {
	sync.Mutex
	ready  bool
	info   Info
	api    capi
	memory handle // describes memory of the CPU
}

// Init loads the library at path, once per process. Loading the same library
// again does nothing; another one is an error. A file that isn't a runtime that
// we can use gives a *MissingError.
func Init(path string) error {
	loaded.Lock()
	defer loaded.Unlock()
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("finding the runtime library %s: %w", path, err)
	}
	if loaded.ready {
		if loaded.info.Path == abs {
			return nil
		}
		return fmt.Errorf("loading runtime library %s: this process already uses %s", abs, loaded.info.Path)
	}
	api, version, err := probe(abs)
	if err != nil {
		return err
	}
	binding.SetSharedLibraryPath(abs)
	if err := binding.InitializeEnvironment(); err != nil {
		return &MissingError{What: wanted, Found: abs + " can't be started", Advice: advice, Err: err}
	}
	info := Info{Path: abs, Version: version, APIVersion: minor(version)}
	if info.Providers, err = api.providers(); err != nil {
		return fmt.Errorf("listing the execution providers of %s: %w", abs, err)
	}
	memory, err := api.cpuMemory()
	if err == nil {
		err = api.shareArena(memory)
	}
	if err != nil {
		return fmt.Errorf("starting %s: %w", abs, err)
	}
	loaded.ready, loaded.info, loaded.api, loaded.memory = true, info, api, memory
	return nil
}

// probe opens the library at path and makes sure that we can use it.
func probe(path string) (api capi, version string, err error) {
	lib, version, err := openLibrary(path)
	if err != nil {
		return capi{}, "", &MissingError{What: wanted, Found: path + " can't be loaded", Advice: advice, Err: err}
	}
	if !tooOld(version) {
		if api, ok := apiOf(lib, apiLevel); ok {
			return api, version, nil
		}
	}
	return capi{}, "", &MissingError{
		What:   wanted,
		Found:  fmt.Sprintf("%s is version %s, too old: relevit needs %s or newer", path, version, oldest),
		Advice: advice,
	}
}

// Current returns what is loaded; before Init it is an error.
func Current() (Info, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if !loaded.ready {
		return Info{}, errNotLoaded
	}
	return loaded.info, nil
}

var errNotLoaded = errors.New("ONNX Runtime isn't loaded yet: call ort.Init first")

// current returns the C functions and the description of CPU memory.
func current() (capi, handle, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if !loaded.ready {
		return capi{}, nil, errNotLoaded
	}
	return loaded.api, loaded.memory, nil
}

// tooOld reports whether a version such as 1.22.0 lacks the API level that we
// use. Versions that don't read as numbers are left to the library to refuse.
func tooOld(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && (n < 1 || n == 1 && minor(version) < apiLevel)
}

// minor is the second number of a version, which is also its API level.
func minor(version string) int {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(parts[1])
	return n
}
