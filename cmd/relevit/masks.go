package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/pipeline"
)

func masksCommand() *cli.Command {
	return &cli.Command{
		Name:  "masks",
		Usage: "make masks of a folder's pictures: from a model alone, or from annotations",
		UsageText: "relevit masks --images DIR -o DIR [--model M] [--method auto|tokencut|relevance|boxes|coco]\n\n" +
			"relevit masks --images pictures/ -o masks --model vit_tiny.safetensors\n" +
			"relevit masks --images pictures/ -o masks --model dino_vitsmall16.pth --method tokencut\n" +
			"relevit masks --images pictures/ -o masks --model model.onnx --method tokencut --block 8 --tau 0.3\n" +
			"relevit masks --images JPEGImages/ -o masks --method boxes --annotations Annotations/\n" +
			"relevit masks --images val2017/ -o masks --method coco --annotations instances_val2017.json",
		Description: "For each picture of --images, at any depth, the output gets NAME.png in the same tree:\n" +
			"0 background, 255 foreground, of the picture's size. masks.jsonl lists them with their\n" +
			"confidence, masks.html shows them, masks.csv is a table for data.layout csv.\n\n" +
			"auto       cuts the tokens of a model several times and takes the cut on which the\n" +
			"           model's relevance, or without a classifier its attention, lies\n" +
			"tokencut   is TokenCut as published, by default on the keys of the last block\n" +
			"relevance  is where the relevance of the predicted class is above its mean\n" +
			"boxes      are rectangles: a CSV (image,xmin,ymin,xmax,ymax), Pascal VOC, or COCO\n" +
			"coco       are polygons and run lengths\n\n" +
			"An interrupted run goes on where it stopped when it is repeated. A picture that can't\n" +
			"be decoded is left out and listed at the end.",
		Flags: append(append(checkpointFlags(), findFlags()...),
			&cli.StringFlag{Name: "images", Usage: "make masks of the pictures in `DIR`"},
			outputFlag("write the masks into the folder `DIR`"),
			&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "look at the pictures by `MODEL`, an ONNX file or a checkpoint; it needs no classifier"},
			&cli.StringFlag{Name: "method", Usage: "make masks by `METHOD` " + strings.Join(pipeline.MaskMethods, ", "), Value: pipeline.MethodAuto},
			&cli.StringFlag{Name: "features", Usage: "tokencut: cut by `KIND` queries, keys or values", DefaultText: "keys"},
			&cli.IntSliceFlag{Name: "block", Usage: "tokencut: of block `N`, counted from 0 or, below zero, from the last; may be repeated", DefaultText: "-1"},
			&cli.Float64Flag{Name: "tau", Usage: "tokencut: tokens are neighbours above the cosine `TAU`", DefaultText: "0.2"},
			&cli.StringFlag{Name: "size", Usage: "the same as --image-size: show the model pictures of `N` pixels, or ROWSxCOLUMNS", DefaultText: "the model's; auto: larger, where positions can be resampled"},
			&cli.Float64Flag{Name: "min-confidence", Usage: "drop masks below the confidence `SHARE` 0 to 1",
				DefaultText: fmt.Sprintf("%g by auto, 0 by others", pipeline.DefaultConfidence[pipeline.MethodAuto])},
			&cli.StringFlag{Name: "annotations", Aliases: []string{"boxes"}, Usage: "read masks from `FILE`, or a folder of Pascal VOC's files"},
			&cli.IntFlag{Name: "batch", Usage: "look at `N` pictures at once", Value: 8},
			&cli.BoolFlag{Name: "strict", Usage: "end with exit code 3 if a picture couldn't be decoded"},
			&cli.BoolFlag{Name: "force", Usage: "make masks anew that were made with other settings"},
		),
		Action: action(masks),
	}
}

func masks(c *call) error {
	if _, err := c.operands(); err != nil {
		return err
	}
	if err := c.need("images", "o"); err != nil {
		return err
	}
	opt, err := c.maskOptions()
	if err != nil {
		return err
	}
	read := []string{opt.Images}
	for _, path := range []string{opt.Model, opt.Annotations} {
		if path != "" {
			read = append(read, path)
		}
	}
	if err := exist(read...); err != nil {
		return err
	}
	if err := outputs(opt.Output); err != nil {
		return err
	}
	if opt.Model != "" {
		if opt.ORT, err = c.runtimeOptions(); err != nil {
			return err
		}
	}
	var m *meter
	opt.OnStart = func(done, total int) {
		c.signals.rearm()
		m = c.meter("making masks", "pictures", done, total)
	}
	opt.OnProgress = func(done, _ int) { m.set(done, "") }
	opt.OnWarning = func(text string) { c.note("warning: %s", text) }
	sum, err := pipeline.Masks(c.Context.Context, opt)
	if m != nil {
		m.end()
	}
	if sum == nil {
		return err
	}
	if printErr := c.print(sum, func(w io.Writer) { describeMasks(w, sum) }); printErr != nil {
		return printErr
	}
	if err != nil {
		return &printedError{err}
	}
	return nil
}

// maskOptions reads masks's flags.
func (c *call) maskOptions() (pipeline.MaskOptions, error) {
	opt := pipeline.MaskOptions{Images: filepath.Clean(c.String("images")), Output: filepath.Clean(c.String("o")), Method: c.String("method"),
		Model: c.String("model"), Annotations: c.String("annotations"), Features: c.String("features"), Blocks: c.IntSlice("block"),
		Tau: c.Float64("tau"), Batch: c.Int("batch"), Strict: c.Bool("strict"), Force: c.Bool("force")}
	if opt.Batch < 1 {
		return opt, usagef("--batch %d: expected at least 1 picture", opt.Batch)
	}
	if c.IsSet("min-confidence") {
		least := c.Float64("min-confidence")
		opt.MinConfidence = &least
	}
	var err error
	if opt.Open, err = c.openOptions(); err != nil {
		return opt, err
	}
	if c.IsSet("size") {
		if c.IsSet("image-size") {
			return opt, usagef("--size and --image-size are the same: give one")
		}
		opt.Open.Convert.ImageSize, err = parseSize("size", "pixels, as in 224 or 224x320", c.String("size"))
	}
	return opt, err
}

// describeMasks prints for people what was made.
func describeMasks(w io.Writer, s *pipeline.MaskSummary) {
	for _, d := range s.Dropped {
		fmt.Fprintf(w, "dropped: %s: %s\n", plain(d.Picture), d.Why)
	}
	for _, u := range s.Unreadable {
		fmt.Fprintf(w, "unreadable: %s: %s\n", plain(u.Picture), plain(u.Reason))
	}
	fmt.Fprintf(w, "%d of %d pictures have masks in %s", s.Kept, s.Pictures, s.Output)
	if s.Finished > 0 {
		fmt.Fprintf(w, ", %d were finished before", s.Finished)
	}
	if s.Finished < s.Pictures {
		fmt.Fprintf(w, ", %.3g a second", float64(s.PerSecond))
	}
	fmt.Fprintln(w)
}
