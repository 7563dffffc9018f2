package pipeline

import (
	"fmt"
	"math"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// processMemory is what the program and ONNX Runtime take beside any model.
const processMemory = 150 << 20

// Memory estimates the bytes that training takes: what the training or the eval
// graph holds at its fullest, gradients included (the sessions' arena keeps it),
// and the parameters three times, with AdamW's two moments. batch is the part
// that grows with the batch size.
func (gs *Graphs) Memory() (total, batch int64) {
	for _, g := range []*onnx.Graph{gs.Training, gs.Eval} {
		batch = max(batch, mostAlive(g))
	}
	var parameters, frozen int64
	for _, p := range gs.Params {
		parameters += p.Shape.Count().N * 4
	}
	for _, v := range gs.Training.Inits {
		frozen += size(v)
	}
	return processMemory + batch + 3*parameters + 2*frozen, batch
}

// mostAlive adds up the values that are alive, node by node as ONNX Runtime runs
// them: a value from the node that makes it to the last one that reads it. Values that
// only look at another's memory are that value.
func mostAlive(g *onnx.Graph) int64 {
	home := map[*onnx.Value]*onnx.Value{}
	of := func(v *onnx.Value) *onnx.Value {
		if h := home[v]; h != nil {
			return h
		}
		return v
	}
	last := map[*onnx.Value]int{}
	nodes := passes.Execution(g)
	for i, n := range nodes {
		for _, v := range n.Inputs {
			if v != nil && v.Node != nil {
				last[of(v)] = i
			}
		}
		if looks[n.Op] {
			home[n.Outputs[0]] = of(n.Inputs[0])
		}
	}
	for _, v := range g.Outputs {
		last[of(v)] = len(nodes)
	}
	ends := make([][]*onnx.Value, len(nodes)+1)
	for v, i := range last {
		ends[i] = append(ends[i], v)
	}
	var alive, most int64
	for i, n := range nodes {
		for _, v := range n.Outputs {
			if v != nil && of(v) == v {
				alive += size(v)
			}
		}
		most = max(most, alive)
		for _, v := range n.Outputs {
			if _, read := last[v]; v != nil && of(v) == v && !read {
				alive -= size(v)
			}
		}
		for _, v := range ends[i] {
			alive -= size(v)
		}
	}
	return most
}

// looks are the operators whose output is the memory of their input.
var looks = map[string]bool{"Reshape": true, "Squeeze": true, "Unsqueeze": true, "Flatten": true, "Identity": true}

// size is a value's size in bytes, 0 where its shape isn't known.
func size(v *onnx.Value) int64 {
	if v == nil || !v.Shape.Known() {
		return 0
	}
	return v.Shape.Count().N * int64(v.Type.Size())
}

// checkMemory refuses a run that would be killed for want of memory.
func checkMemory(gs *Graphs, batch int, available int64) error {
	total, grows := gs.Memory()
	if available == 0 || total <= available {
		return nil
	}
	advice := "take a smaller model or a machine with more memory"
	if fits := math.Floor(float64(available-total+grows) / (float64(grows) / float64(batch))); fits >= 1 {
		advice = fmt.Sprintf("set batch to %.0f or less", fits)
	}
	if !gs.Options.Lean {
		advice = "set memory to lean, or " + advice
	}
	return &configs.Error{Key: "batch", Msg: fmt.Sprintf("training with batches of %d needs about %s of memory, and %s are available: %s", batch, gigabytes(total), gigabytes(available), advice)}
}

func gigabytes(n int64) string { return fmt.Sprintf("%.1f GB", float64(n)/1e9) }
