package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/pipeline"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:  "export",
		Usage: "write a run's parameters into the model that it started from",
		UsageText: "relevit export RUN|MODEL -o FILE [--format onnx|safetensors]\n\n" +
			"relevit export run -o robust.onnx\n" +
			"relevit export run -o robust.safetensors\n" +
			"relevit export model.onnx -o model.safetensors",
		Description: "The exported ONNX file is your own graph, with the same nodes, names, opset and\n" +
			"data layout, new values for what was trained, and metadata on how. As safetensors\n" +
			"it is the parameters under their own names.",
		Flags: append(checkpointFlags(),
			outputFlag("write the model to `FILE`"), forceFlag(),
			&cli.StringFlag{Name: "format", Usage: "`FORMAT` onnx or safetensors; left out, the suffix of FILE tells"},
			&cli.StringFlag{Name: "checkpoint", Usage: "take the run's `CHECKPOINT` best or last; left out: the best if there is one"},
		),
		Action: action(export),
	}
}

func export(c *call) error {
	args, err := c.operands("RUN or MODEL")
	if err != nil {
		return err
	}
	if err := c.need("o"); err != nil {
		return err
	}
	which := c.String("checkpoint")
	if which != "" && which != pipeline.Best && which != pipeline.Last {
		return usagef("--checkpoint %s: expected %s or %s", which, pipeline.Best, pipeline.Last)
	}
	opt := pipeline.ExportOptions{Format: c.String("format"), Checkpoint: which, Force: c.Bool("force"), Version: version()}
	if opt.Open, err = c.checkpointOptions(); err != nil {
		return err
	}
	if !pipeline.IsRun(args[0]) {
		if err := inputs(args[0]); err != nil {
			return err
		}
	}
	if err := outputs(c.String("o")); err != nil {
		return err
	}
	var r *pipeline.Exported
	err = c.during("exporting", func() error {
		r, err = pipeline.Export(c.Context.Context, args[0], c.String("o"), opt)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(r, func(w io.Writer) {
		list := []row{{"wrote", r.Path}, {"format", r.Format}}
		if r.Checkpoint != "" {
			list = append(list, row{"checkpoint", fmt.Sprintf("%s, after %d epochs and %d steps", r.Checkpoint, r.Epoch, r.GlobalStep)},
				row{"new values", fmt.Sprintf("%d tensors", r.Parameters)})
		}
		rows(w, append(list, row{"bytes", count(r.Bytes)}, row{"SHA-256", r.SHA256}))
	})
}
