package ort_test

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

func TestDenseAndSlicesShareTheBuffersMemory(t *testing.T) {
	orttest.Need(t)
	b := buffer(t, []float32{1, 2, 3, 4, 5, 6}, 2, 3)
	d, err := b.Dense()
	if err != nil {
		t.Fatal(err)
	}
	b.Float32s()[4] = 50
	if got, err := d.At(1, 1); err != nil || got != float32(50) {
		t.Errorf("the tensor's element is %v, %v", got, err)
	}
	if err := d.SetAt(float32(-1), 0, 2); err != nil {
		t.Fatal(err)
	}
	if got := b.Float32s()[2]; got != -1 {
		t.Errorf("the buffer's element is %v", got)
	}
	scalar := buffer(t, []int64{7})
	d, err = scalar.Dense()
	if err != nil || !d.IsScalar() || d.ScalarValue() != int64(7) {
		t.Errorf("scalar is %v, %v", d, err)
	}
	scalar.Int64s()[0] = 8
	if d.ScalarValue() != int64(8) {
		t.Error("a scalar tensor doesn't share its buffer's memory")
	}
	mask := buffer(t, []bool{true, false}, 2)
	if d, err = mask.Dense(); err != nil || d.Len() != 2 {
		t.Errorf("mask is %v, %v", d, err)
	}
	half, err := ort.NewBuffer(onnx.Float16, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	if _, err := half.Dense(); err == nil || len(half.Bytes()) != 8 {
		t.Errorf("float16: %v, %d bytes", err, len(half.Bytes()))
	}
}

func TestConstantsSurviveTheWayThroughABuffer(t *testing.T) {
	orttest.Need(t)
	want := onnx.Int64Tensor([]int64{-1, 1 << 40, 3}, 3, 1)
	b, err := ort.BufferFrom(want)
	if err != nil {
		t.Fatal(err)
	}
	got := b.Tensor()
	b.Close()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, expected %v", got, want)
	}
	want.Raw = want.Raw[:7]
	if _, err := ort.BufferFrom(want); err == nil {
		t.Error("a constant with too few bytes is accepted")
	}
}

func TestImpossibleBuffersAreErrors(t *testing.T) {
	orttest.Need(t)
	for _, shape := range [][]int64{{-1}, {1 << 40, 1 << 40}, {1 << 50}} {
		if b, err := ort.NewBuffer(onnx.Float, shape...); err == nil {
			b.Close()
			t.Errorf("shape %v is accepted", shape)
		}
	}
	if _, err := ort.NewBuffer(onnx.String, 2); err == nil {
		t.Error("strings are accepted")
	}
	if _, err := ort.BufferOf([]float32{1, 2, 3}, 2); err == nil {
		t.Error("three elements for two are accepted")
	}
}

func TestRunsDoNotGrowTheProcess(t *testing.T) {
	orttest.Need(t)
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc, which only Linux has")
	}
	const n = 100_000
	s := open(t, momentumModel(n), ort.Options{Threads: 1})
	p := buffer(t, make([]float32, n), n)
	m := buffer(t, make([]float32, n), n)
	bind(t, s, map[string]*ort.Buffer{"p": p, "p.new": p, "m": m, "m.new": m, "g": buffer(t, make([]float32, n), n),
		"sum": buffer(t, []float32{0}), "beta": buffer(t, []float32{0.5}), "lr": buffer(t, []float32{0.1})})
	times := func(n int) {
		for range n {
			if err := s.Run(); err != nil {
				t.Fatal(err)
			}
		}
	}
	times(50)
	before := resident(t)
	allocs := testing.AllocsPerRun(1000, func() { times(1) })
	if grown := resident(t) - before; grown > 8<<20 {
		t.Errorf("1000 runs grew the process by %d bytes", grown)
	}
	if allocs > 1 {
		t.Errorf("a run makes %v Go allocations", allocs)
	}
}

