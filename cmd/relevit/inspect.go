package main

import (
	"cmp"
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
		UsageText: "relevit inspect MODEL\n\n" +
			"relevit inspect model.onnx\n" +
			"relevit inspect vit-base-patch16-224/\n" +
			"relevit inspect vit_tiny_patch16_224.safetensors --json\n" +
			"relevit inspect model.onnx --attention '*/attn/Softmax*' --grid 14x14 --prefix-tokens 1",
		Description: "MODEL is an ONNX file or a checkpoint. What can't be told from it, or is told wrongly,\n" +
			"can be stated by flags. explain, trace and export take the same flags; for finetune\n" +
			"they are keys of the configuration: find.attention, find.grid, find.prefix_tokens,\n" +
			"find.logits.",
		Flags:  append(checkpointFlags(), findFlags()...),
		Action: action(inspect),
	}
}

func inspect(c *call) error {
	args, err := c.operands("MODEL")
	if err != nil {
		return err
	}
	opt, err := c.openOptions()
	if err != nil {
		return err
	}
	if err := exist(args[0]); err != nil {
		return err
	}
	var r *models.Report
	err = c.during("inspecting", func() error {
		r, err = pipeline.Inspect(args[0], opt)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(r, func(w io.Writer) { describe(w, r, finetuneBy(args[0], r, opt)) })
}

// poolWords say where relevance starts.
var poolWords = map[string]string{models.PoolToken: "class token", models.PoolAverage: "mean of the tokens", models.PoolMax: "maximum over the tokens",
	models.PoolAttention: "attention pooling", models.PoolUnknown: "unknown"}

// finetuneBy is the command line that finetunes a model, opened so.
func finetuneBy(path string, r *models.Report, opt pipeline.ModelOptions) string {
	args := []string{"", "finetune", "-c", pipeline.PresetFor(r)}
	if a := opt.Convert.Arch; a != "" {
		args = append(args, "--arch", a)
	}
	if s := opt.Convert.ImageSize; s != [2]int{} {
		args = append(args, "--image-size", fmt.Sprintf("%dx%d", s[0], s[1]))
	}
	if n := opt.Convert.Heads; n > 0 {
		args = append(args, "--heads", fmt.Sprint(n))
	}
	set := func(key string, value any) { args = append(args, "--set", fmt.Sprintf("%s=%v", key, value)) }
	set("model", path)
	f := opt.Find
	if len(f.Attention) > 0 {
		quoted := make([]string, len(f.Attention))
		for i, name := range f.Attention {
			quoted[i] = fmt.Sprintf("%q", name)
		}
		set("find.attention", "["+strings.Join(quoted, ", ")+"]")
	}
	if f.Grid != [2]int64{} {
		set("find.grid", fmt.Sprintf("[%d, %d]", f.Grid[0], f.Grid[1]))
	}
	if f.PrefixTokens != nil {
		set("find.prefix_tokens", *f.PrefixTokens)
	}
	if f.Output != "" {
		set("find.logits", f.Output)
	}
	set("data.images", "IMAGES")
	set("data.masks", "MASKS")
	return commandLine(append(args, "-o", "run"))
}

// describe prints a report for people.
func describe(w io.Writer, r *models.Report, finetune string) {
	parameters := ""
	if r.Parameters > 0 {
		parameters = count(r.Parameters) + " in " + r.Precision
	}
	list := []row{{"kind", r.Source}, {"architecture", r.Architecture}, {"", r.Description}, {"parameters", parameters},
		{"weights in", strings.Join(r.ExternalData, ", ")}}
	if r.Kind == "onnx" {
		list = append(list, row{"opset", fmt.Sprint(r.Opset)})
	}
	list = append(list, row{"inputs", ports(r.Inputs)}, row{"outputs", ports(r.Outputs)})
	if r.ImageSize != [2]int64{} {
		list = append(list, row{"pictures", fmt.Sprintf("%d x %d pixels", r.ImageSize[0], r.ImageSize[1])})
	}
	if r.Grid != [2]int64{} {
		patches := fmt.Sprintf("%d rows, %d columns", r.Grid[0], r.Grid[1])
		if r.Patch != [2]int64{} {
			patches += fmt.Sprintf(", of %d x %d pixels", r.Patch[0], r.Patch[1])
		}
		prefix := fmt.Sprint(r.PrefixTokens)
		if r.Prefix != "" {
			prefix += ": " + r.Prefix
		}
		list = append(list, row{"patches", patches}, row{"prefix tokens", prefix}, row{"pooling", cmp.Or(poolWords[r.Pool], r.Pool)})
	}
	if p := r.Preprocess; p != nil {
		list = append(list, row{"preprocessing", fmt.Sprintf("%s, %s crop %.4g\nmean %.4g, std %.4g", p.Interpolation, p.CropMode, p.CropPct, p.Mean, p.Std)})
	}
	if r.Classes > 0 {
		list = append(list, row{"classes", classes(r)})
	}
	rows(w, append(list, row{"notes", strings.Join(r.Notes, "\n")}))
	attentions(w, r.Attention)
	if len(r.Problems) == 0 {
		fmt.Fprintf(w, "\nIt can be finetuned:\n  %s\n", finetune)
		return
	}
	fmt.Fprintln(w, "\nIt can't be finetuned:")
	for _, p := range r.Problems {
		fmt.Fprintf(w, "- %s\n", p)
	}
}

// classes counts the classes and names the first.
func classes(r *models.Report) string {
	const most = 3
	s := fmt.Sprint(r.Classes)
	if len(r.ClassNames) == 0 {
		return s
	}
	var names []string
	for _, name := range r.ClassNames[:min(most, len(r.ClassNames))] {
		name, _, _ = strings.Cut(name, ",") // other names may follow
		names = append(names, name)
	}
	s += ": " + strings.Join(names, ", ")
	if len(r.ClassNames) > most {
		s += ", ..."
	}
	return s
}

// attentions lists the maps; of many, the first and the last.
func attentions(w io.Writer, list []models.AttentionEntry) {
	const most = 6
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w)
	var lines [][]string
	for i, a := range list {
		switch {
		case len(list) > most && i == 2:
			lines = append(lines, []string{"...", "", "", fmt.Sprintf("%d more; --json lists all", len(list)-3)})
		case len(list) <= most || i < 2 || i == len(list)-1:
			lines = append(lines, []string{fmt.Sprint(a.Block), fmt.Sprint(a.Heads), fmt.Sprint(a.Tokens), a.Tensor})
		}
	}
	table(w, []string{"BLOCK", "HEADS", "TOKENS", "ATTENTION MAP"}, lines)
}

func ports(list []models.Port) string {
	var lines []string
	for _, p := range list {
		shape := strings.NewReplacer("[", "(", "]", ")", " ", ",").Replace(fmt.Sprint(p.Shape))
		lines = append(lines, p.Name+" "+p.Type+shape)
	}
	return strings.Join(lines, "\n")
}
