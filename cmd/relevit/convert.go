package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

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
			"relevit convert dino_deitsmall16_pretrain.pth -o dino.onnx\n" +
			"relevit convert vit-base-patch16-224/ -o vit-base.onnx --opset 13\n" +
			"relevit convert weights.safetensors -o model.onnx --arch vit_small_patch32_384\n" +
			"relevit convert weights.safetensors -o model.onnx --arch '{\"num_heads\": 6}'",
		Description: "SOURCE is a checkpoint of a Vision Transformer: .safetensors, PyTorch's .pth, .pt or\n" +
			".bin, Google's .npz, or a folder with config.json and weights. Its architecture is told\n" +
			"from the tensors and what lies beside them; the model keeps their names and layouts.",
		Flags: append(checkpointFlags(),
			outputFlag("write the model to `FILE`"), forceFlag(),
			&cli.Int64Flag{Name: "opset", Usage: "write ai.onnx opset `N`, 11 to 24", Value: 17},
			dataFlag(),
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
	opt.ImageSize, err = parseSize("image-size", "pixels, as in 224 or 224x320", c.String("image-size"))
	return opt, err
}

// exist checks that files or folders that a command is to read are there.
func exist(paths ...string) error {
	for _, p := range paths {
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			return &inputError{fmt.Errorf("%s: there is no such file or folder", p)}
		} else if err != nil {
			return &inputError{err}
		}
	}
	return nil
}

func convert(c *call) error {
	args, err := c.operands("SOURCE")
	if err != nil {
		return err
	}
	opt := pipeline.ConvertOptions{Opset: c.Int64("opset"), Data: c.data(), Force: c.Bool("force"), Version: version()}
	if opt.Open, err = c.checkpointOptions(); err != nil {
		return err
	}
	if err := c.need("o"); err != nil {
		return err
	}
	if err := exist(args[0]); err != nil {
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
