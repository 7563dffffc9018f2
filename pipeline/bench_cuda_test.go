//go:build bench

package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

const (
	// cudaModels chooses what TestBenchCUDA measures, of timm's vit_*_patch16_224.
	cudaModels = "RELEVIT_BENCH_CUDA"
	// cudaBatches chooses the batches.
	cudaBatches = "RELEVIT_BENCH_BATCH"
	// cudaPython names a Python with PyTorch and timm.
	cudaPython = "RELEVIT_BENCH_PYTHON"

	cudaWarmUp, cudaSteps = 3, 11
)

var cudaPrecisions = []string{"fp32", "tf32", "bf16"}

// cudaRow is one way of computing a step.
type cudaRow struct {
	Precision string  `json:"precision"`
	How       string  `json:"how"`
	Seconds   float64 `json:"seconds"` // median
	Bytes     int64   `json:"bytes"`   // of the GPU's memory
	Error     string  `json:"error"`

	first, last float64 // losses of the first step and of the last
}

// TestBenchCUDA prints seconds and memory of a step on the first GPU, in each
// precision, and beside PyTorch where the machine's Python has it. The share of the
// roof is that of the rate at which the GPU multiplies two large matrices in the
// same precision, counting the work of products alone.
func TestBenchCUDA(t *testing.T) {
	opt := orttest.NeedCUDA(t)
	on, err := opt.Find()
	if err != nil {
		t.Fatal(err)
	}
	info, err := ort.Current()
	if err != nil {
		t.Fatal(err)
	}
	roofs := map[string]float64{}
	for _, precision := range cudaPrecisions {
		roofs[precision] = cudaRate(t, opt, precision)
	}
	fmt.Printf("\n%v, ONNX Runtime %s, %s. 224x224, first order, AdamW; medians of %d steps.\n", on, info.Version, time.Now().Format("2 January 2006"), cudaSteps)
	fmt.Printf("Products of two large matrices: fp32 %.1f, tf32 %.1f, bf16 %.1f TFLOP/s.\n", roofs["fp32"]/1e12, roofs["tf32"]/1e12, roofs["bf16"]/1e12)
	eachOnCUDA(t, "base,large", func(m *Model, size string, batch int64) {
		var rows []cudaRow
		products := 0.0
		for _, precision := range cudaPrecisions {
			for _, replay := range []bool{false, true} {
				row, operations := cudaStep(t, m, batch, precision, replay, opt)
				rows = append(rows, row)
				products = operations
			}
		}
		theirs, about := pytorch(t, size, batch)
		fmt.Printf("%.2f TFLOP in products; %s\n\n", products/1e12, about)
		printCUDA(append(rows, theirs...), products, roofs)
	})
}

// TestProfileCUDA prints what a step's parts and the training graph's operators
// cost on the first GPU. Where the process waits for every kernel
// (CUDA_LAUNCH_BLOCKING=1), an operator's time is its kernels'.
func TestProfileCUDA(t *testing.T) {
	opt := orttest.NeedCUDA(t)
	eachOnCUDA(t, "base", func(m *Model, _ string, batch int64) {
		for _, precision := range cudaPrecisions {
			fmt.Printf("%s: ", precision)
			profileCUDA(t, m, batch, precision, opt)
		}
	})
}

