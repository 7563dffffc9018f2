package ort

// #include <stdlib.h>
// #include "cuda.h"
import "C"

import (
	"debug/elf"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

const (
	cudaProvider = "CUDAExecutionProvider"
	driver       = "libcuda.so.1"
	cpuInstead   = "or use --device cpu"
	newDriver    = "install NVIDIA's driver of version 580 or newer, " + cpuInstead
	install      = "run `relevit runtime install --cuda` (in a clone: `make runtime-cuda`)"
)

// gpu is what makes one GPU usable: the driver, the libraries, and the functions
// for its memory.
type gpu struct {
	ordinal int
	name    string // as its maker calls it
	c       *C.cuda_t
}

// gpus remembers what openGPU found, by ordinal.
var gpus struct {
	sync.Mutex
	opened map[int]*gpu
}

// openGPU loads what CUDA sessions need and finds the GPU, once. What is missing
// is told by a *MissingError: the provider in the runtime, the driver, a shared
// library, or the GPU.
func openGPU(ordinal int) (*gpu, error) {
	gpus.Lock()
	defer gpus.Unlock()
	if g := gpus.opened[ordinal]; g != nil {
		return g, nil
	}
	g, err := findGPU(ordinal)
	if err != nil {
		return nil, err
	}
	if gpus.opened == nil {
		gpus.opened = map[int]*gpu{}
	}
	gpus.opened[ordinal] = g
	return g, nil
}

func findGPU(ordinal int) (*gpu, error) {
	info, err := Current()
	if err != nil {
		return nil, err
	}
	g := &gpu{ordinal: ordinal}
	version, missing := g.probe()
	if !slices.Contains(info.Providers, cudaProvider) {
		found := fmt.Sprintf("%s (version %s) has no CUDA, only %s", info.Path, info.Version, strings.Join(info.Providers, ", "))
		advice := install + " and leave --runtime out, " + cpuInstead
		if missing != nil {
			missing.Found = found + ", and " + missing.Found
			missing.Advice = "if there is a GPU, " + advice
			return nil, missing
		}
		return nil, g.missing(found, advice, nil)
	}
	if missing != nil {
		return nil, missing
	}
	const oldest = 13000 // CUDA 13.0
	if version < oldest && usesOurs() {
		return nil, g.missing(fmt.Sprintf("the NVIDIA driver is for CUDA %d.%d, too old", version/1000, version%1000/10), newDriver, nil)
	}
	cudart, err := loadCUDA(filepath.Dir(info.Path))
	if err != nil {
		return nil, g.missing("a shared library that CUDA needs can't be loaded",
			install+", or install CUDA and cuDNN of the versions that the runtime was built for, "+cpuInstead, err)
	}
	g.c = (*C.cuda_t)(C.calloc(1, C.sizeof_cuda_t)) // for good: buffers keep it
	if err := cudaError(C.cuda_open(g.c, cudart, C.int(ordinal))); err != nil {
		return nil, g.missing("libcudart can't be used", "install the CUDA that the runtime was built for, "+cpuInstead, err)
	}
	return g, nil
}

func (g *gpu) missing(found, advice string, err error) *MissingError {
	return &MissingError{What: fmt.Sprintf("device cuda:%d", g.ordinal), Found: found, Advice: advice, Err: err}
}

// probe asks the driver for the GPU, and returns the driver's version.
func (g *gpu) probe() (version int, _ *MissingError) {
	lib, err := loadLibrary(driver)
	if err != nil {
		return 0, g.missing("this machine has no NVIDIA driver", newDriver, err)
	}
	var v, count C.int
	var name [128]C.char
	if err := cudaError(C.driver_probe(lib, C.int(g.ordinal), &v, &count, &name[0])); err != nil {
		return 0, g.missing("the NVIDIA driver ("+driver+") doesn't work", "check by nvidia-smi that the machine has a GPU and a driver that fits it, "+cpuInstead, err)
	}
	if g.ordinal >= int(count) {
		return 0, g.missing(fmt.Sprintf("the NVIDIA driver finds %d GPUs", count),
			"choose one of them, counted from 0 (CUDA_VISIBLE_DEVICES hides GPUs), "+cpuInstead, nil)
	}
	g.name = C.GoString(&name[0])
	return int(v), nil
}

// usesOurs reports whether the loaded runtime is the one of InstallCUDA, whose
// CUDA we know.
func usesOurs() bool {
	info, err := Current()
	if err != nil {
		return false
	}
	path, err := locateCUDA()
	return err == nil && path == info.Path
}

// loadCUDA loads, ahead of ONNX Runtime, the libraries that its CUDA provider
// needs, and returns libcudart. The provider has no run path, so the system
// wouldn't find libraries beside it; but what is loaded already, under the same
// name, it takes. Libraries that aren't beside it are left to the system.
func loadCUDA(folder string) (cudart handle, err error) {
	provider := filepath.Join(folder, "libonnxruntime_providers_cuda.so")
	needs, err := needsOf(provider)
	if err != nil {
		return nil, err
	}
	l := loading{folder: folder, loaded: map[string]handle{}}
	for _, name := range slices.Concat(needs, cudaLibraries(folder)) {
		lib, err := l.load(name)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(name, "libcudart.so.") {
			cudart = lib
		}
	}
	if cudart == nil {
		return nil, fmt.Errorf("%s doesn't say which libcudart it needs", provider)
	}
	return cudart, nil
}

// loading loads libraries, each after those that it needs.
type loading struct {
	folder string
	loaded map[string]handle
}

func (l *loading) load(name string) (handle, error) {
	if lib := l.loaded[name]; lib != nil {
		return lib, nil
	}
	path := filepath.Join(l.folder, name)
	if !isFile(path) {
		return loadLibrary(name)
	}
	needs, err := needsOf(path)
	if err != nil {
		return nil, err
	}
	for _, n := range needs {
		if isFile(filepath.Join(l.folder, n)) {
			if _, err := l.load(n); err != nil {
				return nil, err
			}
		}
	}
	lib, err := loadLibrary(path)
	l.loaded[name] = lib
	return lib, err
}

// needsOf lists the libraries that one names as needed.
func needsOf(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ImportedLibraries()
}

func loadLibrary(path string) (handle, error) {
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	// dlerror's text is the thread's
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var why *C.char
	lib := C.lib_load(cpath, &why)
	if lib == nil {
		return nil, errors.New(C.GoString(why))
	}
	return lib, nil
}

// cudaError makes an error of what a function of cuda.h returns.
func cudaError(text *C.char) error {
	if text == nil {
		return nil
	}
	return errors.New(C.GoString(text))
}

func (g *gpu) String() string { return fmt.Sprintf("cuda:%d (%s)", g.ordinal, g.name) }

// The GPU's memory; see memory in place.go.

func (g *gpu) alloc(bytes int64) (p unsafe.Pointer, err error) {
	err = cudaError(C.cuda_alloc(g.c, C.size_t(max(bytes, 64)), &p))
	return p, err
}

func (g *gpu) free(p unsafe.Pointer) { C.cuda_free(g.c, p) }

func (g *gpu) stage(bytes int64) (p unsafe.Pointer, err error) {
	err = cudaError(C.cuda_alloc_host(g.c, C.size_t(max(bytes, 64)), &p))
	return p, err
}

func (g *gpu) unstage(p unsafe.Pointer) { C.cuda_free_host(g.c, p) }

func (g *gpu) copy(to, from unsafe.Pointer, bytes int, way direction) error {
	kind := map[direction]C.int{up: C.COPY_UP, down: C.COPY_DOWN, within: C.COPY_WITHIN}[way]
	return cudaError(C.cuda_copy(g.c, to, from, C.size_t(bytes), kind))
}

func (g *gpu) info(api capi) (handle, error) { return api.memoryInfo("Cuda", g.ordinal) }

// used is how many bytes of the GPU's memory are taken, by whomever.
func (g *gpu) used() (int64, error) {
	var free, total C.size_t
	err := cudaError(C.cuda_memory(g.c, &free, &total))
	return int64(total - free), err
}
