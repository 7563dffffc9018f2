package onnx

import (
	"fmt"
	"slices"
	"strings"
)

// productRules: matrix products and what is built of them.
var productRules = map[string]inferRule{
	"MatMul":          need(2, inferMatMul),
	"Gemm":            need(2, inferGemm),
	"Einsum":          need(1, inferEinsum),
	"Attention":       need(3, inferAttention),
	"RotaryEmbedding": need(3, inferSame),
}

func inferMatMul(n *Node) error {
	x, y := n.Inputs[0], n.Inputs[1]
	t, err := commonType(x, y)
	if err != nil {
		return err
	}
	if x.Shape == nil || y.Shape == nil {
		return give(n, 0, t, nil)
	}
	if len(x.Shape) == 0 || len(y.Shape) == 0 {
		return fmt.Errorf("can't multiply %v and %v: scalars have no matrix product", x, y)
	}
	a, b := x.Shape, y.Shape
	if len(a) == 1 {
		a = Shape{D(1), a[0]}
	}
	if len(b) == 1 {
		b = Shape{b[0], D(1)}
	}
	if _, ok := agree(a[len(a)-1], b[len(b)-2]); !ok {
		return fmt.Errorf("can't multiply %v and %v: %v columns against %v rows", x, y, a[len(a)-1], b[len(b)-2])
	}
	s, err := Broadcast(a[:len(a)-2], b[:len(b)-2])
	if err != nil {
		return fmt.Errorf("can't multiply %v and %v: %w", x, y, err)
	}
	s = append(Shape{}, s...)
	if len(x.Shape) > 1 {
		s = append(s, a[len(a)-2])
	}
	if len(y.Shape) > 1 {
		s = append(s, b[len(b)-1])
	}
	return give(n, 0, t, s)
}

func inferGemm(n *Node) error {
	x, y := n.Inputs[0], n.Inputs[1]
	t, err := commonType(x, y)
	if err != nil {
		return err
	}
	for _, v := range []*Value{x, y} {
		if err := hasRank(v, 2); err != nil {
			return err
		}
	}
	if x.Shape == nil || y.Shape == nil {
		return give(n, 0, t, unknown(2))
	}
	a, b := x.Shape, y.Shape
	if n.Int("transA", 0) != 0 {
		a = Shape{a[1], a[0]}
	}
	if n.Int("transB", 0) != 0 {
		b = Shape{b[1], b[0]}
	}
	if _, ok := agree(a[1], b[0]); !ok {
		return fmt.Errorf("can't multiply %v and %v (transA=%d, transB=%d): %v columns against %v rows",
			x, y, n.Int("transA", 0), n.Int("transB", 0), a[1], b[0])
	}
	s := Shape{a[0], b[1]}
	if c := n.In(2); c != nil && c.Shape != nil {
		sum, err := Broadcast(s, c.Shape)
		if err == nil && len(sum) != 2 {
			err = fmt.Errorf("it has %d dimensions", len(sum))
		}
		if err != nil {
			return fmt.Errorf("can't add %v to a product of shape %v: %w", c, s, err)
		}
	}
	return give(n, 0, t, s)
}

func inferEinsum(n *Node) error {
	t, err := commonTypeOf(n)
	if err != nil {
		return err
	}
	terms, result, err := EinsumTerms(n)
	if err != nil {
		return err
	}
	sizes := map[rune]Dim{}
	for i, term := range terms {
		v := n.Inputs[i]
		if v.Shape == nil {
			return give(n, 0, t, nil)
		}
		if len(v.Shape) != len([]rune(term)) {
			return fmt.Errorf("term %q doesn't fit input %v", term, v)
		}
		for j, letter := range []rune(term) {
			d, seen := sizes[letter]
			if !seen || d.Is(1) {
				sizes[letter] = v.Shape[j]
				continue
			}
			both, ok := agree(d, v.Shape[j])
			if !ok && !v.Shape[j].Is(1) {
				return fmt.Errorf("inputs %v: %c is both %v and %v", n.Inputs, letter, d, v.Shape[j])
			}
			if ok {
				sizes[letter] = both
			}
		}
	}
	s := Shape{}
	for _, letter := range result {
		d, ok := sizes[letter]
		if !ok {
			return fmt.Errorf("%c of the result occurs in no term of %q", letter, n.Str("equation", ""))
		}
		s = append(s, d)
	}
	return give(n, 0, t, s)
}

