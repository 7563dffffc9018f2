package passes

import (
	"cmp"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// rewrite puts a node in the place of every group that is worth one.
func (r *grouping) rewrite() error {
	kept := map[*onnx.Value]bool{}
	for _, v := range r.g.Outputs {
		kept[v] = true
	}
	inserted := map[int]*onnx.Node{} // by the position of a group's last node
	gone := map[int]bool{}
	for i, own := range r.of {
		if own == nil || own.last != i {
			continue
		}
		turns := r.turnedBy(own)
		if len(own.nodes) < 2 && len(turns) == 0 {
			continue
		}
		n, ok := r.program(own, kept, turns)
		if !ok && len(turns) > 0 && len(own.nodes) > 1 {
			turns = nil
			n, ok = r.program(own, kept, nil)
		}
		if !ok {
			continue
		}
		for _, v := range turns {
			delete(r.turned, v)
		}
		inserted[i] = n
		for _, j := range own.nodes {
			gone[j] = true
		}
	}
	before := map[*onnx.Node]*onnx.Node{} // by the first reader
	for v, t := range r.turned {
		if n := joins(t.read); n != nil {
			alsoTurn(n, t.columns)
			continue
		}
		before[t.reader] = turnAlone(v, t)
	}
	var nodes []*onnx.Node
	for i, n := range r.g.Nodes {
		if b := before[n]; b != nil {
			b.Outputs[0].Node = b
			nodes = append(nodes, b)
		}
		switch {
		case gone[i]:
		case compares(n):
			nodes = append(nodes, restore(n, r.g)...)
		default:
			nodes = append(nodes, n)
		}
		if n := inserted[i]; n != nil {
			for _, v := range n.Outputs {
				v.Node = n
			}
			nodes = append(nodes, n)
		}
	}
	r.g.Nodes = nodes
	return r.g.Sort()
}

// program writes a group as numbers, which also turns some of its values. ok is false
// where a program can't hold it.
func (r *grouping) program(own *group, kept map[*onnx.Value]bool, turns []*onnx.Value) (_ *onnx.Node, ok bool) {
	p := &rowProgram{shape: own.shape, again: own.again, slots: map[*onnx.Value]int64{}, left: map[*onnx.Value]int{}}
	inside := map[*onnx.Node]bool{}
	for _, i := range own.nodes {
		inside[r.g.Nodes[i]] = true
	}
	last := own.shape[len(own.shape)-1].N
	p.flat = int64(1)
	for _, i := range own.nodes {
		n := r.g.Nodes[i]
		if reduces(n) || n.Op == "LayerNormalization" || n.Outputs[0].Shape[len(n.Outputs[0].Shape)-1].N != last {
			p.flat = 0
		}
		for _, v := range operands(n) {
			if v.Node != nil && inside[v.Node] {
				p.left[v]++
				continue
			}
			if !slices.Contains(p.inputs, v) {
				how, _ := lies(v, own.shape)
				p.inputs, p.kinds = append(p.inputs, v), append(p.kinds, int64(how))
			}
		}
		for _, out := range n.Outputs {
			outside := slices.ContainsFunc(r.uses[out], func(u *onnx.Node) bool { return !inside[u] })
			if out != nil && (outside || kept[out]) {
				p.outputs = append(p.outputs, out)
				p.left[out]++
			}
		}
	}
	for _, v := range turns {
		p.outputs, p.turned, p.flat = append(p.outputs, r.turned[v].columns), append(p.turned, v), 0
		p.left[v]++
	}
	if len(p.inputs) == 0 || len(p.inputs) > mostInputs || len(p.outputs) == 0 || len(p.outputs) > mostOutputs {
		return nil, false
	}
	if slices.ContainsFunc(p.kinds, func(k int64) bool { return beside(k) != oneForAll && beside(k) != fullRows }) {
		p.flat = 0
	}
	p.sortInputs()
	for _, i := range own.nodes {
		p.step(r.g.Nodes[i])
	}
	const scratch = 1 << 15 // elements: the processor's second cache
	if p.temporaries > 16 || p.singles > 16 || p.flat == 0 && p.temporaries*last > scratch {
		return nil, false
	}
	if (p.temporaries+tile*int64(len(p.turned)))*last > 2*scratch && len(turns) > 0 {
		return nil, false
	}
	return p.node(), true
}

func (p *rowProgram) node() *onnx.Node {
	label := p.outputs[len(p.outputs)-1].Name + "/rows"
	return &onnx.Node{Name: label, Domain: RowsDomain, Op: RowsOp, Inputs: p.inputs, Outputs: p.outputs, Attrs: p.attributes()}
}

// rowProgram is a program while it is written. Temporaries are numbered in two
// lists, and their slots are known once both are.
type rowProgram struct {
	shape   onnx.Shape
	again   again
	inputs  []*onnx.Value
	kinds   []int64
	outputs []*onnx.Value
	turned  []*onnx.Value // whose columns are the last outputs
	flat    int64

	slots               map[*onnx.Value]int64 // of values inside: see full and single
	left                map[*onnx.Value]int   // readings to come
	steps               [][4]int64
	constants           []float32
	temporaries         int64
	singles             int64
	freeFull, freeAlone []int64
}

// sortInputs puts full ones first: to those an output may write.
func (p *rowProgram) sortInputs() {
	order := make([]int, len(p.inputs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.kinds[b], p.kinds[a]) })
	inputs, kinds := slices.Clone(p.inputs), slices.Clone(p.kinds)
	for i, from := range order {
		p.inputs[i], p.kinds[i] = inputs[from], kinds[from]
	}
}

