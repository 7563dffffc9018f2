package ort

import (
	"errors"
	"fmt"
	"runtime"
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
	Device  string // "" or "cpu", "cuda", "cuda:N"; "auto": cuda where that works, else cpu
	AsIs    bool   // run the nodes as written, without graph optimizations
	Rows    bool   // the graph is of our own making and may have nodes of passes.FuseRows, FuseHeads and FuseProducts, for the CPU
	Repeats bool   // run nodes that compute the same as often as they are there
	Profile string // prefix of a JSON profile that EndProfile completes; "" means none
	Name    string // what messages call a model given as bytes; "" means "the graph"
	Library string // what Load loads, a library or its folder; "" means what is loaded already, or else what Locate finds

	TF32   bool // on a GPU, multiply float32 with 10 bits after the point; it is never done unasked
	Replay bool // on a GPU, replay a run as one CUDA graph; every input and output must be a buffer of its Place
	Apart  bool // on the CPU, keep the buffers of its Place apart from Go, as a GPU's are: what is right so is right there

	OnDevice func(Device) // told by Load which one it found, where Device asks for another than the CPU; may be nil
}

// Load loads the runtime, once whatever else a command needs has been read: a
// bad file is told of without one. A GPU that is asked for has run a graph by
// then, or Load says what is missing.
func (o Options) Load() error {
	_, wanted, err := parseDevice(o.Device)
	if err != nil {
		return err
	}
	if _, err := Current(); err != nil || o.Library != "" {
		withCUDA := wanted
		if o.Device == automatic { // without a GPU the other library is as good, and newer
			_, missing := (&gpu{}).probe()
			withCUDA = missing == nil
		}
		path, err := locate(o.Library, withCUDA)
		if err != nil {
			return err
		}
		if err := Init(path); err != nil {
			return err
		}
	}
	if !wanted {
		return nil
	}
	found, err := o.Find()
	if err == nil && o.OnDevice != nil {
		o.OnDevice(found)
	}
	return err
}

// CheckDevice reports whether s reads as a device, before anything is loaded.
func CheckDevice(s string) error {
	_, _, err := parseDevice(s)
	return err
}

// parseDevice returns the CUDA ordinal and whether s names a CUDA device or
// leaves the choice.
func parseDevice(s string) (ordinal int, cuda bool, err error) {
	switch s {
	case "", "cpu":
		return 0, false, nil
	case automatic:
		return 0, true, nil
	}
	name, number, numbered := strings.Cut(s, ":")
	if name == "cuda" && !numbered {
		return 0, true, nil
	}
	n, err := strconv.Atoi(number)
	if name != "cuda" || err != nil || n < 0 {
		return 0, false, fmt.Errorf("device %q: expected cpu, cuda, cuda:N or auto", s)
	}
	return n, true, nil
}

func (o Options) threads() int {
	if o.Threads == 0 {
		return runtime.GOMAXPROCS(0) // knows container limits, which ONNX Runtime doesn't
	}
	return o.Threads
}

// Lanes is how many runs of one thread each, side by side, keep the device
// busy: as many as there are threads on the CPU, one on CUDA.
func (o Options) Lanes() int {
	if _, cuda, err := parseDevice(o.Device); cuda || err != nil {
		return 1
	}
	return max(o.threads(), 1)
}

// session translates o for the binding; the caller destroys the result.
func (o Options) session() (*binding.SessionOptions, error) {
	ordinal, cuda, err := o.cuda()
	if err != nil {
		return nil, err
	}
	if o.Threads < 0 {
		return nil, fmt.Errorf("%d threads: expected 0 (all cores) or more", o.Threads)
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
		so.SetIntraOpNumThreads(o.threads()),
		so.SetInterOpNumThreads(1),
		so.SetExecutionMode(binding.ExecutionModeSequential),
		so.SetCpuMemArena(true),
		so.AddSessionConfigEntry("session.use_env_allocators", "1"),
		so.AddSessionConfigEntry("session.force_spinning_stop", "1"), // the next run is another session's
		so.SetMemPattern(false),
		so.SetGraphOptimizationLevel(level),
	)
	if err == nil && o.Repeats {
		err = so.AddSessionConfigEntry("optimization.disable_specified_optimizers", "CommonSubexpressionElimination")
	}
	if err == nil && o.Rows {
		err = addRows(so)
	}
	if err == nil && o.Profile != "" {
		err = so.EnableProfiling(o.Profile)
	}
	if err == nil && cuda {
		err = o.addCUDA(so, ordinal)
	}
	if err != nil {
		so.Destroy()
		return nil, err
	}
	return so, nil
}

// addCUDA puts CUDA before the CPU. Where it can't run that is an error: a
// graph which silently ran on the CPU would only look slow.
func (o Options) addCUDA(so *binding.SessionOptions, ordinal int) error {
	if _, err := openGPU(ordinal); err != nil {
		return err
	}
	co, err := binding.NewCUDAProviderOptions()
	if err != nil {
		return noCUDA(ordinal, err)
	}
	defer co.Destroy()
	flag := map[bool]string{false: "0", true: "1"}
	err = co.Update(map[string]string{
		"device_id":             strconv.Itoa(ordinal),
		"use_tf32":              flag[o.TF32], // ONNX Runtime's own choice is 1
		"enable_cuda_graph":     flag[o.Replay],
		"arena_extend_strategy": "kSameAsRequested", // or it takes powers of two
	})
	if err != nil {
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
