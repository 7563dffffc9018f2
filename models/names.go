package models

import "strings"

// A naming is how a library names and lays out the tensors of a ViT.
type naming struct {
	layout string
	// stems are the names of the patch embedding's weight. What comes before
	// one of them in a checkpoint is a prefix, such as module. or vit.
	stems []string
	// first is a tensor of timm's that every model of this naming has, beside
	// the patch embedding: without it the stem was another model's.
	first string
	// rules are for names behind the prefix, heads also for those beside the
	// tower, which may have only a part of the prefix.
	rules, heads []rule
	// keep leaves names as they are that no rule speaks of.
	keep bool
	// rewrite changes names before the rules see them; nil doesn't.
	rewrite func(string) string
	// settle adds what this naming's models have and tensors don't tell; nil
	// if nothing.
	settle func(w *view)
}

// A rule turns a name into timm's. # stands for a block's number, * for the
// rest of the name. Where only the second has #, the tensor holds all blocks
// along its first axis. Several rules may take parts of one tensor.
type rule struct {
	from, to string
	as       form // nil leaves the layout
	slot     int  // place among the parts of one tensor
}

// A form tells how a tensor of a shape is brought into timm's layout.
type form func(dims []int64) (p part, result []int64, ok bool)

// match compares a name with a pattern, and returns what # and * stand for.
func match(pattern, name string) (number, rest string, ok bool) {
	before, after, numbered := strings.Cut(pattern, "#")
	if numbered {
		if name, ok = strings.CutPrefix(name, before); !ok {
			return "", "", false
		}
		end := 0
		for end < len(name) && name[end] >= '0' && name[end] <= '9' {
			end++
		}
		if end == 0 || end > 4 {
			return "", "", false
		}
		number, name, pattern = name[:end], name[end:], after
	}
	if fixed, open := strings.CutSuffix(pattern, "*"); open {
		rest, ok = strings.CutPrefix(name, fixed)
		return number, rest, ok && rest != ""
	}
	return number, "", name == pattern
}

// expand puts a block's number and the rest of a name into a pattern.
func expand(pattern, number, rest string) string {
	if fixed, open := strings.CutSuffix(pattern, "*"); open {
		pattern = fixed + rest
	}
	return strings.Replace(pattern, "#", number, 1)
}

// ranked makes tokens (D) and tables (N,D) three-dimensional.
func ranked(dims []int64) (part, []int64, bool) {
	if len(dims) == 0 || len(dims) > 3 {
		return part{}, nil, false
	}
	out := []int64{1, 1, 1}
	copy(out[3-len(dims):], dims)
	return part{dims: out}, out, true
}

// projection is what CLIP's projection into the space of pictures and texts is
// called until it is known whether there is a classifier.
const projection = "projection.weight"

// transposed turns (in,out) into (out,in).
func transposed(dims []int64) (part, []int64, bool) {
	if len(dims) != 2 {
		return part{}, nil, false
	}
	out := []int64{dims[1], dims[0]}
	return part{perm: []int64{1, 0}, dims: out}, out, true
}

// rows takes the parts from start to end, counted from 0, of n equal parts
// along the first axis.
func rows(start, end, n int64) form {
	return func(dims []int64) (part, []int64, bool) {
		if len(dims) == 0 || dims[0]%n != 0 {
			return part{}, nil, false
		}
		size := dims[0] / n
		out := append([]int64{(end - start) * size}, dims[1:]...)
		return part{slice: &[3]int64{0, start * size, end * size}}, out, true
	}
}
