//go:build bench

package pipeline

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/onnx/ort"
)

// step runs forward passes, steps and explaining by turns with each other and
// with PyTorch's.
func (b *bench) step(j job) {
	forward := bareForward(b.T, b.model, ort.Options{})
	first := b.openStep(gradients.FirstOrder, ort.Options{})
	explain := b.openExplaining()
	product, operations := largeProduct(b.T, ort.Options{})
	b.r.Work["forward"], b.r.Work["product"] = forwardWork(b.T, b.model), operations
	r := newRounds(b)
	pytorch := b.startTorch(j, "step", saveInputs(b.T, first.in))
	if pytorch != nil {
		if err := first.compute(); err != nil {
			b.Fatal(err)
		}
		b.r.Differs = pytorch.compare(b.T, first.stepper)
	}
	theirs := func(job string) {
		if pytorch != nil {
			r.took("PyTorch "+job, pytorch.number(b.T, job))
		}
	}
	for round := range j.Rounds + 1 {
		r.timed("product", product)
		r.beside("forward", forward, "step", func() error {
			r.timed("training graph", first.compute)
			r.timed("optimizer graph", first.update)
			return nil
		})
		r.divide("product", "step")
		theirs("eager")
		if pytorch != nil && round == 0 {
			b.r.TheirMB = pytorch.number(b.T, "peak")
		}
		theirs("compiled")
		if pytorch != nil {
			r.divide("step", "PyTorch eager")
			r.divide("step", "PyTorch compiled")
		}
		theirs("forward")
		if round <= j.Seldom {
			r.beside("forward", forward, "explain", explain)
			theirs("explain")
			if pytorch != nil {
				r.divide("PyTorch explain", "explain")
			}
		}
		if round <= 1 && pytorch != nil { // slow, and without a limit
			theirs("second")
			if j.Size != "base" {
				theirs("published")
			}
		}
		r.warm()
	}
	if !first.stepper.Finite() {
		b.Fatalf("losses %v", first.stepper.Losses())
	}
	r.report()
}

// second runs steps of both orders by turns.
func (b *bench) second(j job) {
	first, second := b.openStep(gradients.FirstOrder, ort.Options{}), b.openStep(gradients.SecondOrder, ort.Options{})
	r := newRounds(b)
	for range j.Rounds + 1 {
		r.beside("first order", first.run, "second order", second.run)
		r.warm()
	}
	if !second.stepper.Finite() {
		b.Fatalf("losses %v", second.stepper.Losses())
	}
	r.report()
}

// openExplaining opens the model that --with-relevance writes, and explains a
// batch.
func (b *bench) openExplaining() func() error {
	x, err := newExplainer(b.model, benchBatch, 0, ort.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(x.close)
	images := make([]float32, benchBatch*3*x.size[0]*x.size[1])
	noise(images)
	classes := slices.Repeat([]int64{predicted}, benchBatch)
	return func() error {
		_, _, err := x.run(images, classes)
		return err
	}
}

// measure prints what a model's steps cost.
func (m *benchedModel) measure(t *testing.T) {
	r := measure(t, job{Kind: "step", Model: m.path, Size: m.size, Weights: m.weights, Rounds: m.rounds, Seldom: m.seldom})
	second := measure(t, job{Kind: "second", Model: m.path, Rounds: m.seldom})
	alone := measure(t, job{Kind: "memory", Model: m.path})
	out := &figures{T: t, title: m.title}
	s, f := r.Seconds, r.Work["forward"]
	out.figure("forward pass", "%.3f s", s["forward"])
	out.figure("step", "%.3f s", s["step"])
	out.figure("  of which the optimizer graph", "%.3f s", s["optimizer graph"])
	out.atMost(m.forwards, "step in forward passes", "%.2f", r.Ratio["step/forward"])
	m.besidePyTorch(out, r)
	out.atMost(m.megabytes, "peak of memory of the step alone", "%.0f MB", alone.PeakMB)
	out.atMost(workLimit, "work in the step's graph, in forward passes", "%.2f F", r.Work["first-order"]/f)
	shape := benchShapes[m.size]
	out.figure("  the least by ordinary products", "%.2f F", shape.least()/shape.forward())
	rate := r.Work["first-order"] / r.Work["product"] * r.Ratio["product/step"]
	out.figure("  a large Gemm's rate", "%.0f GFLOP/s", r.Work["product"]/s["product"]/1e9)
	if m.size == "base" {
		out.atLeast(100*rateLimit, "  share of that which the step reaches", "%.0f %%", 100*rate)
	} else {
		out.figure("  share of that which the step reaches", "%.0f %%", 100*rate)
	}
	out.figure("second order", "%.3f s, %.2f F", second.Seconds["second order"], second.Work["second-order"]/f)
	out.atMost(secondLimit, "  in times of first order", "%.2f", second.Ratio["second order/first order"])
	out.figure("explaining", "%.1f maps/s", benchBatch/s["explain"])
	out.figure("  in forward passes", "%.2f", r.Ratio["explain/forward"])
	out.print()
	fmt.Printf("\nTraining graph and optimizer: %d nodes. Opened in seconds: model %.2f, graphs %.2f, sessions %.2f. All jobs in one process peak at %.0f MB.\n",
		r.Nodes, r.Open["reading the model"], r.Open["first-order graphs"], r.Open["first-order sessions"], r.PeakMB)
	fmt.Printf("Training graph by operator: %s\n", alone.Profile)
}

// besidePyTorch adds the rows of PyTorch.
func (m *benchedModel) besidePyTorch(out *figures, r measured) {
	if r.Beside == "" {
		out.figure("PyTorch", "none (%s); %s names a Python with torch and timm", r.Without, benchPython)
		return
	}
	s := r.Seconds
	out.figure(r.Beside, "")
	out.atMost(agreeLimit, "  losses and gradient differ by", "%.1e", r.Differs)
	out.figure("  forward pass", "%.3f s", s["PyTorch forward"])
	out.figure("  step, best formulation, eager", "%.3f s, peak %.0f MB", s["PyTorch eager"], r.TheirMB)
	out.figure("  step, compiled", "%.3f s", s["PyTorch compiled"])
	out.figure("  step, second order, eager", "%.3f s", s["PyTorch second"])
	out.figure("  explaining, best formulation", "%.2f maps/s", benchBatch/s["PyTorch explain"])
	if published := s["PyTorch published"]; published > 0 {
		out.figure("  explaining, as published", "%.2f maps/s", benchBatch/published)
	}
	out.figure("step in times of eager PyTorch's", "%.2f", r.Ratio["step/PyTorch eager"])
	out.atMost(math.Nextafter(1, 0), "step in times of compiled PyTorch's", "%.2f", r.Ratio["step/PyTorch compiled"])
	out.atLeast(mapsLimit, "maps/s in times of PyTorch's", "%.2f", r.Ratio["PyTorch explain/explain"])
}