// eachOnCUDA measures models, those of standard where the environment names none,
// with each batch.
func eachOnCUDA(t *testing.T, standard string, measure func(m *Model, size string, batch int64)) {
	t.Helper()
	for _, size := range chosen(cudaModels, standard) {
		path, _, weights := benchModel(t, size)
		m, err := OpenModel(path, ModelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, batch := range batches(t) {
			fmt.Printf("\nvit_%s_patch16_224, %s, batch %d\n", size, weights, batch)
			measure(m, size, batch)
		}
	}
}

func profileCUDA(t *testing.T, m *Model, batch int64, precision string, opt ort.Options) {
	t.Helper()
	opt.TF32, opt.Profile = precision == "tf32", filepath.Join(t.TempDir(), "profile")
	gs, _ := cudaGraphs(t, m, batch, precision)
	s, err := NewStepper(gs, batch, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in, err := s.NewInputs(gs)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	fillBatch(in)
	var parts [3]float64
	for step := range cudaWarmUp {
		if parts, err = cudaParts(s, in, step); err != nil {
			t.Fatal(err)
		}
	}
	path, err := s.EndProfile()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("losses and gradients %.4f s, looking for NaN %.4f s, update %.4f s\n%v\n", parts[0], parts[1], parts[2], readProfile(t, path))
}

func batches(t *testing.T) (sizes []int64) {
	for _, text := range chosen(cudaBatches, "8,64") {
		var batch int64
		if _, err := fmt.Sscan(text, &batch); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, batch)
	}
	return sizes
}

func chosen(variable, standard string) []string {
	if v := os.Getenv(variable); v != "" {
		standard = v
	}
	return strings.Split(standard, ",")
}

// cudaGraphs makes the graphs of a run in a precision, and counts the operations
// in the training graph's products.
func cudaGraphs(t *testing.T, m *Model, batch int64, precision string) (gs *Graphs, operations float64) {
	t.Helper()
	cfg, err := configs.Load([]string{"vit-base"}, []string{"precision=" + precision})
	if err != nil {
		t.Fatal(err)
	}
	gs, err = m.NewGraphs(batch, ObjectiveOf(cfg), AdamWOf(cfg), nil)
	if err == nil {
		operations = work(t, gs.Training)
		err = gs.SetPrecision(precision, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return gs, operations
}

// cudaStep measures steps as finetune makes them: the batch goes up, the losses
// come down, gradients are looked at, parameters updated. Where the GPU has too
// little memory the row says so.
func cudaStep(t *testing.T, m *Model, batch int64, precision string, replay bool, opt ort.Options) (row cudaRow, operations float64) {
	t.Helper()
	row = cudaRow{Precision: precision, How: "relevit"}
	if replay {
		row.How = "relevit, replayed"
	}
	gs, operations := cudaGraphs(t, m, batch, precision)
	opt.TF32, opt.Replay = precision == "tf32", replay
	place, err := opt.Place()
	if err != nil {
		t.Fatal(err)
	}
	before, err := place.Used()
	if err != nil {
		t.Fatal(err)
	}
	row.Error = said(row.steps(gs, batch, opt))
	if row.Bytes != 0 {
		row.Bytes -= before
	}
	return row, operations
}

func said(err error) string {
	var memory *ort.MemoryError
	if errors.As(err, &memory) {
		return "no memory"
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func (row *cudaRow) steps(gs *Graphs, batch int64, opt ort.Options) error {
	s, err := NewStepper(gs, batch, opt)
	if err != nil {
		return err
	}
	defer s.Close()
	in, err := s.NewInputs(gs)
	if err != nil {
		return err
	}
	defer in.Close()
	fillBatch(in)
	var seconds []float64
	for step := range cudaWarmUp + cudaSteps {
		parts, err := cudaParts(s, in, step)
		if err != nil {
			return err
		}
		seconds = append(seconds, parts[0]+parts[1]+parts[2])
		row.last = s.Losses()["total"]
		if step == 0 {
			row.first = row.last
		}
	}
	row.Seconds = median(seconds[cudaWarmUp:])
	row.Bytes, err = s.place.Used()
	return err
}

// cudaParts makes a step, counted from 0, and returns the seconds for losses and
// gradients, for looking at these, and for the update.
func cudaParts(s *Stepper, in Inputs, step int) (parts [3]float64, err error) {
	if err := in.Send(); err != nil { // the loader's goroutine does this beside the step before
		return parts, err
	}
	start := time.Now()
	if err := s.Compute(in); err != nil {
		return parts, err
	}
	computed := time.Now()
	if bad, err := s.NotFinite(); err != nil || bad >= 0 {
		return parts, errors.Join(err, fmt.Errorf("gradient %d, loss %v", bad, s.Losses()["total"]))
	}
	looked := time.Now()
	err = s.Update(3e-6, int64(step+1))
	return [3]float64{computed.Sub(start).Seconds(), looked.Sub(computed).Seconds(), time.Since(looked).Seconds()}, err
}

// cudaRate measures what the GPU gives in a precision, in operations per second:
// the best of several products of two square matrices.
func cudaRate(t *testing.T, opt ort.Options, precision string) float64 {
	t.Helper()
	const n = 8192
	dtype := map[string]onnx.DType{"fp32": onnx.Float, "tf32": onnx.Float, "bf16": onnx.BFloat16}[precision]
	g := onnx.NewGraph("product")
	b := onnx.NewBuilder(g)
	x, y := g.AddInput("x", dtype, onnx.ShapeOf(n, n)), g.AddInput("y", dtype, onnx.ShapeOf(n, n))
	g.Outputs = []*onnx.Value{b.Named("z", b.MatMul(x, y))}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	data, err := Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	opt.TF32 = precision == "tf32"
	s, err := ort.NewSession(data, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	place, err := opt.Place()
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, n*n)
	noise(values)
	raw, err := onnx.FloatTensor(values, n, n).As(dtype)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "y", "z"} {
		buffer, err := place.NewBuffer(dtype, n, n)
		if err != nil {
			t.Fatal(err)
		}
		defer buffer.Close()
		if err := errors.Join(buffer.Write(raw.Raw), s.Bind(name, buffer)); err != nil {
			t.Fatal(err)
		}
	}
	best := 0.0
	for range 20 {
		start := time.Now()
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		best = max(best, 2*n*n*n/time.Since(start).Seconds())
	}
	return best
}

// pytorch runs the step in PyTorch on the same GPU; without one there are no rows,
// and about says why.
func pytorch(t *testing.T, size string, batch int64) (rows []cudaRow, about string) {
	python := os.Getenv(cudaPython)
	if python == "" {
		python = "python3"
	}
	var problem bytes.Buffer
	cmd := exec.Command(python, filepath.Join("testdata", "bench", "vit_cuda.py"), "vit_"+size+"_patch16_224", fmt.Sprint(batch), "cuda", fmt.Sprint(cudaSteps))
	cmd.Stderr = &problem
	out, err := cmd.Output()
	about, lines, _ := strings.Cut(string(out), "\n")
	if about == "" {
		lines := strings.Split(strings.TrimSpace(problem.String()), "\n")
		return nil, fmt.Sprintf("without PyTorch (%s names a Python that has it and timm): %v: %s", cudaPython, err, lines[len(lines)-1])
	}
	for line := range strings.Lines(lines) {
		var row cudaRow
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Errorf("%s printed %q: %v", python, line, err)
			continue
		}
		row.How = "PyTorch, " + row.How
		rows = append(rows, row)
	}
	return rows, about
}

func printCUDA(rows []cudaRow, operations float64, roofs map[string]float64) {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "precision\t\ts/step\tx eager\tGB\tTFLOP/s\tof the roof\tfirst loss\tlast loss\t\n")
	for _, precision := range []string{"fp32", "tf32", "bf16"} {
		eager := slices.IndexFunc(rows, func(r cudaRow) bool { return r.Precision == precision && r.How == "PyTorch, eager" && r.Error == "" })
		for _, r := range rows {
			if r.Precision != precision {
				continue
			}
			if r.Error != "" {
				fmt.Fprintf(w, "%s\t%s\t%s\t\t\t\t\t\t\t\n", precision, r.How, r.Error)
				continue
			}
			ratio := ""
			if eager >= 0 {
				ratio = fmt.Sprintf("%.2f", rows[eager].Seconds/r.Seconds)
			}
			fmt.Fprintf(w, "%s\t%s\t%.4f\t%s\t%.2f\t%.1f\t%.0f %%\t", precision, r.How, r.Seconds, ratio, float64(r.Bytes)/1e9,
				operations/r.Seconds/1e12, 100*operations/r.Seconds/roofs[precision])
			if strings.HasPrefix(r.How, "relevit") {
				base := rows[0] // float32
				off := func(x, y float64) string { return fmt.Sprintf("%.6f (%+.1e)", x, (x-y)/math.Abs(y)) }
				fmt.Fprintf(w, "%s\t%s\t\n", off(r.first, base.first), off(r.last, base.last))
			} else {
				fmt.Fprint(w, "\t\t\n")
			}
		}
	}
	w.Flush()
}
