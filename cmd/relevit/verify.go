package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/pipeline"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "compare two models: graphs, numbers, outputs on the same inputs",
		UsageText: "relevit verify MODEL MODEL2\n\n" +
			"relevit verify model.onnx robust.onnx\n" +
			"relevit verify model.onnx robust.onnx --image cat.jpg --image dog.jpg\n" +
			"relevit verify model.onnx copy.onnx --tolerance 1e-5",
		Description: "Both models run on the same random inputs in ONNX Runtime. Every initializer is read\n" +
			"a second time by an independent reader and compared bit by bit. It fails where a\n" +
			"model is faulty, and with --tolerance also where the outputs drift further apart.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "image", Usage: "also run both on the picture `FILE`; may be repeated"},
			&cli.Float64Flag{Name: "tolerance", Usage: "fail if the largest difference of outputs, over the largest output, is above `T`", DefaultText: "1e-5"},
			&cli.IntFlag{Name: "batch", Usage: "random pictures in a batch of `N`, where the models leave it open", Value: 2},
			&cli.Uint64Flag{Name: "seed", Usage: "make other random inputs for another `N`"},
		},
		Action: action(verify),
	}
}

func verify(c *call) error {
	args, err := c.operands("MODEL", "MODEL2")
	if err != nil {
		return err
	}
	opt := pipeline.VerifyOptions{Images: c.StringSlice("image"), Tolerance: c.Float64("tolerance"), Batch: c.Int("batch"), Seed: c.Uint64("seed")}
	if opt.Batch < 1 || opt.Tolerance < 0 || math.IsNaN(opt.Tolerance) {
		return usagef("--batch must be at least 1, and --tolerance not negative")
	}
	if err := inputs(append(args, opt.Images...)...); err != nil {
		return err
	}
	if opt.ORT, err = c.loadRuntime(); err != nil {
		return err
	}
	var v *pipeline.Verification
	err = c.during("verifying", func() error {
		v, err = pipeline.Verify(c.Context.Context, args[0], args[1], opt)
		return err
	})
	if err != nil {
		return err
	}
	if err := c.print(v, func(w io.Writer) { describeVerification(w, v) }); err != nil {
		return err
	}
	if err := v.Err(); err != nil {
		return &printedError{err}
	}
	if c.IsSet("tolerance") && v.Verdict != pipeline.VerdictIdentical && v.Verdict != pipeline.VerdictEquivalent {
		return &printedError{fmt.Errorf("the outputs differ by more than %g of the largest", opt.Tolerance)}
	}
	return nil
}

// describeVerification prints the result for people.
func describeVerification(w io.Writer, v *pipeline.Verification) {
	const most = 10 // changed initializers
	list := []row{{"verdict", v.Verdict}}
	for i, m := range v.Models {
		list = append(list, row{fmt.Sprintf("model %d", i+1), fmt.Sprintf("%s\nSHA-256 %s\n%d initializers read twice", m.Path, m.SHA256, m.ReadTwice)},
			row{"  not read twice", strings.Join(m.Unread, "\n")})
	}
	rows(w, append(list,
		row{"faults", strings.Join(v.Faults, "\n")},
		row{"structure", strings.Join(or(v.Structure, "the same"), "\n")},
		row{"metadata", strings.Join(or(v.Metadata, "the same"), "\n")},
		row{"initializers", fmt.Sprintf("%d compared, %d differ", v.Initializers, len(v.Changed))},
	))
	var lines [][]string
	for i, t := range v.Changed {
		if i == most {
			lines = append(lines, []string{fmt.Sprintf("and %d more", len(v.Changed)-most)})
			break
		}
		lines = append(lines, []string{t.Name, count(t.Elements), fmt.Sprintf("%.3g", t.MaxAbs), fmt.Sprintf("%.3g", t.MaxRel)})
	}
	if lines != nil {
		fmt.Fprintln(w)
		table(w, []string{"INITIALIZER", "CHANGED", "AT MOST BY", "OF LARGEST"}, lines)
	}
	lines = nil
	for _, o := range v.Outputs {
		same := ""
		if o.SameTop1 != nil {
			same = fmt.Sprintf("%d of %d", *o.SameTop1, o.Rows)
		}
		lines = append(lines, []string{o.Output, o.Inputs, fmt.Sprintf("%.3g", o.MaxAbs), fmt.Sprintf("%.3g", o.MaxRel), same})
	}
	fmt.Fprintln(w)
	table(w, []string{"OUTPUT", "INPUTS", "DIFFERS BY", "OF LARGEST", "SAME TOP-1"}, lines)
}

func or(list []string, none string) []string {
	if len(list) == 0 {
		return []string{none}
	}
	return list
}
