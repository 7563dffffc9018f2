package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/pipeline"
)

func finetuneCommand() *cli.Command {
	return &cli.Command{
		Name:  "finetune",
		Usage: "train a model on pictures with masks until its relevance rests on the object",
		UsageText: "relevit finetune -c CONFIG.yaml [-c ...] [--set key=value ...] [-o RUN] [--resume]\n\n" +
			"relevit finetune -c vit-tiny --set model=model.onnx --set data.images=IMAGES --set data.masks=MASKS -o run\n" +
			"relevit finetune -c my.yaml --set lr=2e-6 -o run\n" +
			"relevit finetune -c my.yaml --set 'sweep.lr=[1e-6, 3e-6]' --set 'sweep.seed=[0, 1]' -o batch\n" +
			"relevit finetune -c vit.yaml -c deit.yaml -o batch\n" +
			"relevit finetune --resume -o run",
		Description: "A CONFIG is the name of a preset or a YAML file. Several are layers of one configuration,\n" +
			"later ones winning key by key; but where two or more name a model and data, each of those\n" +
			"is a run of its own, and the others are layers of every run. A section sweep makes a run\n" +
			"of every combination of the values that it lists:\n\n" +
			"    sweep:\n" +
			"      lr: [1e-6, 3e-6]\n" +
			"      seed: [0, 1, 2]\n\n" +
			"Several runs are made one after another, each in a folder of its name in RUN, and compared\n" +
			"in RUN/compare.html at the end. Ctrl-C saves and stops; --resume goes on, with a batch at\n" +
			"the run where it stopped. The presets:\n" + wrap(configs.Presets(), 80),
		Flags: append(append(configFlags(), checkpointFlags()...),
			&cli.StringFlag{Name: "o", Usage: "keep the run, or the folders of several, in the folder `RUN`", Value: "run"},
			&cli.BoolFlag{Name: "strict", Usage: "stop at a picture that can't be decoded instead of leaving it out; the same as --set strict=true"},
			&cli.StringFlag{Name: "on-nan", Usage: "where the loss is no number, `DO`: stop, skip that batch's update, or rollback to the last checkpoint; the same as --set on_nan=DO"},
			&cli.BoolFlag{Name: "resume", Usage: "go on with the run in RUN, or start it where there is none"},
		),
		Action: action(finetune),
	}
}

func finetune(c *call) error {
	if _, err := c.operands(); err != nil {
		return err
	}
	if err := c.need("o"); err != nil {
		return err
	}
	opt := pipeline.FinetuneOptions{Dir: c.String("o"), Resume: c.Bool("resume"), Tool: version(), Command: commandLine(os.Args)}
	settings := c.StringSlice("set")
	if c.Bool("strict") {
		settings = append(settings, "strict=true")
	}
	if c.IsSet("on-nan") {
		settings = append(settings, "on_nan="+c.String("on-nan"))
	}
	given := c.IsSet("c") || len(settings) > 0
	if !given && !opt.Resume {
		return usagef("relevit finetune: -c is missing; the presets are %s", strings.Join(configs.Presets(), ", "))
	}
	if opt.Resume && !c.IsSet("c") && given && (pipeline.IsRun(opt.Dir) || pipeline.IsBatch(opt.Dir)) {
		return usagef("relevit finetune: --resume goes on with the configuration of %s: leave --set, --strict and --on-nan out, or start another run", opt.Dir)
	}
	var err error
	if opt.Open.Convert, err = c.checkpointOptions(); err != nil {
		return err
	}
	if given {
		if size := opt.Open.Convert.ImageSize; size != [2]int{} { // so that the run remembers it
			settings = append(settings, fmt.Sprintf("preprocess.image_size=[%d, %d]", size[0], size[1]))
		}
	}
	runs, batch, err := c.runs(given, settings)
	if err != nil {
		return err
	}
	if opt.ORT, err = c.runtimeOptions(); err != nil {
		return err
	}
	view := &trainingView{c: c, warned: map[string]bool{}}
	opt.Hooks = view.hooks()
	if batch || runs == nil && pipeline.IsBatch(opt.Dir) {
		return c.finetuneBatch(pipeline.BatchOptions{Runs: runs, Dir: opt.Dir, Resume: opt.Resume, Each: opt}, view)
	}
	if runs != nil {
		opt.Config = runs[0].Config
	}
	r, err := pipeline.Finetune(c.Context.Context, opt)
	view.close()
	if err != nil {
		return err
	}
	return c.print(r, func(w io.Writer) { describeTraining(w, r) })
}

