package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/pipeline/demo"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "do the main job on generated pictures and a model that the binary embeds",
		UsageText: "relevit demo [-o DIR]\n\n" +
			"relevit demo -o demo-run",
		Description: "A tiny Vision Transformer knows shapes by the backgrounds that betray them. Finetuning\n" +
			"with masks makes it look at the shapes; the demo measures that on pictures never\n" +
			"trained on, over several seeds, exports and verifies the model, and writes a report.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "o", Usage: "keep everything in the folder `DIR`", Value: "demo-run"},
			&cli.IntFlag{Name: "seeds", Usage: "repeat the finetuning for `N` seeds", DefaultText: "3"},
			&cli.IntFlag{Name: "epochs", Usage: "finetune for `N` epochs", DefaultText: "25"},
			&cli.IntFlag{Name: "pictures", Usage: "finetune on `N` pictures", DefaultText: "720"},
			&cli.IntFlag{Name: "test-pictures", Usage: "measure on `N` pictures of either kind", DefaultText: "600"},
		},
		Action: action(runDemo),
	}
}

func runDemo(c *call) error {
	if _, err := c.operands(); err != nil {
		return err
	}
	if err := c.need("o"); err != nil {
		return err
	}
	for _, name := range []string{"seeds", "epochs", "pictures", "test-pictures"} {
		if c.IsSet(name) && c.Int(name) < 1 {
			return usagef("--%s %d: expected 1 or more", name, c.Int(name))
		}
	}
	opt := demo.RunOptions{Dir: c.String("o"), Version: version(), Command: commandLine(os.Args), Seeds: c.Int("seeds"),
		Epochs: c.Int("epochs"), Pictures: c.Int("pictures"), TestPictures: c.Int("test-pictures")}
	var err error
	if opt.ORT, err = c.runtimeOptions(); err != nil {
		return err
	}
	if err := opt.ORT.Load(); err != nil {
		return err
	}
	var m *meter
	opt.OnProgress = func(what string, done, total int) {
		if m == nil {
			m = c.meter("demo", "parts", 0, total)
		}
		m.set(done, what)
	}
	r, err := demo.Run(c.Context.Context, opt)
	if m != nil {
		m.end()
	}
	if err != nil {
		return err
	}
	return c.print(r, func(w io.Writer) { describeDemo(w, r) })
}

// describeDemo prints the result for people.
func describeDemo(w io.Writer, r *demo.Result) {
	percent := func(v demo.Interval) string {
		return fmt.Sprintf("%.1f %% [%.1f, %.1f]", 100*v.Mean, 100*v.Low, 100*v.High)
	}
	set := ""
	var lines [][]string
	flush := func() {
		if lines != nil {
			fmt.Fprintf(w, "Pictures with %s (%d)\n", set, r.Tested)
			table(w, []string{"", "BEFORE", "AFTER", "WITHOUT MASKS"}, lines)
			fmt.Fprintln(w)
		}
		lines = nil
	}
	for _, m := range r.Comparisons {
		if m.Pictures != set {
			flush()
			set = m.Pictures
		}
		lines = append(lines, []string{m.Measure, percent(m.Before), percent(m.After), percent(m.NoMasks)})
	}
	flush()
	rows(w, []row{
		{"finetuned on", fmt.Sprintf("%d pictures, for each of %d seeds", r.Pictures, len(r.Seeds))},
		{"exported model", r.Robust},
		{"  against the original", r.Verdict},
		{"  its logits", fmt.Sprintf("within %.2g of the run's own (largest %.3g)", r.Logits, r.Largest)},
		{"report", r.Report},
		{"time", fmt.Sprintf("%.0f s", r.Seconds)},
	})
	fmt.Fprintf(w, "\nFinetune again: relevit finetune -c %s -o %s\n", r.Config, strings.TrimSuffix(r.Folder, "/")+"-again")
}
