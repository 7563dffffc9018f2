package main

import (
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/benchmark"
)

func evaluateCommand() *cli.Command {
	return &cli.Command{
		Name:  "evaluate",
		Usage: "measure how often models are right on a data set, and what their relevance maps are worth",
		UsageText: "relevit evaluate -m MODEL [-m ...] --data DIR|FILE.mat [--layout ...] [--protocol standard|paper] [--masks DIR] [--measure ...] [-o EVAL.json]\n\n" +
			"relevit evaluate -m model.onnx --data imagenet/val\n" +
			"relevit evaluate -m before.onnx -m run --data pictures/ --masks masks/ -o eval.json\n" +
			"relevit evaluate -m model.onnx --data gtsegs_ijcv.mat --measure segmentation --protocol paper\n" +
			"relevit evaluate -m before.onnx -m run --data pictures/ --masks masks/ --measure background --synthesize\n" +
			"relevit evaluate -m vit_base_patch16_224.safetensors -m run --data imagenet-a --protocol paper\n" +
			"relevit evaluate -m model.onnx --data objectnet-1.0 --csv predictions.csv\n" +
			"relevit evaluate -m model.onnx --data pictures/ --layout folders --classes classes.tsv",
		Description: "MODEL is an ONNX file, a checkpoint, or a run's folder, of which the best parameters are\n" +
			"taken. Several models see the same pictures, which are decoded once. DIR holds ImageNet's\n" +
			"validation pictures, ImageNetV2, -A, -R or -Sketch, ObjectNet, SI-Score, class folders,\n" +
			"a CSV table with the columns image and label, or (--layout flat) pictures without labels;\n" +
			"FILE.mat is ImageNet-segmentation's gtsegs_ijcv.mat, which has masks of its own.\n\n" +
			"Protocol standard is the model's own preprocessing; on ImageNet-A and -R the largest of\n" +
			"their 200 classes' logits counts, on ObjectNet every class that a label maps to is right.\n" +
			"Protocol paper is RobustViT's: the shorter side to 256 bilinearly, the centre 224, mean =\n" +
			"std = 0.5 for all models; the largest of all logits; the first class of a label.\n\n" +
			"Accuracies come with calibration (ECE), 95 % intervals by bootstrap and, of several models,\n" +
			"paired differences and McNemar's exact test. Masks are PNGs with the folders and names of\n" +
			"their pictures: 0 and 255, trimaps, or ImageNet-S's. With them the maps of the predicted\n" +
			"classes are measured too, of whole pictures brought to the model's size: segmentation at\n" +
			"the map's mean, as published for ImageNet-segmentation (pixel accuracy, mean IoU, mean AP);\n" +
			"relevance: its share on the foreground, rank accuracy, pointing game, sparseness and, with\n" +
			"--steps, the areas under the curves of insertion and deletion, from and to the blurred\n" +
			"picture and zero.\n" +
			"randomisation compares maps with those of the model as its parameters become random, from\n" +
			"the output down.\n\n" +
			"background measures how often a model is right where masks say that the background was\n" +
			"replaced (by its mean colour, its blur, noise, the background of another class's picture or\n" +
			"of another picture of the class) and where the object was removed, and the gap between the\n" +
			"two. --synthesize pastes objects on other backgrounds as SI-Score does, at 13 sizes, 25\n" +
			"places and 18 angles; --keep writes these pictures as SI-Score lies, so that evaluate reads\n" +
			"them. Without labels, what a model says of the picture itself counts as right.\n\n" +
			"A picture that can't be read is left out, counted out and listed. --json also gives the\n" +
			"accuracy of every class, --csv what every picture got.",
		Flags: append(append(checkpointFlags(), findFlags()...),
			&cli.StringSliceFlag{Name: "m", Usage: "evaluate `MODEL`, an ONNX file, a checkpoint or a run; may be repeated"},
			&cli.StringFlag{Name: "data", Usage: "on the data set in the folder `DIR`, in a CSV table, or in gtsegs_ijcv.mat"},
			&cli.StringFlag{Name: "layout", Usage: "DIR lies as `LAYOUT` has it: " + strings.Join(benchmark.Layouts(), ", "), Value: string(benchmark.Auto)},
			&cli.StringFlag{Name: "protocol", Usage: "evaluate by `PROTOCOL` standard or paper", Value: pipeline.ProtocolStandard},
			&cli.StringFlag{Name: "ground-truth", Usage: "labels of imagenet-flat are in `FILE`", DefaultText: "looked for near the pictures"},
			&cli.StringFlag{Name: "classes", Usage: "of class folders and tables, read class index, name and title from the table `FILE`", DefaultText: "the run's, or the model's own names"},
			&cli.IntFlag{Name: "batch", Usage: "evaluate `N` pictures at once", Value: 16},
			&cli.IntFlag{Name: "limit", Usage: "evaluate `N` pictures of each class, the first by name", DefaultText: "all"},
			&cli.StringFlag{Name: "masks", Usage: "foreground masks of the pictures lie in `DIR`, by the same folders and names"},
			&cli.StringSliceFlag{Name: "measure", Usage: "measure `WHAT`, one or several of " + strings.Join(pipeline.Measures(), ", ") + ", with commas between; may be repeated", DefaultText: "accuracy, and with --masks segmentation and relevance"},
			&cli.StringFlag{Name: "method", Usage: "explain predictions by `METHOD`, one of explain's", Value: pipeline.MethodRelevance},
			&cli.IntFlag{Name: "steps", Usage: "with relevance, also measure insertion and deletion, in `N` steps (14, say), each of which takes 4 predictions", DefaultText: "not measured"},
			&cli.BoolFlag{Name: "synthesize", Usage: "also measure objects pasted on other pictures' backgrounds, at sizes, places and angles"},
			&cli.IntFlag{Name: "samples", Usage: "synthesize pictures of `N` objects, 56 each", DefaultText: "100, or all"},
			&cli.StringFlag{Name: "backgrounds", Usage: "paste objects on the pictures in `DIR`", DefaultText: "those of the data set, without their objects"},
			&cli.Uint64Flag{Name: "seed", Usage: "draw everything by the seed `S`"},
			&cli.StringFlag{Name: "keep", Usage: "keep the synthesized pictures in the folder `DIR`"},
			&cli.StringFlag{Name: "o", Usage: "write what --json prints into `FILE`, which report reads; an interrupted evaluation goes on when it is repeated"},
			&cli.StringFlag{Name: "csv", Usage: "list every prediction in `FILE`"},
			&cli.BoolFlag{Name: "force", Usage: "overwrite FILEs that exist"},
			&cli.BoolFlag{Name: "strict", Usage: "stop at a picture that can't be read instead of counting it out"},
		),
		Action: action(evaluate),
	}
}

