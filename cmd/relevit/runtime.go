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
			"relevit runtime install",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return unknownCommand(c.Command.Subcommands, c.Args().First())
			}
			return usagef("relevit runtime: say info or install")
		},
		Subcommands: []*cli.Command{
			{
				Name:      "info",
				Usage:     "print the library's path, version, API level and execution providers",
				UsageText: "relevit runtime info\nrelevit --runtime /opt/onnxruntime/lib --json runtime info",
				Action:    action(runtimeInfo),
			},
			{
				Name:  "install",
				Usage: "fetch a pinned library into the per-user cache, once",
				Description: "The library comes from pip, npm, Maven or the project's releases, whichever works\n" +
					"first, with that client's own configuration, and its SHA-256 is checked.\n" +
					"The cache is $RELEVIT_CACHE, or relevit in the user's cache folder.",
				UsageText: "relevit runtime install",
				Action:    action(runtimeInstall),
			},
		},
	}
}

func runtimeInfo(c *call) error {
	if _, err := c.operands(); err != nil {
		return err
	}
	if err := ort.Load(c.String("runtime")); err != nil {
		return err
	}
	info, err := ort.Current()
	if err != nil {
		return err
	}
	return c.print(info, func(w io.Writer) {
		rows(w, []row{
			{"library", info.Path},
			{"version", info.Version},
			{"API level", fmt.Sprint(info.APIVersion)},
			{"providers", strings.Join(info.Providers, ", ")},
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
	path, err := ort.Install(c.Context.Context, progress)
	if err != nil {
		return err
	}
	return c.print(map[string]string{"path": path}, func(w io.Writer) { fmt.Fprintln(w, path) })
}