// runs resolves the configurations that are given, nil if none is.
func (c *call) runs(given bool, settings []string) (runs []configs.Named, batch bool, err error) {
	if !given {
		return nil, false, nil
	}
	if runs, batch, err = configs.LoadRuns(c.StringSlice("c"), settings); err != nil {
		return nil, false, err
	}
	for _, r := range runs {
		if r.Config.Model == "" {
			return nil, false, &configs.Error{Key: "model", Msg: "no model is named; set it to an ONNX file or a checkpoint, as in --set model=model.onnx"}
		}
		if err := exist(r.Config.Model); err != nil {
			return nil, false, err
		}
	}
	return runs, batch, nil
}

// finetuneBatch makes several runs.
func (c *call) finetuneBatch(opt pipeline.BatchOptions, view *trainingView) error {
	began, made := time.Now(), 0
	opt.OnRun = func(r pipeline.BatchRun) {
		view.close()
		*view = trainingView{c: c, warned: view.warned}
		switch {
		case r.Failed != "":
			c.note("Run %d of %d, %s, failed: %s", r.Number, r.Of, r.Name, r.Failed)
		case r.Skipped:
			c.note("Run %d of %d, %s, is finished", r.Number, r.Of, r.Name)
		case r.Done:
			made++
		default:
			left := ""
			if made > 0 {
				each := time.Since(began) / time.Duration(made)
				left = fmt.Sprintf("; about %v left for all", (each * time.Duration(r.Of-r.Number+1)).Round(time.Second))
			}
			c.note("Run %d of %d, %s%s", r.Number, r.Of, r.Name, left)
			view.run = fmt.Sprintf("run %d/%d, ", r.Number, r.Of)
		}
	}
	r, err := pipeline.FinetuneBatch(c.Context.Context, opt)
	view.close()
	if r == nil {
		return err
	}
	if err != nil && c.json {
		err = &printedError{err}
	}
	page := filepath.Join(opt.Dir, "compare.html")
	return errors.Join(c.print(r, func(w io.Writer) { describeComparison(w, r, page) }), err)
}

