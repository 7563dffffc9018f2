package ort

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// cudaWheel is a package of Python's index with libraries for CUDA in it.
type cudaWheel struct {
	name, version, tag string // tag: of the platform
	folder             string // of the libraries in the package
	libraries          []library
}

// library is a file of a wheel, pinned by its content.
type library struct{ name, sha256 string }

// cudaBuild is ONNX Runtime with CUDA, and the libraries of NVIDIA's that it
// needs besides the driver.
type cudaBuild struct {
	version string
	wheels  []cudaWheel
}

// cudaBuilds lists what runs on a GPU, by platform. The libraries are those of
// the CUDA that ONNX Runtime was built with, 13.0: newer ones of 13 would work,
// but their compiler's output needs drivers as new. cuFFT is left out, which ONNX
// Runtime opens for Fourier transforms alone; cuBLAS is needed, though the
// package's extras don't list it.
var cudaBuilds = map[string]cudaBuild{
	"linux/amd64": {"1.31.1", []cudaWheel{
		{"onnxruntime-gpu", "1.31.1", "manylinux_2_28_x86_64", "onnxruntime/capi", []library{
			{"libonnxruntime.so.1.31.1", "5104254339ecadae808da771bd0b63b240f0dbd466514234905e54372435c303"},
			{"libonnxruntime_providers_shared.so", "086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d"},
			{"libonnxruntime_providers_cuda.so", "8387867e857499e045caff5d13ac6a5de29571c801562fa2dde0e45f1f31de52"},
		}},
		{"nvidia-cuda-runtime", "13.0.96", "manylinux_2_17_x86_64", "nvidia/cu13/lib", []library{
			{"libcudart.so.13", "96c42e418cec19054186b9429c321603cc190bf26a18104e19408117a2a817b0"},
		}},
		{"nvidia-cublas", "13.1.0.3", "manylinux_2_27_x86_64", "nvidia/cu13/lib", []library{
			{"libcublasLt.so.13", "656298c804f5adbb0df930545c17911b9584ab4e5101c0eeb65d1fe881d880f8"},
			{"libcublas.so.13", "e70f38efabe986acd5eb683497c62f0f1730a6176ee291d9d24c6e339d1fbf86"},
		}},
		{"nvidia-curand", "10.4.0.35", "manylinux_2_27_x86_64", "nvidia/cu13/lib", []library{
			{"libcurand.so.10", "b53732a66b302b11926e00f762e2c2ba67058347ff93cf4ae709de45e93e06da"},
		}},
		{"nvidia-cuda-nvrtc", "13.0.88", "manylinux_2_12_x86_64", "nvidia/cu13/lib", []library{
			{"libnvrtc.so.13", "a49e67e8e74590f1e98de55c39c6287efd3f59e3c3797464d7bbe0fe01349b11"},
			{"libnvrtc-builtins.so.13.0", "91dcd944d01da9c0f08fff5d779db136a47f6d62bdb63bae900d2f481e92c3a2"},
		}},
		{"nvidia-cudnn-cu13", "9.26.0.51", "manylinux_2_27_x86_64", "nvidia/cudnn/lib", []library{
			{"libcudnn.so.9", "08308aa4767b3395766de5884e97d404012efc2bd573c2c799f46161d2aded8a"},
			{"libcudnn_adv.so.9", "dead427901fb258e9b49616a28d9e632846c15e55dc16368350aadcc1d85d20a"},
			{"libcudnn_cnn.so.9", "538f1747d3afb26855a5298d222bf6e5f64c5eed4f6646da7bdc12030dcf8c8a"},
			{"libcudnn_engines_precompiled.so.9", "344abee9c22d35adb59b7877a8eba61e6c42370363e92e15a7dde10b277dae77"},
			{"libcudnn_engines_runtime_compiled.so.9", "27a76a3c510cc3d3f7374b9a432257774a7aef980ed203e5529e08ec1e477254"},
			{"libcudnn_engines_tensor_ir.so.9", "30f2309519f08b8870b95791a0fa97d834dac6b9875f21a8dc96df35bb2762ea"},
			{"libcudnn_ext.so.9", "1f438cb2944c2c554ca22708596c5812fbb5cb91206a94987473997668e6d142"},
			{"libcudnn_graph.so.9", "ecf218feb8b5f891df654fb5500523b1ca2bc5602ce5c4e47392a55823815bd3"},
			{"libcudnn_heuristic.so.9", "70df8fcfbe225cf55b54c3702bf33ff66f7e0a706c76c20bac3ff162df0b1423"},
			{"libcudnn_ops.so.9", "35b35884301acd3a9fb11ae7edeb00b81c09917e8bc578a622b21341764f90a8"},
		}},
	}},
}

func platformCUDA() (cudaBuild, bool) {
	b, ok := cudaBuilds[runtime.GOOS+"/"+runtime.GOARCH]
	return b, ok
}

