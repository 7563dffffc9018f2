package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/onnx/ort"
)

func runtimeCommand() *cli.Command {
	return &cli.Command{
		Name:  "runtime",
		Usage: "show or install the ONNX Runtime library",
		UsageText: "relevit runtime info\n" +
			"relevit runtime install [--cuda]",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return unknownCommand(c.Command.Subcommands, c.Args().First())
			}
			return usagef("relevit runtime: say info or install")
		},
		Subcommands: []*cli.Command{
			{
				Name:      "info",
				Usage:     "print the library's path, version, API level, execution providers, and the device that it runs on",
				UsageText: "relevit runtime info\nrelevit --runtime /opt/onnxruntime/lib --json runtime info\nrelevit --device auto runtime info",
				Action:    action(runtimeInfo),
			},
			{
				Name:  "install",
				Usage: "fetch a pinned library into the per-user cache, once",
				Description: "The library comes from pip, npm, Maven or the project's releases, whichever works\n" +
					"first, with that client's own configuration, and its SHA-256 is checked.\n" +
					"The cache is $RELEVIT_CACHE, or relevit in the user's cache folder.\n\n" +
					"With --cuda it is the library for NVIDIA GPUs on Linux, with CUDA 13.0 and cuDNN 9, from\n" +
					"pip: 1.3 GB to fetch, 2 GB in the cache, beside the other. It serves --device cuda and\n" +
					"--device auto. The driver (580 or newer) is the machine's own.",
				UsageText: "relevit runtime install\nrelevit runtime install --cuda",
				Flags:     []cli.Flag{&cli.BoolFlag{Name: "cuda", Usage: "fetch the library for NVIDIA GPUs"}},
				Action:    action(runtimeInstall),
			},
		},
	}
}

func runtimeInfo(c *call) error {
	if _, err := c.operands(); err != nil {
		return err
	}
	opt, err := c.runtimeOptions()
	if err != nil {
		return err
	}
	if err := opt.Load(); err != nil {
		return err
	}
	var found struct {
		ort.Info
		ort.Device
	}
	if found.Info, err = ort.Current(); err != nil {
		return err
	}
	if found.Device, err = opt.Find(); err != nil {
		return err
	}
	return c.print(found, func(w io.Writer) {
		rows(w, []row{
			{"library", found.Path},
			{"version", found.Version},
			{"API level", fmt.Sprint(found.APIVersion)},
			{"providers", strings.Join(found.Providers, ", ")},
			{"device", found.Device.String()},
		})
	})
}

func runtimeInstall(c *call) error {
	if _, err := c.operands(); err != nil {
		return err
	}
	progress := c.stderr
	if c.quiet {
		progress = io.Discard
	}
	install := ort.Install
	if c.Bool("cuda") {
		install = ort.InstallCUDA
	}
	path, err := install(c.Context.Context, progress)
	if err != nil {
		return err
	}
	return c.print(map[string]string{"path": path}, func(w io.Writer) { fmt.Fprintln(w, path) })
}
