package main

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/pipeline"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:  "export",
		Usage: "write a run's parameters into the model that it started from, in any form",
		UsageText: "relevit export RUN|MODEL -o FILE [--format onnx|safetensors|pth|hf] [--precision fp32|fp16] [--opset N] ...\n\n" +
			"relevit export run -o robust.onnx\n" +
			"relevit export run -o robust.safetensors\n" +
			"relevit export run -o robust-folder --format hf\n" +
			"relevit export run -o robust.onnx --with-relevance\n" +
			"relevit export run -o robust-fp16.onnx --precision fp16 --keep-io-fp32\n" +
			"relevit export run -o robust-13.onnx --opset 13 --batch 1\n" +
			"relevit export run -o robust.onnx --blend 0.25,0.5,0.75\n" +
			"relevit export model.onnx -o model.pth",
		Description: "The exported ONNX file is your own graph, with the same nodes, names, opset and\n" +
			"data layout, new values for what was trained, and metadata on how. As safetensors or\n" +
			"pth it is the parameters under the names, in the layouts and types of the checkpoint\n" +
			"that the model was made of; as hf a folder that transformers or timm loads.\n\n" +
			"--precision, --opset, --batch and --with-relevance write another graph that computes\n" +
			"the same. It is read and run before it appears, and the drift is printed.\n\n" +
			"In fp16, normalisations, softmax, sums, powers, roots and exponentials stay in float32\n" +
			"between casts, and so does the relevance map. Inputs and outputs become float16 unless\n" +
			"--keep-io-fp32 is given.\n\n" +
			"--blend 0.5 gives the mean of the original's and the finetuned weights (WiSE-FT), 0 the\n" +
			"original, 1 the finetuned model. Several shares write a file each: robust-0.25.onnx, ...",
		Flags: append(append(checkpointFlags(), findFlags()...),
			outputFlag("write the model to `FILE`, with --format hf a folder"), forceFlag(),
			&cli.StringFlag{Name: "format", Usage: "`FORMAT` onnx, safetensors, pth or hf; left out, the suffix of FILE tells"},
			&cli.StringFlag{Name: "checkpoint", Usage: "take the run's `CHECKPOINT` best or last, or one kept before, as last.1; left out: the best if there is one"},
			&cli.StringFlag{Name: "blend", Usage: "share `W` of the finetuned weights, 0 to 1, or several, by commas"},
			&cli.StringFlag{Name: "blend-with", Usage: "the `ORIGINAL` to blend MODEL with; a run knows its own"},
			&cli.BoolFlag{Name: "with-relevance", Usage: "add the relevance map of the predicted, or of a given, class as an output"},
			&cli.StringFlag{Name: "precision", Usage: "compute in `PRECISION` fp32 or fp16; left out: as the model does"},
			&cli.BoolFlag{Name: "keep-io-fp32", Usage: "with --precision fp16, keep inputs and outputs in float32"},
			&cli.Int64Flag{Name: "opset", Usage: "write ai.onnx opset `N`, 11 to 24", DefaultText: "the model's own"},
			&cli.StringFlag{Name: "batch", Usage: "fix the batch size to `N`, or make it dynamic"},
			dataFlag(),
		),
		Action: action(export),
	}
}

func dataFlag() cli.Flag {
	return &cli.BoolFlag{Name: "external-data", Usage: "keep the weights in FILE.data beside the model; --external-data=false: inside it"}
}

// data reads dataFlag.
func (c *call) data() string {
	switch {
	case !c.IsSet("external-data"):
		return ""
	case c.Bool("external-data"):
		return pipeline.DataOutside
	}
	return pipeline.DataInside
}

// isCheckpoint matches the names of a run's checkpoints.
var isCheckpoint = regexp.MustCompile(`^(best|last)(\.[1-9][0-9]*)?$`)

