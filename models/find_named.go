package models

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// named takes the maps that the options name: a value or a node each, or a
// pattern. The value may be the map itself or what becomes it, such as the
// output of the softmax.
func (f *finder) named() error {
	for _, pattern := range f.opt.Attention {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return &Error{Usage: true, Problem: fmt.Sprintf("attention %q is no name and no pattern (*, ? and [a-z] match)", pattern)}
		}
		matched := false
		for _, n := range f.g.Nodes {
			for i, v := range n.Outputs {
				if v == nil || !(glob(pattern, v.Name) || (i == 0 && glob(pattern, n.Name))) {
					continue
				}
				matched = true
				if err := f.pick(v); err != nil {
					return err
				}
			}
		}
		if !matched {
			return &Error{Usage: true, Problem: fmt.Sprintf("attention %q names no value and no node of the graph%s", pattern, f.softmaxes())}
		}
	}
	// patterns come in any order, maps in that of execution
	place := map[*onnx.Value]int{}
	for i, n := range f.g.Nodes {
		place[n.Out(0)] = i
	}
	slices.SortStableFunc(f.s.Attention, func(a, b Attention) int { return place[a.Value] - place[b.Value] })
	return nil
}

// glob matches a name against a pattern, whose * stops at nothing.
func glob(pattern, name string) bool {
	const slash = "\x00"
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", slash), strings.ReplaceAll(name, "/", slash))
	return ok && err == nil
}

// pick takes a named value for a map.
func (f *finder) pick(v *onnx.Value) error {
	misfit := func(why string) error {
		return &Error{Usage: true, Problem: fmt.Sprintf("attention %s isn't a map between tokens: %s%s", v.Name, why, f.softmaxes())}
	}
	switch {
	case !f.data[v]:
		return misfit("it doesn't depend on the picture")
	case !f.needs[v]:
		return misfit("the logits don't depend on it")
	case len(v.Shape) < 2:
		return misfit(fmt.Sprintf("its shape is %v", v.Shape))
	}
	axes := []int{len(v.Shape) - 1, len(v.Shape) - 2}
	if v.Node != nil {
		if _, axis, ok := softmax(v.Node); ok {
			axes = []int{axis}
		}
	}
	why := ""
	for _, axis := range axes {
		r, reason := f.values(v, axis)
		if r == nil {
			why = reason
			continue
		}
		a, reason, _ := f.square(r)
		if a == nil {
			why = reason
			continue
		}
		f.take(a)
		return nil
	}
	return misfit(why)
}

// softmaxes lists what could be meant.
func (f *finder) softmaxes() string {
	var names []string
	for _, n := range f.g.Nodes {
		if _, _, ok := softmax(n); ok && f.data[n.Out(0)] && f.needs[n.Out(0)] {
			names = append(names, n.Out(0).Name)
		}
	}
	const most = 4
	switch {
	case len(names) == 0:
		return "; it has no Softmax"
	case len(names) > most:
		return fmt.Sprintf("; its Softmax outputs are %s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return "; its Softmax outputs are " + strings.Join(names, ", ")
}
