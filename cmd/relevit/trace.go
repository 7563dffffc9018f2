package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/pipeline"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		Name:  "trace",
		Usage: "run the training graph on given tensors and write every quantity",
		UsageText: "relevit trace -m MODEL --inputs IN.safetensors -o OUT.safetensors [-c CONFIG.yaml] [--set key=value ...]\n" +
			"              [--mode first-order|second-order] [--method relevance|gradmask|rrr] [--steps N]\n\n" +
			"relevit trace -m model.onnx --inputs batch.safetensors -o trace.safetensors\n" +
			"relevit trace -m weights.safetensors --inputs batch.safetensors -c case.json --mode second-order --steps 3 -o trace.safetensors",
		Description: "IN holds image (B,3,H,W), mask (B,1,H,W) and label (B). OUT gets logits, attn.L,\n" +
			"attn_grad.L, relevance, relevance_map, loss.*, grad.P, and with --steps N\n" +
			"trajectory.loss and after.P: the way to compare with any other framework.",
		Flags: slices.Concat(checkpointFlags(), findFlags(), configFlags(), []cli.Flag{
			&cli.StringFlag{Name: "m", Usage: "trace `MODEL`, an ONNX file or a checkpoint"},
			&cli.StringFlag{Name: "inputs", Usage: "read the batch from `FILE`"},
			outputFlag("write the quantities to `FILE`, over what is there"),
			&cli.StringFlag{Name: "mode", Usage: "`MODE` first-order or second-order"},
			&cli.StringFlag{Name: "method", Usage: "`METHOD` relevance, gradmask or rrr"},
			&cli.IntFlag{Name: "steps", Usage: "make `N` AdamW steps on the batch", DefaultText: "the configuration's"},
		}),
		Action: action(trace),
	}
}

// configFlags name configurations.
func configFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "c", Usage: "take the configuration from `CONFIG`, a preset or a YAML file; may be repeated, later ones win"},
		&cli.StringSliceFlag{Name: "set", Usage: "set a `KEY=VALUE` of the configuration; may be repeated"},
	}
}

func trace(c *call) error {
	if _, err := c.operands(); err != nil {
		return err
	}
	if err := c.need("m", "inputs", "o"); err != nil {
		return err
	}
	settings := c.StringSlice("set")
	for _, flag := range []string{"mode", "method"} {
		if c.IsSet(flag) {
			settings = append(settings, flag+"="+c.String(flag))
		}
	}
	cfg, err := configs.Load(c.StringSlice("c"), settings)
	if err != nil {
		return err
	}
	opt := pipeline.TraceOptions{Model: c.String("m"), Inputs: c.String("inputs"), Output: c.String("o"), Config: cfg, Steps: cfg.Steps}
	if c.IsSet("steps") {
		opt.Steps = c.Int("steps")
	}
	if opt.Steps < 0 {
		return usagef("--steps %d: expected 0 or more", opt.Steps)
	}
	if opt.Open, err = c.openOptions(); err != nil {
		return err
	}
	if err := exist(opt.Model); err != nil {
		return err
	}
	if err := inputs(opt.Inputs); err != nil {
		return err
	}
	if err := outputs(opt.Output); err != nil {
		return err
	}
	if opt.ORT, err = c.runtimeOptions(); err != nil {
		return err
	}
	opt.OnWarning = func(text string) { c.note("warning: %s", text) }
	var keys []string
	run := func() error {
		keys, err = pipeline.Trace(c.Context.Context, opt)
		return err
	}
	if opt.Steps > 0 {
		steps := c.meter("tracing", "steps", 0, opt.Steps)
		opt.OnStep = func(done int) { steps.set(done, "") }
		err = run()
		steps.end()
	} else {
		err = c.during("tracing", run)
	}
	if err != nil {
		return err
	}
	return c.print(map[string]any{"path": opt.Output, "keys": keys}, func(w io.Writer) {
		fmt.Fprintf(w, "wrote %d tensors to %s\n", len(keys), opt.Output)
	})
}
