package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestFlagsMayStandAnywhere(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	app.Commands = append(app.Commands, &cli.Command{Name: "cook", Flags: []cli.Flag{
		&cli.StringFlag{Name: "o"}, &cli.BoolFlag{Name: "hot"}, &cli.StringSliceFlag{Name: "set"},
	}})
	for _, c := range []struct {
		in, want string
		json     bool
	}{
		{"cook egg -o pan", "cook -o pan -- egg", false},
		{"cook egg --hot milk -o=pan", "cook --hot -o=pan -- egg milk", false},
		{"cook --json egg --threads 2 -o pan", "--json --threads 2 cook -o pan -- egg", true},
		{"--device cuda:1 cook egg -q", "--device cuda:1 -q cook -- egg", false},
		{"cook -o --json egg", "cook -o --json -- egg", false},
		{"cook --set a=1 egg --set b=--json", "cook --set a=1 --set b=--json -- egg", false},
		{"cook -- --json -o", "cook -- --json -o", false},
		{"cook egg cook", "cook -- egg cook", false},
		{"cook - --unknown", "cook --unknown -- -", false},
		{"--unknown cook", "--unknown cook", false},
		{"runtime info --json", "--json runtime info", true},
		{"cook -o", "cook -o", false},
	} {
		got, asJSON := arrange(app, strings.Fields("relevit "+c.in))
		if want := strings.Fields("relevit " + c.want); !slices.Equal(got, want) || asJSON != c.json {
			t.Errorf("%s\n gives %v %t\n  want %v %t", c.in, got, asJSON, want, c.json)
		}
	}
}
