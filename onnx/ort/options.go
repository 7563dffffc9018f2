package ort

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	binding "github.com/yalue/onnxruntime_go"
)

// Options say how a session runs. The zero value is what was measured to be
// best for training: sequential execution on all cores, one arena for all
// sessions (which rarely run at once), and no memory pattern (which costs 1.5
// times the memory and gains nothing).
type Options struct {
	Threads int    // within one operator; 0 means all cores this process may use
	Device  string // "" or "cpu", "cuda", "cuda:N"
	AsIs    bool   // run the nodes as written, without graph optimizations
	Repeats bool   // run nodes that compute the same as often as they are there
	Profile string // prefix of a JSON profile that EndProfile completes; "" means none
	Name    string // what messages call a model given as bytes; "" means "the graph"
	Library string // what Load loads, a library or its folder; "" means what is loaded already, or else what Locate finds
}

// Load loads the runtime, once whatever else a command needs has been read: a
// bad file is told of without one.
func (o Options) Load() error {
	if o.Library == "" {
		if _, err := Current(); err == nil {
			return nil
		}
	}
	return Load(o.Library)
}

// CheckDevice reports whether s reads as a device, before anything is loaded.
func CheckDevice(s string) error {
	_, _, err := parseDevice(s)
	return err
}

// parseDevice returns the CUDA ordinal and whether s names a CUDA device.
func parseDevice(s string) (ordinal int, cuda bool, err error) {
	if s == "" || s == "cpu" {
		return 0, false, nil
	}
	name, number, numbered := strings.Cut(s, ":")
	if name == "cuda" && !numbered {
		return 0, true, nil
	}
	n, err := strconv.Atoi(number)
	if name != "cuda" || err != nil || n < 0 {
		return 0, false, fmt.Errorf("device %q: expected cpu, cuda or cuda:N", s)
	}
	return n, true, nil
}

// session translates o for the binding; the caller destroys the result.
func (o Options) session() (*binding.SessionOptions, error) {
	ordinal, cuda, err := parseDevice(o.Device)
	if err != nil {
		return nil, err
	}
	if o.Threads < 0 {
		return nil, fmt.Errorf("%d threads: expected 0 (all cores) or more", o.Threads)
	}
	threads := o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0) // knows container limits, which ONNX Runtime doesn't
	}
	level := binding.GraphOptimizationLevel(binding.GraphOptimizationLevelEnableAll)
	if o.AsIs {
		level = binding.GraphOptimizationLevelDisableAll
	}
	so, err := binding.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		so.SetIntraOpNumThreads(threads),
		so.SetInterOpNumThreads(1),
		so.SetExecutionMode(binding.ExecutionModeSequential),
		so.SetCpuMemArena(true),
		so.AddSessionConfigEntry("session.use_env_allocators", "1"),
		so.SetMemPattern(false),
		so.SetGraphOptimizationLevel(level),
	)
	if err == nil && o.Repeats {
		err = so.AddSessionConfigEntry("optimization.disable_specified_optimizers", "CommonSubexpressionElimination")
	}
	if err == nil && o.Profile != "" {
		err = so.EnableProfiling(o.Profile)
	}
	if err == nil && cuda {
		err = addCUDA(so, ordinal)
	}
	if err != nil {
		so.Destroy()
		return nil, err
	}
	return so, nil
}

const cudaProvider = "CUDAExecutionProvider"

// addCUDA puts CUDA before the CPU. Where it can't run that is an error: a
// graph which silently ran on the CPU would only look slow.
func addCUDA(so *binding.SessionOptions, ordinal int) error {
	info, err := Current()
	if err != nil {
		return err
	}
	if !slices.Contains(info.Providers, cudaProvider) {
		return &MissingError{
			What:   fmt.Sprintf("device cuda:%d", ordinal),
			Found:  fmt.Sprintf("%s (version %s) has no CUDA, only %s", info.Path, info.Version, strings.Join(info.Providers, ", ")),
			Advice: "name the library of a GPU build by --runtime, with its provider libraries beside it, or use --device cpu",
		}
	}
	co, err := binding.NewCUDAProviderOptions()
	if err != nil {
		return noCUDA(ordinal, err)
	}
	defer co.Destroy()
	if err := co.Update(map[string]string{"device_id": strconv.Itoa(ordinal)}); err != nil {
		return noCUDA(ordinal, err)
	}
	if err := so.AppendExecutionProviderCUDA(co); err != nil {
		return noCUDA(ordinal, err)
	}
	return nil
}

func noCUDA(ordinal int, err error) error {
	return &MissingError{
		What:   fmt.Sprintf("device cuda:%d", ordinal),
		Found:  "it can't be used",
		Advice: "check the driver and that the CUDA and cuDNN libraries can be found, or use --device cpu",
		Err:    err,
	}
}