func evaluate(c *call) error {
	if _, err := c.operands(); err != nil {
		return err
	}
	opt, err := c.evaluateOptions()
	if err != nil {
		return err
	}
	read := append(slices.Clone(opt.Models), opt.Data)
	for _, folder := range []string{opt.Masks, opt.Backgrounds} {
		if folder != "" {
			read = append(read, folder)
		}
	}
	if err := exist(read...); err != nil {
		return err
	}
	for _, file := range []string{opt.GroundTruth, opt.Classes} {
		if file != "" {
			if err := inputs(file); err != nil {
				return err
			}
		}
	}
	for _, file := range []string{opt.CSV, opt.Output} {
		if file != "" {
			if err := outputs(file); err != nil {
				return err
			}
		}
	}
	if opt.ORT, err = c.runtimeOptions(); err != nil {
		return err
	}
	var m *meter
	opt.OnRecognised = func(text string) { c.note("%s", text) }
	opt.OnStart = func(done, total int) {
		if done > 0 {
			c.note("Going on after %d of %d pictures", done, total)
		}
		m = c.meter("evaluating", "images", done, total)
	}
	opt.OnProgress = func(done, _ int) { m.set(done, "") }
	opt.OnSkipped = func(path, why string) { m.say("skipped: %s: %s", plain(path), plain(why)) }
	opt.OnWarning = func(text string) { c.note("warning: %s", text) }
	opt.OnStage = func(model string, done, total int) {
		if done == 0 {
			m.end()
			m = c.meter("randomising", "stages", 0, total)
		}
		m.set(done, plain(model))
	}
	e, err := pipeline.Evaluate(c.Context.Context, opt)
	if m != nil {
		m.end()
	}
	if err != nil {
		return err
	}
	return c.print(e, func(w io.Writer) { describeEvaluation(w, e) })
}

// evaluateOptions reads evaluate's flags.
func (c *call) evaluateOptions() (pipeline.EvaluateOptions, error) {
	opt := pipeline.EvaluateOptions{Models: c.StringSlice("m"), Data: c.String("data"), Layout: c.String("layout"), Protocol: c.String("protocol"),
		GroundTruth: c.String("ground-truth"), Classes: c.String("classes"), Batch: c.Int("batch"), Limit: c.Int("limit"),
		CSV: c.String("csv"), Strict: c.Bool("strict"), Force: c.Bool("force"),
		Masks: c.String("masks"), Method: c.String("method"), Steps: c.Int("steps"), Output: c.String("o"),
		Synthesize: c.Bool("synthesize"), Samples: c.Int("samples"), Backgrounds: c.String("backgrounds"), Seed: c.Uint64("seed"), Keep: c.String("keep")}
	if len(opt.Models) == 0 {
		return opt, usagef("%s: -m is missing; see %s --help", c.Command.HelpName, c.Command.HelpName)
	}
	if err := c.need("data"); err != nil {
		return opt, err
	}
	if !slices.Contains(benchmark.Layouts(), opt.Layout) {
		return opt, usagef("--layout %s: expected one of %s", opt.Layout, strings.Join(benchmark.Layouts(), ", "))
	}
	if opt.Protocol != pipeline.ProtocolStandard && opt.Protocol != pipeline.ProtocolPaper {
		return opt, usagef("--protocol %s: expected %s or %s", opt.Protocol, pipeline.ProtocolStandard, pipeline.ProtocolPaper)
	}
	if opt.Batch < 1 {
		return opt, usagef("--batch %d: expected at least 1 picture", opt.Batch)
	}
	if opt.Limit < 0 || c.IsSet("limit") && opt.Limit == 0 {
		return opt, usagef("--limit %d: expected at least 1 picture", opt.Limit)
	}
	if opt.Steps < 0 {
		return opt, usagef("--steps %d: expected 0 or more", opt.Steps)
	}
	for _, list := range c.StringSlice("measure") {
		for m := range strings.SplitSeq(list, ",") {
			if !slices.Contains(pipeline.Measures(), m) {
				return opt, usagef("--measure %s: expected some of %s", m, strings.Join(pipeline.Measures(), ", "))
			}
			opt.Measure = append(opt.Measure, m)
		}
	}
	if opt.Samples < 0 || c.IsSet("samples") && opt.Samples == 0 {
		return opt, usagef("--samples %d: expected at least 1 object", opt.Samples)
	}
	for _, flag := range []string{"samples", "backgrounds", "keep"} {
		if c.IsSet(flag) && !opt.Synthesize {
			return opt, usagef("--%s belongs to --synthesize, which is missing", flag)
		}
	}
	var err error
	opt.Open, err = c.openOptions()
	return opt, err
}
