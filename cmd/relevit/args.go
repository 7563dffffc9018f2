package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange puts a command line into the order that the flag parser wants:
// global flags, command, its flags, its arguments. So global flags may stand
// anywhere, and flags after arguments, as in convert SOURCE -o FILE. It also
// tells whether errors are to be printed as JSON, which must be known even if
// the command line can't be parsed.
func arrange(app *cli.App, args []string) (out []string, asJSON bool) {
	var global, command, flags, rest []string
	list, known := app.Commands, app.Flags
	for i := 1; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if !strings.HasPrefix(a, "-") || a == "-" {
			if c := named(list, a); c != nil && len(rest) == 0 {
				command = append(command, a)
				list, known = c.Subcommands, c.Flags
			} else {
				rest = append(rest, a)
			}
			continue
		}
		name, _, joined := strings.Cut(strings.TrimLeft(a, "-"), "=")
		to := &flags
		f := flagNamed(known, name)
		if f == nil || len(command) == 0 {
			if g := flagNamed(app.Flags, name); g != nil {
				f, to = g, &global
				asJSON = asJSON || name == "json" && a != "--json=false"
			} else if len(command) == 0 {
				to = &global
			}
		}
		*to = append(*to, a)
		if v, ok := f.(cli.DocGenerationFlag); ok && v.TakesValue() && !joined && i+1 < len(args) {
			i++
			*to = append(*to, args[i])
		}
	}
	out = slices.Concat(args[:1], global, command, flags)
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out, asJSON
}

func named(list []*cli.Command, name string) *cli.Command {
	for _, c := range list {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

func flagNamed(list []cli.Flag, name string) cli.Flag {
	for _, f := range list {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}
