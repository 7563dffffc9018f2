//go:build bench

package pipeline

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// profile is the time that a graph's nodes took, by operator.
type profile struct {
	Total float64 // seconds of all nodes
	Ops   []opTime
	Worst []opTime // single nodes
}

type opTime struct {
	Name    string
	Calls   int
	Seconds float64
}

// readProfile reads ONNX Runtime's profile of several runs and keeps the last.
func readProfile(t *testing.T, path string) *profile {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Category string  `json:"cat"`
		Name     string  `json:"name"`
		Start    float64 `json:"ts"`
		Micros   float64 `json:"dur"`
		Args     struct {
			Op string `json:"op_name"`
		} `json:"args"`
	}
	if err := json.Unmarshal(data, &events); err != nil {
		t.Fatal(err)
	}
	begin := 0.0
	for _, e := range events {
		if e.Name == "model_run" {
			begin = max(begin, e.Start)
		}
	}
	ops, nodes := map[string]*opTime{}, map[string]*opTime{}
	count := func(in map[string]*opTime, name string, seconds float64) {
		if in[name] == nil {
			in[name] = &opTime{Name: name}
		}
		in[name].Calls++
		in[name].Seconds += seconds
	}
	p := &profile{}
	for _, e := range events {
		if e.Category == "Node" && strings.HasSuffix(e.Name, "_kernel_time") && e.Start >= begin {
			p.Total += e.Micros / 1e6
			count(ops, e.Args.Op, e.Micros/1e6)
			count(nodes, strings.TrimSuffix(e.Name, "_kernel_time")+" ("+e.Args.Op+")", e.Micros/1e6)
		}
	}
	p.Ops, p.Worst = slowest(ops), slowest(nodes)
	p.Worst = p.Worst[:min(len(p.Worst), 30)]
	return p
}

func slowest(in map[string]*opTime) []opTime {
	var out []opTime
	for _, o := range in {
		out = append(out, *o)
	}
	slices.SortFunc(out, func(a, b opTime) int {
		if a.Seconds != b.Seconds {
			if a.Seconds > b.Seconds {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// String lists the operators that take more than half a percent.
func (p *profile) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%.3f s in kernels:", p.Total)
	for _, o := range p.Ops {
		if o.Seconds > 0.005*p.Total {
			fmt.Fprintf(&s, " %s %.1f%% (%d),", o.Name, 100*o.Seconds/p.Total, o.Calls)
		}
	}
	return strings.TrimSuffix(s.String(), ",")
}
