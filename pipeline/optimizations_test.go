package pipeline

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestNumbersDontDependOnOptimizations traces reference cases with memory: lean,
// with each optimization off, and with all of them off.
func TestNumbersDontDependOnOptimizations(t *testing.T) {
	orttest.Need(t)
	cases := []string{"micro", "micro-rect"}
	if realWeights {
		cases = append(cases, "micro-deep", "vit-tiny")
	}
	for _, name := range cases {
		c := openOracle(t, name)
		source := filepath.Join(c.folder, "model.onnx")
		if !exists(source) {
			source = c.weights
		}
		usual := *c.config
		variants := map[string]configs.Config{}
		vary := func(name, memory string, off ...string) {
			cfg := usual
			cfg.Memory, cfg.Optimizations.Off = memory, off
			variants[name] = cfg
		}
		vary("lean", "lean")
		vary("all off", "fast", optimizationNames()...)
		vary("lean and all off", "lean", optimizationNames()...)
		for _, opt := range optimizationNames() {
			if name == "micro-rect" && !realWeights {
				break // one case of each is enough
			}
			vary(opt+" off", "fast", opt)
		}
		for what, cfg := range variants {
			methods := []string{"relevance"}
			if name == "micro" && !strings.HasSuffix(what, " off") {
				methods = append(methods, "gradmask", "rrr")
			}
			for _, method := range methods {
				for _, mode := range []string{"first-order", "second-order"} {
					t.Run(strings.Join([]string{name, what, method, mode}, "/"), func(t *testing.T) {
						c := c
						c.config = &cfg
						c.compareTrace(t, source, method, mode, ort.Options{})
					})
				}
			}
		}
	}
}

func TestUnknownOptimizationIsRefused(t *testing.T) {
	c := openOracle(t, "micro")
	m, err := OpenModel(c.weights, ModelOptions{Graphs: GraphOptions{Off: []string{"narow"}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.NewGraphs(1, ObjectiveOf(c.config), AdamWOf(c.config), nil)
	var bad *configs.Error
	if !errors.As(err, &bad) || bad.Key != "optimizations.off" || !strings.Contains(bad.Msg, "narrow") {
		t.Errorf("error %v, expected one of optimizations.off that lists what there is", err)
	}
}