// InstallCUDA puts a pinned ONNX Runtime with CUDA, and the CUDA libraries that it
// needs, into the per-user cache by pip, and returns the library's path: 1.3 GB
// to fetch, 2 GB there. Where they are already, with the right hashes, it does
// nothing. The driver comes with the machine.
func InstallCUDA(ctx context.Context, progress io.Writer) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	b, ok := platformCUDA()
	if !ok {
		return "", &MissingError{What: wantedCUDA, Found: fmt.Sprintf("there is no pinned one for %s/%s", runtime.GOOS, runtime.GOARCH),
			Advice: "build one and name its library by --runtime or " + envRuntime + ", or use --device cpu"}
	}
	return b.installTo(ctx, cache, fetchWheel, progress)
}

const wantedCUDA = "ONNX Runtime with CUDA"

// wheelFetcher downloads a wheel, given as name==version, into dir and returns
// its path.
type wheelFetcher func(ctx context.Context, requirement, tag, dir string, progress io.Writer) (string, error)

// folder is where the libraries lie side by side once installed.
func (b cudaBuild) folder(cache string) string {
	return filepath.Join(cache, "onnxruntime", b.version+"-cuda")
}

// path is where ONNX Runtime's own library lies.
func (b cudaBuild) path(cache string) string {
	return filepath.Join(b.folder(cache), versioned(b.version))
}

func (b cudaBuild) installTo(ctx context.Context, cache string, fetch wheelFetcher, progress io.Writer) (string, error) {
	if b.check(b.folder(cache)) == nil {
		return b.path(cache), nil
	}
	err := b.install(ctx, b.folder(cache), fetch, progress)
	switch {
	case err == nil:
		fmt.Fprintf(progress, "Installed %s\n", b.path(cache))
		return b.path(cache), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	var names []string
	for _, w := range b.wheels {
		names = append(names, w.requirement())
	}
	return "", &MissingError{What: wantedCUDA, Found: "it could not be fetched", Err: err,
		Advice: "install pip, or put the libraries of the wheels " + strings.Join(names, ", ") + " into one folder and name it by --runtime or " + envRuntime}
}

func (w cudaWheel) requirement() string { return w.name + "==" + w.version }

// check compares the libraries in a folder with their hashes.
func (b cudaBuild) check(folder string) error {
	for _, w := range b.wheels {
		if err := w.check(folder); err != nil {
			return err
		}
	}
	return nil
}

func (w cudaWheel) check(folder string) error {
	for _, l := range w.libraries {
		got, err := fileHash(filepath.Join(folder, l.name))
		if err != nil {
			return err
		}
		if got != l.sha256 {
			return fmt.Errorf("%s of %s has SHA-256 %s, expected %s", l.name, w.requirement(), got, l.sha256)
		}
	}
	return nil
}

// install takes the libraries out of the wheels into a temporary folder, checks
// them, and moves them into place in one step. Each wheel goes once it is
// unpacked.
func (b cudaBuild) install(ctx context.Context, folder string, fetch wheelFetcher, progress io.Writer) error {
	parent := filepath.Dir(folder)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, ".fetch-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	staged := filepath.Join(tmp, "libraries")
	if err := os.Mkdir(staged, 0o755); err != nil {
		return err
	}
	for i, w := range b.wheels {
		fmt.Fprintf(progress, "Fetching %s %s with pip, %d of %d\n", w.name, w.version, i+1, len(b.wheels))
		if err := w.install(ctx, tmp, staged, fetch, progress); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(folder); err != nil { // damaged, or it would have been taken
		return err
	}
	return os.Rename(staged, folder)
}

func (w cudaWheel) install(ctx context.Context, tmp, to string, fetch wheelFetcher, progress io.Writer) error {
	dir, err := os.MkdirTemp(tmp, "wheel-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	archive, err := fetch(ctx, w.requirement(), w.tag, dir, progress)
	if err != nil {
		return err
	}
	for _, l := range w.libraries {
		if err := unpack(archive, w.folder+"/"+l.name, filepath.Join(to, l.name)); err != nil {
			return err
		}
	}
	return w.check(to)
}

// locateCUDA finds what InstallCUDA put into the cache.
func locateCUDA() (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	if b, ok := platformCUDA(); ok && isFile(b.path(cache)) {
		return b.path(cache), nil
	}
	return "", errors.New("not installed")
}

// cudaLibraries are the names of a folder's libraries that CUDA opens by itself
// when it comes to need them, so that no other library names them.
func cudaLibraries(folder string) []string {
	var out []string
	for _, pattern := range []string{"libcudnn.so.*", "libnvrtc.so.*", "libcufft.so.*"} {
		found, _ := filepath.Glob(filepath.Join(folder, pattern))
		for _, path := range found {
			out = append(out, filepath.Base(path))
		}
	}
	slices.Sort(out)
	return out
}
