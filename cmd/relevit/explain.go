package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/pipeline"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:  "explain",
		Usage: "write relevance maps of pictures: where a model looks to see a class",
		UsageText: "relevit explain -m MODEL IMAGE|DIR ... -o DIR [--target CLASS|top1|label]\n\n" +
			"relevit explain -m model.onnx cat.jpg -o maps\n" +
			"relevit explain -m run pictures/ -o maps --target label\n" +
			"relevit explain -m weights.safetensors pictures/ -o maps --target 281\n" +
			"relevit explain -m model.onnx cat.jpg -o maps --classes classes.tsv --target 'tabby cat'",
		Description: "MODEL is an ONNX file, with a relevance map of its own or without, a checkpoint, or a\n" +
			"run's folder, of which the best parameters are taken. For each picture DIR gets\n" +
			"NAME.overlay.png, what the model saw under the map; NAME.npy, the map (rows, columns)\n" +
			"as float32 between 0 and 1; NAME.map.png, the map in 16 bits of grey. Folders keep\n" +
			"their structure. explain.json lists files and classes with their probabilities.\n\n" +
			"A picture that can't be decoded is left out and listed.",
		Flags: append(append(checkpointFlags(), findFlags()...),
			&cli.StringFlag{Name: "m", Usage: "explain `MODEL`, an ONNX file, a checkpoint or a run"},
			outputFlag("write the maps into the folder `DIR`"),
			&cli.BoolFlag{Name: "force", Usage: "overwrite an explanation in DIR"},
			&cli.StringFlag{Name: "target", Usage: "explain `CLASS`, an index or a name; top1, what the model predicts; or label, of the folder's name", Value: pipeline.TargetTop1},
			&cli.StringFlag{Name: "method", Usage: "explain by `METHOD` relevance", Value: pipeline.MethodRelevance},
			&cli.StringFlag{Name: "classes", Usage: "read class index, folder name and title from the table `FILE`", DefaultText: "the run's, or the model's own names"},
			&cli.Float64Flag{Name: "opacity", Usage: "of the map over the picture, `SHARE` 0 to 1", Value: 0.5},
			&cli.IntFlag{Name: "batch", Usage: "explain `N` pictures at once", Value: 8},
			&cli.IntFlag{Name: "start-layer", Usage: "begin the rollout at block `N`, counted from 0", DefaultText: "the run's, or 0"},
			&cli.BoolFlag{Name: "strict", Usage: "stop at a picture that can't be decoded instead of leaving it out"},
		),
		Action: action(explain),
	}
}

func explain(c *call) error {
	pictures := c.Args().Slice()
	if len(pictures) == 0 {
		_, err := c.operands("IMAGE or DIR")
		return err
	}
	if err := c.need("m", "o"); err != nil {
		return err
	}
	opt, err := c.explainOptions(pictures)
	if err != nil {
		return err
	}
	if err := exist(append([]string{opt.Model}, pictures...)...); err != nil {
		return err
	}
	if err := outputs(opt.Output); err != nil {
		return err
	}
	if opt.ORT, err = c.runtimeOptions(); err != nil {
		return err
	}
	var m *meter
	opt.OnStart = func(pictures int) { m = c.meter("explaining", "pictures", 0, pictures) }
	opt.OnProgress = func(done, _ int) { m.set(done, "") }
	opt.OnSkipped = func(path, why string) { m.say("skipped: %s: %s", path, why) }
	opt.OnWarning = func(text string) { c.note("warning: %s", text) }
	e, err := pipeline.Explain(c.Context.Context, opt)
	if m != nil {
		m.end()
	}
	if err != nil {
		return err
	}
	return c.print(e, func(w io.Writer) { describeExplanation(w, e) })
}

// explainOptions reads explain's flags.
func (c *call) explainOptions(pictures []string) (pipeline.ExplainOptions, error) {
	opt := pipeline.ExplainOptions{Model: c.String("m"), Inputs: pictures, Output: filepath.Clean(c.String("o")), Method: c.String("method"),
		Target: c.String("target"), Classes: c.String("classes"), Opacity: c.Float64("opacity"), Batch: c.Int("batch"),
		Strict: c.Bool("strict"), Force: c.Bool("force")}
	if opt.Method != pipeline.MethodRelevance {
		return opt, usagef("--method %s: there is only %s", opt.Method, pipeline.MethodRelevance)
	}
	if !(opt.Opacity >= 0 && opt.Opacity <= 1) {
		return opt, usagef("--opacity %g: expected a number from 0 to 1", opt.Opacity)
	}
	if opt.Batch < 1 {
		return opt, usagef("--batch %d: expected at least 1 picture", opt.Batch)
	}
	if c.IsSet("start-layer") {
		n := c.Int("start-layer")
		if n < 0 {
			return opt, usagef("--start-layer %d: expected 0 or more", n)
		}
		opt.StartLayer = &n
	}
	var err error
	opt.Open, err = c.openOptions()
	return opt, err
}

// describeExplanation prints what was found for people.
func describeExplanation(w io.Writer, e *pipeline.Explanation) {
	named := func(s pipeline.ScoredClass) string {
		name := s.Name
		if name == "" {
			name = fmt.Sprint("class ", s.Class)
		}
		return fmt.Sprintf("%s, %.1f %%", name, 100*s.Probability)
	}
	var lines [][]string
	for _, p := range e.Pictures {
		cells := []string{p.Picture, named(p.Top[0]), named(p.Target), p.Overlay}
		if p.Constant {
			cells[3] += " (no relevance: the map is constant)"
		}
		lines = append(lines, cells)
	}
	table(w, []string{"PICTURE", "PREDICTED", "EXPLAINED", "OVERLAY"}, lines)
	for _, s := range e.Skipped {
		fmt.Fprintf(w, "left out: %s: %s\n", s.Picture, s.Reason)
	}
	fmt.Fprintf(w, "\n%d of %d pictures are explained in %s\n", len(e.Pictures), len(e.Pictures)+len(e.Skipped), e.Output)
}
