package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/pipeline"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "read a run, a batch or a model from end to end and say what is damaged",
		UsageText: "relevit check RUN|BATCH|MODEL\n\n" +
			"relevit check run\n" +
			"relevit check model.onnx\n" +
			"relevit --json check weights.safetensors",
		Description: "Of a run's folder it checks the configuration, the graphs, every checkpoint's checksums,\n" +
			"that the log has each step once, the lists of pictures and the results; of a batch, all\n" +
			"its runs. Of an ONNX file it checks the rules of ONNX's checker and that all numbers can\n" +
			"be read, external ones included; of a checkpoint, that all tensors can. It runs nothing\n" +
			"and changes nothing. Each fault is one line; where there is any, it exits with 3.",
		Action: action(check),
	}
}

func check(c *call) error {
	args, err := c.operands("RUN|BATCH|MODEL")
	if err != nil {
		return err
	}
	if err := exist(args[0]); err != nil {
		return err
	}
	var found *pipeline.Checked
	err = c.during("checking", func() error {
		found, err = pipeline.Check(c.Context.Context, args[0])
		return err
	})
	if err != nil {
		return err
	}
	if err := c.print(found, func(w io.Writer) { describeCheck(w, found) }); err != nil {
		return err
	}
	if err := found.Err(); err != nil {
		return &printedError{err}
	}
	return nil
}

func describeCheck(w io.Writer, found *pipeline.Checked) {
	for _, f := range found.Faults {
		fmt.Fprintln(w, plain(f.String()))
	}
	verdict := "healthy"
	if n := len(found.Faults); n > 0 {
		verdict = fmt.Sprintf("damaged; faults: %d", n)
	}
	rows(w, []row{{"verdict", verdict}, {"checked", strings.Join(found.Parts, "\n")}, {"remarks", strings.Join(found.Remarks, "\n")}})
}
