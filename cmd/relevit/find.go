package main

import (
	"github.com/urfave/cli/v2"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/pipeline"
)

// findFlags state what a graph doesn't tell, or tells wrongly.
func findFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "attention", Usage: "the attention map `NAME`, of a value or a node, or a pattern with * and ?; may be repeated", DefaultText: "as found"},
		&cli.StringFlag{Name: "grid", Usage: "patches: `ROWSxCOLUMNS`, or N for N x N", DefaultText: "as found"},
		&cli.Int64Flag{Name: "prefix-tokens", Usage: "`N` tokens come before those of the patches", DefaultText: "as found"},
		&cli.StringFlag{Name: "logits", Usage: "the output `NAME` holds the logits", DefaultText: "as found"},
	}
}

// findOptions reads findFlags.
func (c *call) findOptions() (models.FindOptions, error) {
	opt := models.FindOptions{Attention: c.StringSlice("attention"), Output: c.String("logits")}
	grid, err := parseSize("grid", "patches, as in 14 or 14x20", c.String("grid"))
	if err != nil {
		return opt, err
	}
	opt.Grid = [2]int64{int64(grid[0]), int64(grid[1])}
	if c.IsSet("prefix-tokens") {
		n := c.Int64("prefix-tokens")
		if n < 0 {
			return opt, usagef("--prefix-tokens %d: expected 0 or more", n)
		}
		opt.PrefixTokens = &n
	}
	return opt, nil
}

// openOptions reads checkpointFlags and findFlags.
func (c *call) openOptions() (opt pipeline.ModelOptions, err error) {
	opt.Version = version()
	if opt.Convert, err = c.checkpointOptions(); err == nil {
		opt.Find, err = c.findOptions()
	}
	return opt, err
}
