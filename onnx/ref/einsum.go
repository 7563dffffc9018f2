package ref

import (
	"fmt"
	"slices"
	"strings"
)

// equation is an Einsum equation against the ranks of its operands. Dimensions
// under an ellipsis get the signs up to '@', counted from the right, so
// that operands of different rank broadcast.
type equation struct {
	operands []string // a letter for each dimension
	output   string
}

// dots are the letters of an ellipsis over n dimensions.
func dots(n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte('@' - (n - 1 - i))
	}
	return string(out)
}

func notLetter(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }

func parseEquation(text string, operands []*Array) (*equation, error) {
	text = strings.ReplaceAll(text, " ", "")
	left, right, explicit := strings.Cut(text, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(operands) {
		return nil, fmt.Errorf("equation %q has %d terms for %d operands", text, len(terms), len(operands))
	}
	for _, t := range append(terms, right) {
		if strings.IndexFunc(strings.Replace(t, "...", "", 1), notLetter) >= 0 {
			return nil, fmt.Errorf("term %q of equation %q has a sign that is no letter", t, text)
		}
	}
	e := &equation{}
	widest := 0
	for i, t := range terms {
		letters := strings.Replace(t, "...", "", 1)
		rest := len(operands[i].Shape) - len(letters)
		if rest < 0 || rest > 0 && letters == t || rest > 32 {
			return nil, fmt.Errorf("term %q of equation %q doesn't fit %v", t, text, operands[i])
		}
		widest = max(widest, rest)
		e.operands = append(e.operands, strings.Replace(t, "...", dots(rest), 1))
	}
	if explicit {
		e.output = strings.Replace(right, "...", dots(widest), 1)
	} else {
		e.output = dots(widest) + implicitOutput(left)
	}
	for i, l := range e.output {
		if strings.IndexRune(e.output, l) != i || !strings.ContainsRune(strings.Join(e.operands, ""), l) {
			return nil, fmt.Errorf("output of equation %q repeats a letter or has one that no operand has", text)
		}
	}
	return e, nil
}

// implicitOutput lists the letters that occur once, in alphabetical order.
func implicitOutput(left string) string {
	var once []rune
	for _, l := range left {
		if l != '.' && l != ',' && strings.Count(left, string(l)) == 1 {
			once = append(once, l)
		}
	}
	slices.Sort(once)
	return string(once)
}

// einsum multiplies the operands over the space of all letters and sums over
// those that the output doesn't have.
func einsum(c *call) ([]*Array, error) {
	e, err := parseEquation(c.node.Str("equation", ""), c.in)
	if err != nil {
		return nil, err
	}
	letters := e.output
	for _, l := range strings.Join(e.operands, "") {
		if !strings.ContainsRune(letters, l) {
			letters += string(l)
		}
	}
	space := slices.Repeat([]int{1}, len(letters))
	steps := make([][]int, len(c.in), len(c.in)+1)
	for k, x := range c.in {
		steps[k] = make([]int, len(letters))
		own := strides(x.Shape)
		for d, n := range x.Shape {
			i := strings.IndexByte(letters, e.operands[k][d])
			if n == 1 {
				continue
			}
			if space[i] != 1 && space[i] != n {
				return nil, fmt.Errorf("letter %c of %q is %d and %d", letters[i], c.node.Str("equation", ""), space[i], n)
			}
			space[i] = n
			steps[k][i] += own[d]
		}
	}
	shape := space[:len(e.output)]
	y, err := alloc(c.in[0].Type, shape)
	if err != nil {
		return nil, err
	}
	steps = append(steps, append(strides(shape), make([]int, len(letters)-len(shape))...))
	if kindOf(y.Type) == floating {
		operands := make([][]float64, len(c.in))
		for k, x := range c.in {
			operands[k] = x.F
		}
		contract(y.F, operands, space, steps)
	} else {
		operands := make([][]int64, len(c.in))
		for k, x := range c.in {
			operands[k] = x.I
		}
		contract(y.I, operands, space, steps)
		for i, v := range y.I {
			y.I[i] = wrap(y.Type, v)
		}
	}
	return one(y, nil)
}

// contract adds the product of all operands to out at every point of space;
// the last of steps is out's.
func contract[T float64 | int64](out []T, operands [][]T, space []int, steps [][]int) {
	o := len(operands)
	lines(space, steps, func(n int, at []int) {
		for q := range n {
			p := T(1)
			for k, x := range operands {
				p *= x[at[k]+q*last(steps[k])]
			}
			out[at[o]+q*last(steps[o])] += p
		}
	})
}