// Slots of temporaries carry a mark until it is known how many inputs and full
// temporaries there are.
const (
	fullMark  = 1 << 20
	aloneMark = 1 << 21
)

func (p *rowProgram) slot(v *onnx.Value) int64 {
	if s, ok := p.slots[v]; ok {
		return s
	}
	return int64(slices.Index(p.inputs, v))
}

// step writes a node. A value that nobody reads any more leaves its slot, but only
// once the node's result has one: a node of two operands may read both still.
func (p *rowProgram) step(n *onnx.Node) {
	in := operands(n)
	if n.Op == "LayerNormalization" {
		p.normalise(n, p.slot(in[0]), p.slot(in[1]), p.slot(in[2]))
		return
	}
	a := p.slot(in[0])
	b := a
	if len(in) > 1 {
		b = p.slot(in[1])
	}
	out := n.Outputs[0]
	alone := out.Shape[len(out.Shape)-1].N != p.shape[len(p.shape)-1].N
	for _, v := range in {
		p.release(v, alone)
	}
	to := p.take(alone)
	for _, v := range in {
		p.release(v, !alone)
	}
	var x, y float32
	switch n.Op {
	case "HardSigmoid":
		x, y = n.Float("alpha", 0.2), n.Float("beta", 0.5)
	case atLeast, above:
		x = n.Float("limit", 0)
	case "Clip":
		x, y = limit(n.In(1), -1), limit(n.In(2), 1)
	}
	p.emit(n.Op, to, a, b, x, y)
	p.give(out, to)
}

// normalise writes a LayerNormalization of x with scale and bias as its definition
// has it: the variance is the mean of squares of what the mean leaves.
func (p *rowProgram) normalise(n *onnx.Node, x, scale, bias int64) {
	mean, inverse, left, square := p.take(true), p.take(true), p.take(false), p.take(false)
	p.emit("ReduceMean", mean, x, x, 0, 0)
	p.emit("Sub", left, x, mean, 0, 0)
	p.emit("Mul", square, left, left, 0, 0)
	p.emit("ReduceMean", inverse, square, square, 0, 0)
	p.emit("1/Sqrt", inverse, inverse, inverse, n.Float("epsilon", 1e-5), 0)
	p.emit("Mul", left, left, inverse, 0, 0)
	p.emit("Mul", left, left, scale, 0, 0)
	p.emit("Add", left, left, bias, 0, 0)
	p.free(square)
	p.release(n.Inputs[0], false)
	for i, slot := range []int64{left, mean, inverse} {
		if out := n.Out(i); out != nil {
			p.give(out, slot)
		} else {
			p.free(slot)
		}
	}
}

func (p *rowProgram) emit(op string, to, a, b int64, x, y float32) {
	p.steps = append(p.steps, [4]int64{int64(slices.Index(rowOps, op)), to, a, b})
	p.constants = append(p.constants, x, y)
}

// give says where a value is; of one that nobody reads the slot is free at once.
func (p *rowProgram) give(v *onnx.Value, slot int64) {
	if p.left[v] == 0 {
		p.free(slot)
		return
	}
	p.slots[v] = slot
}

// take gives a free slot of a kind.
func (p *rowProgram) take(alone bool) int64 {
	list, count, mark := &p.freeFull, &p.temporaries, int64(fullMark)
	if alone {
		list, count, mark = &p.freeAlone, &p.singles, aloneMark
	}
	if n := len(*list); n > 0 {
		s := (*list)[n-1]
		*list = (*list)[:n-1]
		return s
	}
	*count++
	return mark + *count - 1
}

// release notes that a value inside was read, if it is of that kind, and frees its
// slot after the last time.
func (p *rowProgram) release(v *onnx.Value, alone bool) {
	s, ok := p.slots[v]
	if !ok || (s >= aloneMark) != alone {
		return
	}
	if p.left[v]--; p.left[v] == 0 {
		p.free(s)
	}
}

func (p *rowProgram) free(slot int64) {
	if slot >= aloneMark {
		p.freeAlone = append(p.freeAlone, slot)
	} else {
		p.freeFull = append(p.freeFull, slot)
	}
}

// limit is that of a Clip; sign says on which side there is none.
func limit(v *onnx.Value, sign float32) float32 {
	if v == nil {
		const most = 0x1.fffffep+127
		return sign * most
	}
	x, _ := scalar(v)
	return float32(x)
}

// attributes encodes the program.
func (p *rowProgram) attributes() []onnx.Attr {
	last := p.shape[len(p.shape)-1].N
	code := []int64{p.shape.Count().N / last, last, p.flat, int64(len(p.inputs)), p.temporaries, p.singles, int64(len(p.steps)), int64(len(p.outputs)), int64(len(p.turned))}
	code = append(code, p.kinds...)
	final := func(s int64) int64 {
		switch {
		case s >= aloneMark:
			return int64(len(p.inputs)) + p.temporaries + s - aloneMark
		case s >= fullMark:
			return int64(len(p.inputs)) + s - fullMark
		}
		return s
	}
	for _, s := range p.steps {
		code = append(code, s[0], final(s[1]), final(s[2]), final(s[3]))
	}
	for _, v := range slices.Concat(p.outputs[:len(p.outputs)-len(p.turned)], p.turned) {
		code = append(code, final(p.slot(v)))
	}
	if slices.Contains(p.kinds, int64(rowsAgain)) {
		code = append(code, p.again.group, p.again.times)
	}
	return []onnx.Attr{{Name: "code", Value: code}, {Name: "constants", Value: p.constants}, {Name: "shape", Value: p.shape.Ints()}}
}
