package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/report"
)

func compareCommand() *cli.Command {
	return &cli.Command{
		Name:  "compare",
		Usage: "set runs side by side in one table and page",
		UsageText: "relevit compare RUN|BATCH|EVAL... [-o FILE.html]\n\n" +
			"relevit compare runs/*\n" +
			"relevit compare batch -o compare.html\n" +
			"relevit --json compare run1 run2 eval.json",
		Description: "RUN is a run's folder, BATCH the folder of several that finetune made at once, EVAL a file\n" +
			"with what relevit --json evaluate prints. Of the configuration those keys are shown whose\n" +
			"values differ. Runs that are not finished are shown as far as they are.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "o", Usage: "also write a page into `FILE`"},
			&cli.BoolFlag{Name: "force", Usage: "overwrite FILE if it exists"},
		},
		Action: action(compare),
	}
}

func compare(c *call) error {
	paths := c.Args().Slice()
	if len(paths) == 0 {
		return usagef("%s: RUN is missing; see %s --help", c.Command.HelpName, c.Command.HelpName)
	}
	if err := exist(paths...); err != nil {
		return err
	}
	to := c.String("o")
	if to != "" {
		if err := outputs(to); err != nil {
			return err
		}
		if err := pipeline.Vacant(to, c.Bool("force")); err != nil {
			return err
		}
	}
	r, err := pipeline.Compare(paths)
	if err != nil {
		return err
	}
	if to != "" {
		if err := pipeline.WriteComparison(r, to, c.Bool("force")); err != nil {
			return err
		}
	}
	return c.print(r, func(w io.Writer) { describeComparison(w, r, to) })
}

func describeComparison(w io.Writer, r *pipeline.Comparison, page string) {
	for _, s := range r.Page.Sections {
		for _, t := range s.Tables {
			describeTable(w, t)
			fmt.Fprintln(w)
		}
	}
	if r.Page.Lead != "" {
		fmt.Fprintln(w, plain(r.Page.Lead))
	}
	rows(w, []row{{"wrote", page}})
}

// describeTable prints a page's table.
func describeTable(w io.Writer, t report.Table) {
	var lines [][]string
	for _, r := range t.Rows {
		var line []string
		for _, cell := range r {
			line = append(line, plain(cell.Text))
		}
		lines = append(lines, line)
	}
	table(w, t.Columns, lines)
}