// commandLine quotes what the shell would not take as it stands.
func commandLine(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\$`*?[]{}()<>|&;#~!") {
			out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	out[0] = "relevit"
	return strings.Join(out, " ")
}

func describeTraining(w io.Writer, r *pipeline.FinetuneResult) {
	best := ""
	if r.BestEpoch >= 0 {
		best = fmt.Sprintf("epoch %d", r.BestEpoch+1)
	}
	undone := ""
	if r.Undone > 0 {
		undone = fmt.Sprintf("%d of these steps, left out or taken back where the loss was no number", r.Undone)
	}
	rows(w, []row{
		{"run", r.Run},
		{"trained", fmt.Sprintf("%d epochs, %d steps, %.0f s", r.Epochs, r.Steps, r.Seconds)},
		{"best", best},
		{"undone", undone},
		{"left out", strings.Join(r.Skipped, "\n")},
	})
	if r.Before != nil && r.After != nil {
		describeHeldOut(w, r)
	}
	fmt.Fprintf(w, "\nExport it: relevit export %s -o robust.onnx\n", r.Run)
}

func describeHeldOut(w io.Writer, r *pipeline.FinetuneResult) {
	line := func(name, format string, before, after pipeline.Number) []string {
		return []string{name, fmt.Sprintf(format, before), fmt.Sprintf(format, after)}
	}
	fmt.Fprintln(w)
	table(w, []string{fmt.Sprintf("%d HELD-OUT PICTURES", r.After.Pictures), "BEFORE", "AFTER"}, [][]string{
		line("relevance on the foreground", "%.1f %%", 100*r.Before.ForegroundShare, 100*r.After.ForegroundShare),
		line("IoU of mask and relevance", "%.1f %%", 100*r.Before.IoU, 100*r.After.IoU),
		line("top-1 is the label", "%.1f %%", 100*r.Before.Accuracy, 100*r.After.Accuracy),
		line("loss", "%.4f", r.Before.Loss, r.After.Loss),
	})
}

// trainingView shows a run as it goes on.
type trainingView struct {
	c      *call
	run    string // which of a batch's
	steps  *meter
	aside  *meter // of what happens before, between and after steps
	what   string // that is
	epochs int
	done   int // steps
	warned map[string]bool
}

func (v *trainingView) hooks() pipeline.Hooks {
	return pipeline.Hooks{OnStart: v.start, OnStep: v.step, OnEpoch: v.epoch, OnProgress: v.progress, OnWarning: v.warn}
}

func (v *trainingView) start(p pipeline.Plan) {
	v.close()
	if v.c.String("device") != "cpu" { // after the run's own sessions too
		v.c.signals.rearm()
	}
	v.c.note("Training %s parameters of %s on %d pictures, %d held out, in about %.1f GB of memory; run folder %s",
		count(int64(p.Params)), p.Model, p.Train, p.Validation, float64(p.Memory)/1e9, p.Run)
	if p.From > 0 {
		v.c.note("Going on after step %d", p.From)
	}
	v.epochs, v.done = p.Epochs, p.From
	v.steps = v.c.meter("training", "steps", p.From, p.Epochs*p.Steps)
}

func (v *trainingView) step(r pipeline.StepRecord) {
	v.endAside()
	v.done = r.GlobalStep + 1
	v.steps.set(v.done, fmt.Sprintf("%sepoch %d/%d, loss %.4f", v.run, r.Epoch+1, v.epochs, r.Loss))
	if r.ConstantMaps > 0 {
		v.steps.say("step %d: %d relevance maps are constant; they count as zero", v.done, r.ConstantMaps)
	}
}

func (v *trainingView) epoch(r pipeline.EpochRecord) {
	v.endAside()
	line := fmt.Sprintf("epoch %d/%d: loss %.4f", r.Epoch+1, v.epochs, r.Loss)
	if m := r.Validation; m != nil {
		line += fmt.Sprintf("; held out: loss %.4f, relevance on the foreground %.1f %%, IoU %.1f %%, top-1 %.1f %%",
			m.Loss, 100*m.ForegroundShare, 100*m.IoU, 100*m.Accuracy)
	}
	if r.Best {
		line += " (best yet)"
	}
	v.steps.say("%s", line)
}

func (v *trainingView) progress(what string, done, total int) {
	if v.aside == nil || v.what != what {
		v.close()
		unit := "pictures"
		if what == "annotations" {
			unit = "MB"
		}
		v.aside, v.what = v.c.meter(what, unit, 0, total), what
	}
	v.aside.set(done, "")
}

// warn says everything once.
func (v *trainingView) warn(text string) {
	if v.warned[text] {
		return
	}
	v.warned[text] = true
	v.endAside()
	v.c.note("warning: %s", text)
}

func (v *trainingView) endAside() {
	if v.aside != nil {
		v.aside.end()
		v.aside = nil
	}
}

// close takes the bars off the screen; the one of training comes back with its
// next step.
func (v *trainingView) close() {
	v.endAside()
	if v.steps != nil {
		v.steps.end()
	}
}
