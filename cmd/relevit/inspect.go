package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/pipeline"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:  "inspect",
		Usage: "tell what a model or checkpoint is, and whether it can be finetuned",
		UsageText: "relevit inspect FILE\n\n" +
			"relevit inspect model.onnx\n" +
			"relevit inspect vit_tiny_patch16_224.safetensors --json",
		Action: action(inspect),
	}
}

func inspect(c *call) error {
	args, err := c.operands("FILE")
	if err != nil {
		return err
	}
	if err := inputs(args[0]); err != nil {
		return err
	}
	var r *models.Report
	err = c.during("inspecting", func() error {
		r, err = pipeline.Inspect(args[0])
		return err
	})
	if err != nil {
		return err
	}
	return c.print(r, func(w io.Writer) { describe(w, r) })
}

// describe prints a report for people.
func describe(w io.Writer, r *models.Report) {
	list := []row{{"kind", r.Kind}, {"architecture", r.Architecture}, {"", r.Description}, {"producer", r.Producer}}
	if r.Opset > 0 {
		list = append(list, row{"opset", fmt.Sprint(r.Opset)})
	}
	list = append(list, row{"parameters", count(r.Parameters)}, row{"inputs", ports(r.Inputs)}, row{"outputs", ports(r.Outputs)})
	if r.Grid != [2]int64{} {
		list = append(list, row{"patches", fmt.Sprintf("%d rows, %d columns", r.Grid[0], r.Grid[1])},
			row{"prefix tokens", fmt.Sprint(r.PrefixTokens)}, row{"pooling", r.Pool})
	}
	if p := r.Preprocess; p != nil {
		list = append(list, row{"preprocessing", fmt.Sprintf("%dx%d, %s, %s crop %.4g\nmean %.4g, std %.4g",
			p.InputSize[1], p.InputSize[2], p.Interpolation, p.CropMode, p.CropPct, p.Mean, p.Std)})
	}
	rows(w, append(list, row{"notes", strings.Join(r.Notes, "\n")}))
	if len(r.Attention) > 0 {
		fmt.Fprintln(w)
		var lines [][]string
		for _, a := range r.Attention {
			lines = append(lines, []string{fmt.Sprint(a.Block), fmt.Sprint(a.Heads), fmt.Sprint(a.Tokens), a.Tensor})
		}
		table(w, []string{"BLOCK", "HEADS", "TOKENS", "ATTENTION MAP"}, lines)
	}
	if len(r.Problems) == 0 {
		fmt.Fprintln(w, "\nIt can be finetuned.")
		return
	}
	fmt.Fprintln(w, "\nIt can't be finetuned:")
	for _, p := range r.Problems {
		fmt.Fprintf(w, "- %s\n", p)
	}
}

func ports(list []models.Port) string {
	var lines []string
	for _, p := range list {
		shape := strings.NewReplacer("[", "(", "]", ")", " ", ",").Replace(fmt.Sprint(p.Shape))
		lines = append(lines, p.Name+" "+p.Type+shape)
	}
	return strings.Join(lines, "\n")
}