// resident is the memory that the process occupies, in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	runtime.GC()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func TestInterruptArrivesDuringARun(t *testing.T) {
	orttest.Need(t)
	const n = 1200
	square := testPort{"x", onnx.Float, []any{n, n}}
	nodes, in := []testNode{}, "x"
	for i := range 12 {
		out := "y" + strconv.Itoa(i)
		nodes = append(nodes, testNode{op: "MatMul", in: []string{in, "x"}, out: []string{out}})
		in = out
	}
	s := open(t, modelBytes([]testPort{square}, []testPort{{in, onnx.Float, []any{n, n}}}, nodes...), ort.Options{Threads: 1})
	x := buffer(t, make([]float32, n*n), n, n)
	y := buffer(t, make([]float32, n*n), n, n)
	bind(t, s, map[string]*ort.Buffer{"x": x, in: y})
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}

	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	var late time.Duration
	for range 10 { // on a busy machine a run may be over before the signal is sent
		done := make(chan time.Time, 1)
		go func() {
			s.Run()
			done <- time.Now()
		}()
		time.Sleep(10 * time.Millisecond)
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		<-interrupts
		arrived := time.Now()
		if late = arrived.Sub(<-done); late <= 0 {
			return
		}
	}
	t.Errorf("the signal always arrived after the run, by %v at last", late)
}

func TestMissingDeviceIsNoSilentFallback(t *testing.T) {
	orttest.Need(t)
	info, err := ort.Current()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.Join(info.Providers, " "), "CUDA") {
		t.Skip("this runtime has CUDA")
	}
	_, err = ort.NewSession(momentumModel(3), ort.Options{Device: "cuda:1"})
	if !ort.IsMissing(err) || !strings.Contains(err.Error(), "device cuda:1") || !strings.Contains(err.Error(), "CPUExecutionProvider") {
		t.Errorf("got %v", err)
	}
	if _, err := ort.NewSession(momentumModel(3), ort.Options{Device: "tpu"}); err == nil || ort.IsMissing(err) {
		t.Errorf("unknown device: %v", err)
	}
}

func TestInfoDescribesTheRuntime(t *testing.T) {
	orttest.Need(t)
	info, err := ort.Current()
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(info.Path) || info.APIVersion < 24 || len(info.Providers) == 0 || !strings.HasPrefix(info.Version, "1.") {
		t.Errorf("info is %+v", info)
	}
	if err := ort.Init(info.Path); err != nil {
		t.Errorf("loading the same library again: %v", err)
	}
	if err := ort.Init("/another/library.so"); err == nil || ort.IsMissing(err) {
		t.Errorf("loading another library: %v", err)
	}
}

func TestBeforeInitThereIsAClearError(t *testing.T) {
	if os.Getenv("RELEVIT_TEST_NO_INIT") != "" {
		_, err := ort.NewSession(nil, ort.Options{})
		_, bufferErr := ort.NewBuffer(onnx.Float, 1)
		_, infoErr := ort.Current()
		if err == nil || bufferErr == nil || infoErr == nil {
			t.Errorf("got %v, %v, %v", err, bufferErr, infoErr)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=TestBeforeInitThereIsAClearError")
	cmd.Env = append(os.Environ(), "RELEVIT_TEST_NO_INIT=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestProfileIsWrittenWhenItEnds(t *testing.T) {
	orttest.Need(t)
	s := open(t, momentumModel(3), ort.Options{Profile: filepath.Join(t.TempDir(), "step")})
	vec := func() *ort.Buffer { return buffer(t, make([]float32, 3), 3) }
	bind(t, s, map[string]*ort.Buffer{"p": vec(), "m": vec(), "g": vec(), "p.new": vec(),
		"beta": buffer(t, []float32{1}), "lr": buffer(t, []float32{1})})
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	path, err := s.EndProfile()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), `"Sub"`) {
		t.Errorf("profile %s: %v, %d bytes", path, err, len(data))
	}
}
