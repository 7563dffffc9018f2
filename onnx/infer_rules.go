package onnx

import (
	"fmt"
	"maps"
)

// inferRules is keyed by domain:operator, with "" for ai.onnx.
var inferRules = collect(elementwiseRules, shapeRules, indexRules, reduceRules, productRules, normRules, imageRules)

func collect(families ...map[string]inferRule) map[string]inferRule {
	all := map[string]inferRule{}
	for _, f := range families {
		for op, rule := range f {
			all[":"+op] = rule
		}
	}
	return all
}

// same gives every operator of a list the same rule.
func same(rule inferRule, ops ...string) map[string]inferRule {
	m := map[string]inferRule{}
	for _, op := range ops {
		m[op] = rule
	}
	return m
}

func union(ms ...map[string]inferRule) map[string]inferRule {
	all := map[string]inferRule{}
	for _, m := range ms {
		maps.Copy(all, m)
	}
	return all
}

// need makes a rule fail where one of the first k inputs is left out.
func need(k int, rule inferRule) inferRule {
	return func(n *Node) error {
		for i := range k {
			if n.In(i) == nil {
				return fmt.Errorf("has no input %d, which the operator needs", i)
			}
		}
		return rule(n)
	}
}

// give states type and shape of output i and forgets its elements. What was
// known before (value_info of a file) must agree with it.
func give(n *Node, i int, t DType, s Shape) error {
	v := n.Out(i)
	if v == nil {
		return nil
	}
	v.Elems = nil
	switch {
	case t == Undefined:
	case v.Type == Undefined:
		v.Type = t
	case v.Type != t:
		return fmt.Errorf("output %s is %v by inference but declared %v", v.Name, t, v.Type)
	}
	if s == nil {
		return nil
	}
	if v.Shape == nil {
		v.Shape = s.Clone()
		return nil
	}
	if len(v.Shape) != len(s) {
		return fmt.Errorf("output %s has shape %v by inference but is declared %v", v.Name, s, v.Shape)
	}
	merged := s.Clone()
	for j, d := range s {
		switch old := v.Shape[j]; {
		case d == Unknown:
			merged[j] = old
		case d.Known() && old.Known() && d != old:
			return fmt.Errorf("output %s has shape %v by inference but is declared %v", v.Name, s, v.Shape)
		}
	}
	v.Shape = merged
	return nil
}

// giveElems is give for an output whose elements may be known; they are kept
// where the output is a scalar or vector of a type that is followed.
func giveElems(n *Node, t DType, s Shape, elems []Dim) error {
	if err := give(n, 0, t, s); err != nil {
		return err
	}
	v := n.Out(0)
	if v == nil || elems == nil || s == nil || len(s) > 1 || len(elems) > maxElems || !countable(v.Type) {
		return nil
	}
	v.Elems = elems
	return nil
}

// elems returns the known elements of an input, nil where nothing is known or
// the input is left out.
func elems(v *Value) []Dim {
	switch {
	case v == nil:
		return nil
	case v.Elems == nil && v.Data != nil:
		return elemsOf(v.Data)
	}
	return v.Elems
}

// numbers returns an input's elements where all of them are plain numbers.
func numbers(v *Value) ([]int64, bool) {
	e := elems(v)
	if e == nil {
		return nil, false
	}
	out := make([]int64, len(e))
	for i, d := range e {
		if !d.number() {
			return nil, false
		}
		out[i] = d.N
	}
	return out, true
}

// axisIn makes an axis of a value with that rank not negative.
func axisIn(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, fmt.Errorf("axis %d is out of range for %d dimensions", axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}

// axesIn is axisIn for a set of axes.
func axesIn(axes []int64, rank int) (map[int]bool, error) {
	set := map[int]bool{}
	for _, a := range axes {
		i, err := axisIn(a, rank)
		if err != nil {
			return nil, err
		}
		if set[i] {
			return nil, fmt.Errorf("axis %d occurs twice in %v", a, axes)
		}
		set[i] = true
	}
	return set, nil
}

// unknown is a shape of that rank of which nothing else is known.
func unknown(rank int) Shape {
	s := make(Shape, rank)
	for i := range s {
		s[i] = Unknown
	}
	return s
}

// agree is the common size of two dimensions that have to be equal.
func agree(a, b Dim) (Dim, bool) {
	switch {
	case a == Unknown:
		return b, true
	case b == Unknown || a == b:
		return a, true
	case a.Known() && b.Known():
		return Unknown, false
	case a.Known():
		return a, true
	}
	return b, true
}

// hasRank fails where an input's rank is known and isn't r.
func hasRank(v *Value, r int) error {
	if v.Shape != nil && len(v.Shape) != r {
		return fmt.Errorf("input %v has %d dimensions, expected %d", v, len(v.Shape), r)
	}
	return nil
}
