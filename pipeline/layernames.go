package pipeline

import (
	"strings"

	"github.com/relevit/relevit/onnx"
)

// layerWeights finds the weights of Linear layers that an exporter has
// transposed and given names of its own, such as onnx::MatMul_212, and returns
// what the layer's checkpoint calls them: the bias that is added to the product
// is X.bias, so the weight is X.weight, and there it is (out,in).
func (m *Model) layerWeights() map[string]string {
	uses := m.Graph.Uses()
	trained := map[*onnx.Value]bool{}
	taken := map[string]bool{}
	for _, p := range m.Params {
		trained[p], taken[p.Name] = true, true
	}
	names := map[string]string{}
	for _, n := range m.Graph.Nodes {
		if n.Op != "MatMul" || !trained[n.In(1)] || len(n.In(1).Shape) != 2 || strings.Contains(n.In(1).Name, ".") {
			continue
		}
		readers := uses[n.Outputs[0]]
		if len(readers) != 1 || readers[0].Op != "Add" {
			continue
		}
		for _, v := range readers[0].Inputs {
			layer, isBias := strings.CutSuffix(v.Name, ".bias")
			if name := layer + ".weight"; isBias && trained[v] && !taken[name] {
				names[n.In(1).Name], taken[name] = name, true
			}
		}
	}
	return names
}

// transposed returns the transpose of a matrix (rows, columns).
func transposed(v []float32, rows, columns int64) []float32 {
	out := make([]float32, len(v))
	for i := range rows {
		for j := range columns {
			out[j*rows+i] = v[i*columns+j]
		}
	}
	return out
}
