package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/web"
)

func webCommand() *cli.Command {
	return &cli.Command{
		Name:  "web",
		Usage: "write a page that runs one or two models in a browser and shows their relevance",
		UsageText: "relevit web MODEL [MODEL2] -o DIR [--serve]\n\n" +
			"relevit web vit-tiny.onnx robust.onnx -o page --serve\n" +
			"relevit web run -o page --classes imagenet-classes.tsv\n" +
			"relevit web -o page --serve",
		Description: "A MODEL is an ONNX file, a checkpoint, or a run's folder. The page takes pictures that\n" +
			"are dropped, pasted or chosen, and shows classes and relevance, before and after where\n" +
			"there are two models. DIR holds all that it needs, onnxruntime-web included, which npm\n" +
			"fetches once; neither the models nor the pictures leave the browser.\n\n" +
			"Browsers run such a page from a server only, not from a file. Any server of files will\n" +
			"do; --serve is one, on this machine alone, until Ctrl-C. It sends the headers by which\n" +
			"a page may use several threads (Cross-Origin-Opener-Policy: same-origin and\n" +
			"Cross-Origin-Embedder-Policy: require-corp). Without MODEL it serves the page in DIR.",
		Flags: append(checkpointFlags(),
			outputFlag("write the page into the folder `DIR`"), forceFlag(),
			&cli.StringFlag{Name: "classes", Usage: "take the names of the classes from `FILE`, a table of index, folder name and title", DefaultText: "the models' own"},
			&cli.IntFlag{Name: "start-layer", Usage: "begin the relevance at block `N`, counted from 0", DefaultText: "0"},
			&cli.StringFlag{Name: "web-runtime", Usage: "take onnxruntime-web from its unpacked npm package in `FOLDER`"},
			&cli.BoolFlag{Name: "serve", Usage: "serve the page until Ctrl-C"},
			&cli.StringFlag{Name: "address", Usage: "serve at `HOST:PORT`", Value: "127.0.0.1:8000"},
		),
		Action: action(writeWeb),
	}
}

func writeWeb(c *call) error {
	if err := c.need("o"); err != nil {
		return err
	}
	args, serve := c.Args().Slice(), c.Bool("serve")
	if c.IsSet("address") && !serve {
		return usagef("--address is for --serve, which isn't given")
	}
	if len(args) > 0 || !serve {
		if err := c.writePage(args); err != nil {
			return err
		}
	}
	if !serve {
		return nil
	}
	return web.Serve(c.Context.Context, c.String("o"), c.String("address"), func(url string) {
		c.note("Open %s in a browser; Ctrl-C ends the server.", url)
	})
}

// writePage writes the page of one or two models.
func (c *call) writePage(args []string) error {
	if len(args) == 0 || len(args) > 2 {
		names := []string{"MODEL", "MODEL2"}
		_, err := c.operands(names[:max(1, min(len(args), len(names)))]...)
		return err
	}
	opt := web.Options{Models: args, Output: strings.TrimRight(c.String("o"), "/"), Classes: c.String("classes"), Force: c.Bool("force"),
		Open:      pipeline.ModelOptions{Version: version()},
		Relevance: pipeline.RelevanceOptions{StartLayer: c.Int("start-layer")},
		Runtime:   c.webRuntime,
		OnWarning: func(text string) { c.note("warning: %s", text) }}
	if opt.Relevance.StartLayer < 0 {
		return usagef("--start-layer %d: expected 0 or more", opt.Relevance.StartLayer)
	}
	var err error
	if opt.Open.Convert, err = c.checkpointOptions(); err != nil {
		return err
	}
	for _, path := range args {
		if !pipeline.IsRun(path) {
			err = exist(path)
		}
		if err != nil {
			return err
		}
	}
	if err := outputs(opt.Output); err != nil {
		return err
	}
	if opt.Classes != "" {
		if err := inputs(opt.Classes); err != nil {
			return err
		}
	}
	var site *web.Site
	err = c.during("writing the page", func() error {
		site, err = web.Write(c.Context.Context, opt)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(site, func(w io.Writer) { printSite(w, site) })
}

// webRuntime finds the files of onnxruntime-web, or fetches them.
func (c *call) webRuntime(ctx context.Context) (string, error) {
	if folder := c.String("web-runtime"); folder != "" {
		return ort.LocateWeb(folder)
	}
	progress := c.stderr
	if c.quiet {
		progress = io.Discard
	}
	return ort.InstallWeb(ctx, progress)
}

// printSite prints what was written for people.
func printSite(w io.Writer, s *web.Site) {
	list := []row{{"wrote", s.Output}}
	for _, m := range s.Models {
		list = append(list, row{m.Title, fmt.Sprintf("%s, %d classes, %dx%d pixels", m.Source, m.Classes, m.Preprocess.Size[0], m.Preprocess.Size[1])})
	}
	total := int64(0)
	for _, f := range s.Files {
		total += f.Bytes
	}
	rows(w, append(list, row{"files", fmt.Sprint(len(s.Files))}, row{"bytes", count(total)},
		row{"to see it", "relevit web -o " + s.Output + " --serve"}))
}
