package main

import (
	"io"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/pipeline"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:  "convert",
		Usage: "write a checkpoint as an ONNX model",
		UsageText: "relevit convert SOURCE -o MODEL.onnx [--arch NAME] [--image-size N] [--opset N]\n\n" +
			"relevit convert vit_tiny_patch16_224.safetensors -o vit-tiny.onnx\n" +
			"relevit convert weights.safetensors -o model.onnx --arch vit_small_patch32_384\n" +
			"relevit convert weights.safetensors -o model.onnx --arch '{\"num_heads\": 6}'",
		Description: "SOURCE is a Vision Transformer in timm's names, in safetensors. Its architecture is\n" +
			"told from the tensors; the model keeps their names and layouts.",
		Flags: append(checkpointFlags(),
			outputFlag("write the model to `FILE`"), forceFlag(),
			&cli.Int64Flag{Name: "opset", Usage: "write ai.onnx opset `N`, 17 to 21", Value: 17},
		),
		Action: action(convert),
	}
}

func outputFlag(usage string) cli.Flag { return &cli.StringFlag{Name: "o", Usage: usage} }

func forceFlag() cli.Flag {
	return &cli.BoolFlag{Name: "force", Usage: "overwrite the output if it exists"}
}

// checkpointFlags state what a checkpoint's tensors leave open.
func checkpointFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "arch", Usage: "architecture of a checkpoint: a timm `NAME`, timm's constructor arguments as a JSON object, or a file with them"},
		&cli.StringFlag{Name: "image-size", Usage: "pictures of a checkpoint are of `N` pixels, or ROWSxCOLUMNS"},
		&cli.IntFlag{Name: "heads", Usage: "a checkpoint has `N` attention heads", DefaultText: "told from the checkpoint"},
	}
}

// checkpointOptions reads checkpointFlags.
func (c *call) checkpointOptions() (models.Options, error) {
	opt := models.Options{Arch: c.String("arch"), Heads: c.Int("heads")}
	if opt.Heads < 0 {
		return opt, usagef("--heads %d: expected a positive number", opt.Heads)
	}
	var err error
	opt.ImageSize, err = parseSize(c.String("image-size"))
	return opt, err
}

func convert(c *call) error {
	args, err := c.operands("SOURCE")
	if err != nil {
		return err
	}
	opt := pipeline.ConvertOptions{Opset: c.Int64("opset"), Force: c.Bool("force"), Version: version()}
	if opt.Open, err = c.checkpointOptions(); err != nil {
		return err
	}
	if err := c.need("o"); err != nil {
		return err
	}
	if err := inputs(args[0]); err != nil {
		return err
	}
	if err := outputs(c.String("o")); err != nil {
		return err
	}
	var r *pipeline.Converted
	err = c.during("converting", func() error {
		r, err = pipeline.Convert(c.Context.Context, args[0], c.String("o"), opt)
		return err
	})
	if err != nil {
		return err
	}
	for _, w := range r.Warnings {
		c.note("warning: %s", w)
	}
	return c.print(r, func(w io.Writer) {
		rows(w, []row{
			{"wrote", r.Path},
			{"architecture", r.Architecture},
			{"", r.Description},
			{"parameters", count(r.Parameters)},
			{"SHA-256", r.SHA256},
		})
	})
}