// exportOptions reads export's flags.
func (c *call) exportOptions() (pipeline.ExportOptions, error) {
	opt := pipeline.ExportOptions{Format: c.String("format"), Checkpoint: c.String("checkpoint"), Force: c.Bool("force"), Version: version(),
		BlendWith: c.String("blend-with"), Precision: c.String("precision"), KeepIO: c.Bool("keep-io-fp32"), Opset: c.Int64("opset"),
		Data: c.data(), WithRelevance: c.Bool("with-relevance")}
	if which := opt.Checkpoint; which != "" && !isCheckpoint.MatchString(which) {
		return opt, usagef("--checkpoint %s: expected %s or %s, or one kept before such, as last.1", which, pipeline.Best, pipeline.Last)
	}
	if text := c.String("batch"); text == "dynamic" {
		opt.Batch = pipeline.DynamicBatch
	} else if text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 1 {
			return opt, usagef("--batch %s: expected a number of pictures, or dynamic", text)
		}
		opt.Batch = n
	}
	for _, text := range strings.Split(c.String("blend"), ",") {
		if text == "" && !c.IsSet("blend") {
			continue
		}
		w, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			return opt, usagef("--blend %s: expected numbers between 0 and 1, with commas between them", c.String("blend"))
		}
		opt.Blend = append(opt.Blend, w)
	}
	var err error
	if opt.Open, err = c.checkpointOptions(); err != nil {
		return opt, err
	}
	if opt.Find, err = c.findOptions(); err != nil {
		return opt, err
	}
	opt.Find.ImageSize = [2]int64{int64(opt.Open.ImageSize[0]), int64(opt.Open.ImageSize[1])}
	return opt, nil
}

func export(c *call) error {
	args, err := c.operands("RUN or MODEL")
	if err != nil {
		return err
	}
	if err := c.need("o"); err != nil {
		return err
	}
	opt, err := c.exportOptions()
	if err != nil {
		return err
	}
	if !pipeline.IsRun(args[0]) {
		if err := exist(args[0]); err != nil {
			return err
		}
	}
	out := strings.TrimRight(c.String("o"), "/")
	if err := outputs(out); err != nil {
		return err
	}
	if opt.ORT, err = c.runtimeOptions(); err != nil {
		return err
	}
	opt.Run = true
	var r *pipeline.Exported
	err = c.during("exporting", func() error {
		r, err = pipeline.Export(c.Context.Context, args[0], out, opt)
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range r.Notes {
		c.note("note: %s", n)
	}
	return c.print(r, func(w io.Writer) { printExported(w, r) })
}

// printExported prints what was written for people.
func printExported(w io.Writer, r *pipeline.Exported) {
	list := []row{{"format", r.Format}}
	if r.Opset > 0 {
		list = append(list, row{"opset", fmt.Sprint(r.Opset)})
	}
	if h := r.Half; h != nil {
		list = append(list, row{"float16", fmt.Sprintf("%d tensors; %d nodes stay in float32, by %d casts", h.Parameters, h.Kept, h.Casts)})
	}
	if r.Checkpoint != "" {
		list = append(list, row{"checkpoint", fmt.Sprintf("%s, after %d epochs and %d steps", r.Checkpoint, r.Epoch, r.GlobalStep)},
			row{"new values", fmt.Sprintf("%d tensors", r.Parameters)})
	}
	for _, f := range r.Files {
		list = append(list, row{"wrote", f.Path})
		if f.Blend != nil {
			list = append(list, row{"blend", fmt.Sprintf("%g of the finetuned weights", *f.Blend)})
		}
		if k := f.Check; k != nil && k.Ran {
			list = append(list, row{"checked", fmt.Sprintf("outputs within %.2g of the largest value, %d of %d random pictures with the same largest output",
				float64(k.MaxRel), k.SameTop1, k.Pictures)})
		} else if k != nil {
			list = append(list, row{"checked", "read back; not run: " + k.Reason})
		}
		list = append(list, row{"bytes", count(f.Bytes)}, row{"SHA-256", f.SHA256})
	}
	rows(w, list)
}
