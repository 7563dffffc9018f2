// Command relevit finetunes Vision Transformers so that their relevance maps
// rest on the object, and ships the result as ONNX.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/onnx/ort"
)

func main() { os.Exit(run(os.Args, os.Stdout, messages())) }

// run executes one command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	printed := &paper{Writer: stdout}
	app := newApp(printed, stderr)
	args, asJSON := arrange(app, args)
	ctx, signals := interruptible(context.Background())
	defer signals.stop()
	app.Metadata = map[string]any{signalsKey: signals}
	err := app.RunContext(ctx, args)
	if err == nil && printed.err != nil {
		err = fmt.Errorf("printing the result: %w", printed.err)
	}
	code := exitCode(err)
	if err == nil {
		return code
	}
	message := strings.TrimSpace(err.Error()) + diskAdvice(err)
	if printed := (*printedError)(nil); asJSON && errors.As(err, &printed) {
		return code
	}
	if code == interrupted && errors.Is(err, context.Canceled) {
		message = strings.TrimSpace(strings.ReplaceAll(message, context.Canceled.Error(), "interrupted"))
	}
	message = oneLine(message)
	if asJSON && printJSON(printed, map[string]any{"error": message, "exit_code": code}) == nil {
		return code
	}
	fmt.Fprintf(stderr, "relevit: %s\n", message)
	return code
}

func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:    "relevit",
		Usage:   "make Vision Transformers look at the object instead of the background",
		Version: version(),
		UsageText: "relevit [--threads N] [--device cpu|cuda[:N]|auto] [--runtime LIB] [--quiet] [--json] COMMAND ...\n\n" +
			"relevit convert vit_tiny.safetensors -o model.onnx\n" +
			"relevit finetune -c vit-tiny --set model=model.onnx --set data.images=IMAGES --set data.masks=MASKS -o run\n" +
			"relevit export run -o robust.onnx",
		Description: exitCodeTable(),
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "threads", Usage: "run each operator on `N` threads; 0: one for each processor"},
			&cli.StringFlag{Name: "device", Usage: "run on `DEVICE`: cpu, cuda, cuda:N, or auto: the GPU where one works, else the CPU", Value: "cpu"},
			&cli.StringFlag{Name: "runtime", Usage: "load ONNX Runtime from `LIB`, a library or its folder"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress and no messages but errors", DisableDefaultText: true},
			&cli.BoolFlag{Name: "json", Usage: "print the result, or the error, as one JSON object", DisableDefaultText: true},
		},
		Commands:                  commands(),
		Writer:                    stdout,
		ErrWriter:                 stderr,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              badFlags,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return unknownCommand(c.App.Commands, c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
}

// commands lists the subcommands, each from the file of its name.
func commands() []*cli.Command {
	list := []*cli.Command{convertCommand(), inspectCommand(), masksCommand(), finetuneCommand(), explainCommand(), evaluateCommand(), reportCommand(), compareCommand(), exportCommand(), verifyCommand(), checkCommand(),
		traceCommand(), webCommand(), runtimeCommand(), demoCommand()}
	for _, c := range list {
		finish(c)
	}
	return list
}

// finish gives a command what all have in common.
func finish(c *cli.Command) {
	c.OnUsageError = badFlags
	c.HideHelpCommand = true
	for _, f := range c.Flags {
		if b, ok := f.(*cli.BoolFlag); ok {
			b.DisableDefaultText = true
		}
	}
	for _, sub := range c.Subcommands {
		finish(sub)
	}
}

func badFlags(c *cli.Context, err error, _ bool) error {
	name := "relevit"
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	return &usageError{fmt.Sprintf("%v; see %s --help", err, name)}
}

func unknownCommand(list []*cli.Command, name string) error {
	var names []string
	for _, c := range list {
		names = append(names, c.Name)
	}
	return usagef("there is no command %q; there are %s", name, strings.Join(names, ", "))
}

// call is one command line on its way: its flags, and where its output goes.
type call struct {
	*cli.Context
	stdout, stderr io.Writer
	json, quiet    bool
	signals        *interrupts
	told           bool // of the device
}

// signalsKey is where the app's metadata keep the *interrupts.
const signalsKey = "signals"

// action makes a command's Action of a function that takes a call.
func action(do func(*call) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		signals, _ := c.App.Metadata[signalsKey].(*interrupts)
		return do(&call{Context: c, stdout: c.App.Writer, stderr: c.App.ErrWriter,
			json: c.Bool("json"), quiet: c.Bool("quiet"), signals: signals})
	}
}

// operands returns the command's arguments, of which there must be as many as
// the names, and no more.
func (c *call) operands(names ...string) ([]string, error) {
	got := c.Args().Slice()
	switch {
	case len(got) < len(names):
		return nil, usagef("%s: %s is missing; see %s --help", c.Command.HelpName, names[len(got)], c.Command.HelpName)
	case len(got) > len(names):
		return nil, usagef("%s: unexpected argument %q; see %s --help", c.Command.HelpName, got[len(names)], c.Command.HelpName)
	}
	return got, nil
}

// need returns the values of flags that must be given.
func (c *call) need(flags ...string) error {
	for _, name := range flags {
		if c.String(name) == "" {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			return usagef("%s: %s%s is missing; see %s --help", c.Command.HelpName, dashes, name, c.Command.HelpName)
		}
	}
	return nil
}

// runtimeOptions reads how sessions are to run, and on which library.
func (c *call) runtimeOptions() (ort.Options, error) {
	opt := ort.Options{Threads: c.Int("threads"), Device: c.String("device"), Library: c.String("runtime"), OnDevice: c.found}
	if err := ort.CheckDevice(opt.Device); err != nil {
		return opt, usagef("--%v", err)
	}
	if opt.Threads < 0 {
		return opt, usagef("--threads %d: expected 0 or more", opt.Threads)
	}
	return opt, nil
}

// found takes note of the device that the runtime runs on.
func (c *call) found(d ort.Device) {
	if d.CUDA() {
		c.signals.rearm()
	}
	if c.String("device") == "auto" && !c.told {
		c.note("Running on %v", d)
	}
	c.told = true
}

// note tells the user something, on standard error.
func (c *call) note(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintln(c.stderr, plain(fmt.Sprintf(format, args...)))
	}
}

// print prints a command's result: the value with --json, else what text writes.
func (c *call) print(value any, text func(io.Writer)) error {
	if c.json {
		return printJSON(c.stdout, value)
	}
	text(c.stdout)
	return nil
}

func printJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(value); err != nil {
		return fmt.Errorf("printing the result as JSON: %w", err)
	}
	return nil
}
