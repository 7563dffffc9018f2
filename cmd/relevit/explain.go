package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/picture"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:  "explain",
		Usage: "write maps of pictures: where a model looks to see a class",
		UsageText: "relevit explain -m MODEL [-m AFTER] IMAGE|DIR ... -o DIR [--target CLASS|top1|top5|label] [--method ...]\n\n" +
			"relevit explain -m model.onnx cat.jpg -o maps\n" +
			"relevit explain -m run pictures/ -o maps --target label\n" +
			"relevit explain -m model.onnx -m run pictures/ -o maps\n" +
			"relevit explain -m weights.safetensors pictures/ -o maps --target 281,282 --method relevance,gradcam,legrad --sheet\n" +
			"relevit explain -m model.onnx cat.jpg -o maps --classes classes.tsv --target 'tabby cat'",
		Description: "MODEL is an ONNX file, with a relevance map of its own or without, a checkpoint, or a\n" +
			"run's folder, of which the best parameters are taken. For each picture DIR gets\n" +
			"NAME.overlay.png, what the model saw under the map; NAME.npy, the map (rows, columns)\n" +
			"as float32 between 0 and 1; NAME.map.png, the map in 16 bits of grey. Folders keep\n" +
			"their structure. explain.json lists files and classes with their probabilities.\n\n" +
			"Of several methods, targets or models the first one's files have these names, others'\n" +
			"are called NAME.METHOD.overlay.png, NAME.top2..., NAME.class281..., NAME.label... and\n" +
			"NAME.after.... With a second model NAME.sheet.png shows the picture, before and after.\n\n" +
			"Methods: relevance (the published rollout with gradients), rollout, attention, gradcam,\n" +
			"input-gradient, integrated-gradients, smoothgrad, legrad, grad-x-attention. What each\n" +
			"shows is told in docs/explain.md. A model with one output and no classes is explained\n" +
			"by that output.\n\n" +
			"A picture that can't be decoded is left out and listed.",
		Flags: append(append(slices.DeleteFunc(checkpointFlags(), func(f cli.Flag) bool { return f.Names()[0] == "heads" }), findFlags()...),
			&cli.StringSliceFlag{Name: "m", Usage: "explain `MODEL`, an ONNX file, a checkpoint or a run; given twice, the second shows what has changed"},
			outputFlag("write the maps into the folder `DIR`"),
			&cli.BoolFlag{Name: "force", Usage: "overwrite an explanation in DIR"},
			&cli.StringSliceFlag{Name: "target", Usage: "explain `CLASS`, an index or a name; top1, what the model predicts; top5, each of the five; or label, of the folder's name; several with commas, or repeated", DefaultText: pipeline.TargetTop1},
			&cli.StringSliceFlag{Name: "method", Usage: "explain by `METHOD`, see above; several with commas, or repeated", DefaultText: pipeline.MethodRelevance},
			&cli.StringFlag{Name: "classes", Usage: "read class index, folder name and title from the table `FILE`", DefaultText: "the run's, or the model's own names"},
			&cli.Float64Flag{Name: "opacity", Usage: "of the map over the picture, `SHARE` 0 to 1", Value: 0.5},
			&cli.StringFlag{Name: "colormap", Usage: "show maps in the colours of `NAME` inferno, magma, viridis or turbo", Value: picture.Inferno.Name},
			&cli.BoolFlag{Name: "sheet", Usage: "write NAME.sheet.png too: the picture beside all of its overlays"},
			&cli.IntFlag{Name: "batch", Usage: "explain `N` pictures at once", Value: 8},
			&cli.IntFlag{Name: "start-layer", Usage: "relevance, rollout, legrad: begin at block `N`, counted from 0", DefaultText: "the run's, or 0"},
			&cli.GenericFlag{Name: "heads", Usage: "relevance, rollout, attention, grad-x-attention: fuse heads by `HOW` mean or max; or, as a number, how many heads a checkpoint has; may be repeated", Value: &headsFlag{fusion: gradients.MeanHeads}},
			&cli.IntFlag{Name: "steps", Usage: "integrated-gradients: begin with `N` steps from a grey picture; they are doubled while more than 1 % is missed", Value: pipeline.DefaultSteps},
			&cli.IntFlag{Name: "samples", Usage: "smoothgrad: average `N` noisy copies", Value: pipeline.DefaultSamples},
			&cli.Float64Flag{Name: "noise", Usage: "smoothgrad: deviation of the noise, `SHARE` of the picture's range", Value: pipeline.DefaultNoise},
			&cli.Uint64Flag{Name: "seed", Usage: "smoothgrad: `N` for other noise"},
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
	if len(c.StringSlice("m")) == 0 {
		return usagef("%s: -m is missing; see %s --help", c.Command.HelpName, c.Command.HelpName)
	}
	if err := c.need("o"); err != nil {
		return err
	}
	opt, err := c.explainOptions(pictures)
	if err != nil {
		return err
	}
	if err := exist(append(c.StringSlice("m"), pictures...)...); err != nil {
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
	opt := pipeline.ExplainOptions{Inputs: pictures, Output: filepath.Clean(c.String("o")),
		Targets: c.StringSlice("target"), Classes: c.String("classes"), Opacity: c.Float64("opacity"), Sheet: c.Bool("sheet"), Batch: c.Int("batch"),
		Strict: c.Bool("strict"), Force: c.Bool("force"),
		Maps: pipeline.MapOptions{Steps: c.Int("steps"), Samples: c.Int("samples"), Noise: c.Float64("noise"), Seed: c.Uint64("seed")}}
	switch models := c.StringSlice("m"); len(models) {
	case 1:
		opt.Model = models[0]
	case 2:
		opt.Model, opt.After = models[0], models[1]
	default:
		return opt, usagef("-m is given %d times: explain one model, or two, before and after", len(models))
	}
	for _, list := range c.StringSlice("method") {
		for _, method := range strings.Split(list, ",") {
			method = strings.TrimSpace(method)
			if !slices.Contains(pipeline.Methods(), method) {
				return opt, usagef("--method %s: there are %s", method, strings.Join(pipeline.Methods(), ", "))
			}
			opt.Maps.Methods = append(opt.Maps.Methods, method)
		}
	}
	if !(opt.Opacity >= 0 && opt.Opacity <= 1) {
		return opt, usagef("--opacity %g: expected a number from 0 to 1", opt.Opacity)
	}
	for _, name := range []string{"batch", "steps", "samples"} {
		if n := c.Int(name); n < 1 {
			return opt, usagef("--%s %d: expected at least 1", name, n)
		}
	}
	if !(opt.Maps.Noise > 0) {
		return opt, usagef("--noise %g: expected a number above 0", opt.Maps.Noise)
	}
	if c.IsSet("start-layer") {
		n := c.Int("start-layer")
		if n < 0 {
			return opt, usagef("--start-layer %d: expected 0 or more", n)
		}
		opt.StartLayer = &n
	}
	var err error
	if opt.Colours, err = picture.ParseColourMap(c.String("colormap")); err != nil {
		return opt, usagef("--colormap: %v", err)
	}
	if opt.Open, err = c.openOptions(); err != nil {
		return opt, err
	}
	heads := c.Generic("heads").(*headsFlag)
	opt.Maps.Heads, opt.Open.Convert.Heads = heads.fusion, heads.count
	return opt, err
}

// headsFlag is --heads, which is about checkpoints and about methods: a number
// of heads, or how they are fused.
type headsFlag struct {
	count  int
	fusion gradients.Fusion
}

// Set implements flag.Value.
func (h *headsFlag) Set(text string) error {
	if f := gradients.Fusion(text); f == gradients.MeanHeads || f == gradients.MaxHeads {
		h.fusion = f
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return fmt.Errorf("expected %s or %s, or a number of heads", gradients.MeanHeads, gradients.MaxHeads)
	}
	h.count = n
	return nil
}

// String implements flag.Value.
func (h *headsFlag) String() string { return string(h.fusion) }

// describeExplanation prints what was found for people.
func describeExplanation(w io.Writer, e *pipeline.Explanation) {
	named := func(s pipeline.ScoredClass) string {
		name := s.Name
		if name == "" {
			name = fmt.Sprint("class ", s.Class)
		}
		return fmt.Sprintf("%s, %.1f %%", name, 100*s.Probability)
	}
	// said is what a model says of a picture.
	said := func(top []pipeline.ScoredClass, value *pipeline.Number) string {
		if value != nil {
			return fmt.Sprintf("%.4g", float64(*value))
		}
		return named(top[0])
	}
	head := []string{"PICTURE", "PREDICTED", "EXPLAINED", "OVERLAY"}
	if e.After != "" {
		head = []string{"PICTURE", "BEFORE", "AFTER", "EXPLAINED", "SHEET"}
	}
	var lines [][]string
	maps := 0
	for _, p := range e.Pictures {
		maps += max(len(p.Maps), 1)
		cells := []string{p.Picture, said(p.Top, p.Value)}
		if e.After != "" {
			cells = append(cells, said(p.TopAfter, p.ValueAfter))
		}
		if p.Value != nil {
			cells = append(cells, "the output")
		} else {
			cells = append(cells, named(p.Target))
		}
		file := p.Overlay
		if p.Sheet != "" {
			file = p.Sheet
		}
		if p.Constant {
			file += " (no relevance: the map is constant)"
		}
		lines = append(lines, append(cells, file))
	}
	table(w, head, lines)
	for _, s := range e.Skipped {
		fmt.Fprintf(w, "left out: %s: %s\n", s.Picture, s.Reason)
	}
	text := ""
	if maps > len(e.Pictures) {
		text = fmt.Sprintf(" by %d maps", maps)
	}
	fmt.Fprintf(w, "\n%d of %d pictures are explained%s in %s\n", len(e.Pictures), len(e.Pictures)+len(e.Skipped), text, e.Output)
}
