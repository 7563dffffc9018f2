package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/pipeline"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "check a model, or compare two: graphs, numbers, outputs on the same inputs",
		UsageText: "relevit verify MODEL [MODEL2]\n\n" +
			"relevit verify model.onnx robust.onnx\n" +
			"relevit verify model.onnx robust.onnx --images pictures/ --image cat.jpg\n" +
			"relevit verify weights.safetensors model.onnx --tolerance 1e-5\n" +
			"relevit verify run robust.onnx",
		Description: "MODEL is an ONNX file, a checkpoint, or a run's folder, whose export is meant. Each is\n" +
			"checked by the rules of ONNX's checker, every initializer is read a second time by an\n" +
			"independent reader, and ONNX Runtime is held against a float64 evaluator. Two models\n" +
			"run on the same random inputs, and on pictures and tensors where they are given. It\n" +
			"fails where a model is faulty, and with --tolerance also where the outputs drift\n" +
			"further apart.",
		Flags: append(checkpointFlags(),
			&cli.StringSliceFlag{Name: "images", Aliases: []string{"image"}, Usage: "also run on the picture `PATH`, or on those of a folder; may be repeated"},
			&cli.StringSliceFlag{Name: "inputs", Usage: "also run on the inputs in the safetensors `FILE`; may be repeated"},
			&cli.Float64Flag{Name: "tolerance", Usage: "fail if the largest difference of outputs, over the largest output, is above `T`", DefaultText: "1e-5"},
			&cli.IntFlag{Name: "batch", Usage: "random pictures in a batch of `N`, where the models leave it open", DefaultText: "1, then 3"},
			&cli.Uint64Flag{Name: "seed", Usage: "make other random inputs for another `N`"},
			&cli.BoolFlag{Name: "reference", Usage: "run the float64 evaluator on big models too"},
			&cli.BoolFlag{Name: "no-reference", Usage: "don't run the float64 evaluator"},
		),
		Action: action(verify),
	}
}

func verify(c *call) error {
	args := c.Args().Slice()
	if len(args) < 1 || len(args) > 2 {
		_, err := c.operands("MODEL", "MODEL2")
		return err
	}
	opt, err := c.verifyOptions()
	if err != nil {
		return err
	}
	for _, path := range args {
		if pipeline.IsRun(path) || models.IsCheckpoint(path) {
			err = exist(path)
		} else {
			err = inputs(path)
		}
		if err != nil {
			return err
		}
	}
	if err := inputs(opt.Inputs...); err != nil {
		return err
	}
	if err := exist(opt.Images...); err != nil {
		return err
	}
	if opt.ORT, err = c.runtimeOptions(); err != nil {
		return err
	}
	v, err := c.runVerification(append(args, ""), opt)
	if err != nil {
		return err
	}
	if err := c.print(v, func(w io.Writer) { describeVerification(w, v) }); err != nil {
		return err
	}
	if err := v.Err(); err != nil {
		return &printedError{err}
	}
	if c.IsSet("tolerance") && !v.Same() {
		return &printedError{fmt.Errorf("the outputs differ by more than %g of the largest", opt.Tolerance)}
	}
	return nil
}

func (c *call) verifyOptions() (pipeline.VerifyOptions, error) {
	opt := pipeline.VerifyOptions{Images: c.StringSlice("images"), Inputs: c.StringSlice("inputs"), Tolerance: c.Float64("tolerance"),
		Batch: c.Int("batch"), Seed: c.Uint64("seed")}
	switch {
	case c.IsSet("batch") && opt.Batch < 1 || opt.Tolerance < 0 || math.IsNaN(opt.Tolerance):
		return opt, usagef("--batch must be at least 1, and --tolerance not negative")
	case c.Bool("reference") && c.Bool("no-reference"):
		return opt, usagef("--reference and --no-reference exclude each other")
	case c.Bool("reference"):
		opt.Reference = pipeline.ReferenceAlways
	case c.Bool("no-reference"):
		opt.Reference = pipeline.ReferenceNever
	}
	opt.Open.Version = version()
	var err error
	opt.Open.Convert, err = c.checkpointOptions()
	return opt, err
}