// EinsumTerms parses an Einsum's equation into one letter per dimension of each
// input and of the result. An ellipsis becomes capital letters' place holders
// '0', '1', ..., so the inputs' ranks must be known where there is one.
func EinsumTerms(n *Node) (terms []string, result string, err error) {
	equation := strings.ReplaceAll(n.Str("equation", ""), " ", "")
	left, right, explicit := strings.Cut(equation, "->")
	terms = strings.Split(left, ",")
	if len(terms) != len(n.Inputs) {
		return nil, "", fmt.Errorf("equation %q has %d terms for %d inputs", equation, len(terms), len(n.Inputs))
	}
	const places = "0123456789"
	widest := 0
	for i, term := range terms {
		if !strings.Contains(term, "...") {
			continue
		}
		k := len(n.Inputs[i].Shape) - (len(term) - len("..."))
		if n.Inputs[i].Shape == nil || k < 0 || k > len(places) {
			return nil, "", fmt.Errorf("term %q of equation %q doesn't fit input %v", term, equation, n.Inputs[i])
		}
		widest = max(widest, k)
		terms[i] = strings.Replace(term, "...", places[len(places)-k:], 1)
	}
	dots := places[len(places)-widest:]
	if explicit {
		return terms, strings.Replace(right, "...", dots, 1), nil
	}
	counts := map[rune]int{}
	for _, letter := range strings.Join(terms, "") {
		counts[letter]++
	}
	var once []rune
	for letter, k := range counts {
		if k == 1 && !strings.ContainsRune(places, letter) {
			once = append(once, letter)
		}
	}
	slices.Sort(once)
	return terms, dots + string(once), nil
}

// inferAttention is Attention of opset 23, with inputs (B,H,N,d) or (B,N,H*d).
func inferAttention(n *Node) error {
	q, k, v := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	if q.Shape == nil || k.Shape == nil || v.Shape == nil {
		return give(n, 0, q.Type, nil)
	}
	qs, err := headsOf(q, n.Int("q_num_heads", 0))
	if err != nil {
		return err
	}
	ks, err := headsOf(k, n.Int("kv_num_heads", 0))
	if err != nil {
		return err
	}
	vs, err := headsOf(v, n.Int("kv_num_heads", 0))
	if err != nil {
		return err
	}
	_, width := agree(qs[3], ks[3])
	_, keys := agree(ks[2], vs[2])
	_, batch := agree(qs[0], ks[0])
	if !width || !keys || !batch {
		return fmt.Errorf("queries %v, keys %v and values %v don't fit", q, k, v)
	}
	total := ks[2]
	if past := n.In(4); past != nil {
		total = Unknown
		if len(past.Shape) == 4 {
			total = past.Shape[2].Plus(ks[2])
		}
	}
	y := Shape{qs[0], qs[1], qs[2], vs[3]}
	if len(q.Shape) == 3 {
		y = Shape{qs[0], qs[2], qs[1].Times(vs[3])}
	}
	for i, s := range []Shape{y, {ks[0], ks[1], total, ks[3]}, {vs[0], vs[1], total, vs[3]}, {qs[0], qs[1], qs[2], total}} {
		if err := give(n, i, q.Type, s); err != nil {
			return err
		}
	}
	return nil
}

// headsOf is the shape (B,H,N,d) of an attention input.
func headsOf(x *Value, heads int64) (Shape, error) {
	switch s := x.Shape; {
	case len(s) == 4:
		return s, nil
	case len(s) == 3 && heads > 0:
		return Shape{s[0], D(heads), s[1], s[2].Over(D(heads))}, nil
	}
	return nil, fmt.Errorf("input %v is neither (B,H,N,d) nor (B,N,H*d) with the number of heads given", x)
}
