package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/pipeline"
)

func reportCommand() *cli.Command {
	return &cli.Command{
		Name:  "report",
		Usage: "write one page on runs and evaluations",
		UsageText: "relevit report RUN|EVAL... [-o FILE.html]\n\n" +
			"relevit report run\n" +
			"relevit report run imagenet-a.json -o report.html\n" +
			"relevit --json report run",
		Description: "RUN is a run's folder, EVAL a file with what relevit --json evaluate prints. The page says\n" +
			"what was trained from what by which command, draws the curves, shows the held-out\n" +
			"pictures whose relevance changed most, and ends in a model card. It is one HTML file\n" +
			"that needs no network. --json gives every figure that it shows.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "o", Usage: "write the page into `FILE`", DefaultText: "report.html in the run's folder"},
			&cli.BoolFlag{Name: "force", Usage: "overwrite FILE if it exists"},
		},
		Action: action(writeReport),
	}
}

func writeReport(c *call) error {
	opt := pipeline.ReportOptions{Sources: c.Args().Slice(), Output: c.String("o"), Force: c.Bool("force")}
	switch {
	case len(opt.Sources) == 0:
		return usagef("%s: RUN or EVAL is missing; see %s --help", c.Command.HelpName, c.Command.HelpName)
	case opt.Output == "" && (len(opt.Sources) > 1 || !pipeline.IsRun(opt.Sources[0])):
		if err := exist(opt.Sources...); err != nil {
			return err
		}
		return usagef("%s: -o is missing: where to write a page that is not of one run alone; see %s --help", c.Command.HelpName, c.Command.HelpName)
	}
	if err := exist(opt.Sources...); err != nil {
		return err
	}
	if err := outputs(opt.Output); opt.Output != "" && err != nil {
		return err
	}
	r, err := pipeline.Report(opt)
	if err != nil {
		return err
	}
	return c.print(r, func(w io.Writer) {
		if r.Lead != "" {
			fmt.Fprintf(w, "%s\n\n", plain(r.Lead))
		}
		rows(w, []row{{"wrote", r.File}, {"size", fmt.Sprintf("%s bytes", count(int64(r.Bytes)))}})
	})
}