// runVerification shows a spinner while the models are read, and a bar over the
// runs.
func (c *call) runVerification(args []string, opt pipeline.VerifyOptions) (v *pipeline.Verification, err error) {
	type progress struct{ done, total int }
	steps, ended := make(chan progress), make(chan struct{})
	opt.OnProgress = func(done, total int) { steps <- progress{done, total} }
	go func() {
		v, err = pipeline.Verify(c.Context.Context, args[0], args[1], opt)
		close(ended)
	}()
	var first progress
	c.during("reading", func() error {
		select {
		case first = <-steps:
		case <-ended:
		}
		return nil
	})
	m := c.meter("verifying", "runs", 0, first.total)
	defer m.end()
	for {
		select {
		case p := <-steps:
			m.set(p.done, "")
		case <-ended:
			return v, err
		}
	}
}

// describeVerification prints the result for people.
func describeVerification(w io.Writer, v *pipeline.Verification) {
	list := []row{{"verdict", v.Verdict}, {"faults", strings.Join(v.Faults, "\n")}}
	for i, m := range v.Models {
		lines := fmt.Sprintf("%s\nSHA-256 %s\n%d of %d initializers read twice", m.Path, m.SHA256, m.ReadTwice, m.Initializers)
		if m.Kind != "onnx" {
			lines = strings.Replace(lines, "\n", " ("+m.Kind+")\n", 1)
		}
		list = append(list, row{fmt.Sprintf("model %d", i+1), lines}, row{"  not read twice", strings.Join(shortened(m.Unread), "\n")},
			row{"  remarks", strings.Join(m.Remarks, "\n")}, row{"  not evaluated", m.ReferenceSkipped})
	}
	if len(v.Models) == 2 {
		list = append(list,
			row{"structure", strings.Join(or(v.Structure, "the same"), "\n")},
			row{"metadata", strings.Join(or(v.Metadata, "the same"), "\n")},
			row{"initializers", fmt.Sprintf("%d compared, %d differ", v.Initializers, len(v.Changed))})
	}
	rows(w, list)
	changedTable(w, v.Changed)
	if len(v.Outputs) > 0 {
		driftTable(w, "OUTPUT", v.Outputs)
	}
	for i, m := range v.Models {
		if len(m.Reference) > 0 {
			fmt.Fprintf(w, "\nModel %d in ONNX Runtime against the float64 evaluator:\n", i+1)
			driftTable(w, "OUTPUT", m.Reference)
		}
	}
}

// changedTable lists the initializers that changed most.
func changedTable(w io.Writer, changed []pipeline.ChangedTensor) {
	const most = 10
	if len(changed) == 0 {
		return
	}
	changed = slices.Clone(changed)
	slices.SortStableFunc(changed, func(a, b pipeline.ChangedTensor) int { return cmp.Compare(b.MaxRel, a.MaxRel) })
	var lines [][]string
	for i, t := range changed {
		if i == most {
			lines = append(lines, []string{fmt.Sprintf("and %d more", len(changed)-most)})
			break
		}
		lines = append(lines, []string{t.Name, count(t.Elements), fmt.Sprintf("%.3g", t.MaxAbs), fmt.Sprintf("%.3g", t.MaxRel)})
	}
	fmt.Fprintln(w)
	table(w, []string{"INITIALIZER", "CHANGED", "AT MOST BY", "OF LARGEST"}, lines)
}

func driftTable(w io.Writer, title string, drifts []pipeline.OutputDrift) {
	var lines [][]string
	for _, o := range drifts {
		same := ""
		if o.SameTop1 != nil {
			same = fmt.Sprintf("%d of %d", *o.SameTop1, o.Rows)
		}
		inputs := o.Inputs
		if o.Batch > 1 {
			inputs = fmt.Sprintf("%s x%d", inputs, o.Batch)
		}
		lines = append(lines, []string{o.Output, inputs, fmt.Sprintf("%.3g", o.MaxAbs), fmt.Sprintf("%.3g", o.MaxRel),
			fmt.Sprintf("%.3g", o.MeanAbs), fmt.Sprintf("%.6f", o.Cosine), same})
	}
	fmt.Fprintln(w)
	table(w, []string{title, "INPUTS", "DIFFERS BY", "OF LARGEST", "ON AVERAGE", "COSINE", "SAME TOP-1"}, lines)
}

// shortened keeps the first lines of a long list.
func shortened(list []string) []string {
	const most = 5
	if len(list) <= most {
		return list
	}
	return append(slices.Clone(list[:most]), fmt.Sprintf("and %d more", len(list)-most))
}

func or(list []string, none string) []string {
	if len(list) == 0 {
		return []string{none}
	}
	return list
}
