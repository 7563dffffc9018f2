package models

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// formatNames are for people.
var formatNames = map[string]string{FormatSafetensors: "safetensors", FormatPyTorch: "PyTorch", FormatNumPy: "NumPy"}

// layoutNames say whose names and layouts a checkpoint's tensors have.
var layoutNames = map[string]string{"timm": "timm's names", "huggingface": "transformers' names", "openclip": "OpenCLIP's names",
	"torchvision": "torchvision's names", "jax": "the names of Google's JAX code"}

// sourceOf says in words what a checkpoint is: its form, its format, whose
// names its tensors have and what they lie in.
func sourceOf(c *Checkpoint) string {
	form := formatNames[c.Format] + " checkpoint"
	if info, err := os.Stat(c.Path); err == nil && info.IsDir() {
		form = "folder of " + formatNames[c.Format] + " weights"
		if c.Config != nil {
			form = "Hugging Face " + form
		}
	}
	w, err := viewOf(c)
	if err != nil {
		return form
	}
	form += " with " + cmp.Or(layoutNames[w.layout], "the names of "+w.layout)
	var hub struct {
		Architectures []string `json:"architectures"`
	}
	if json.Unmarshal(c.Config, &hub) == nil && len(hub.Architectures) > 0 {
		form += " (" + strings.Join(hub.Architectures, ", ") + ")"
	}
	if c.Nesting != "" {
		form += ", nested under " + c.Nesting
	}
	if w.prefix != "" && w.layout == "timm" {
		form += ", behind the prefix " + w.prefix
	}
	return form
}

// precisionOf names the types of a model's weights, leaving out such as hold
// less than a hundredth.
func precisionOf(tensors []*onnx.Tensor) string {
	counts, all := map[onnx.DType]int64{}, int64(0)
	for _, t := range tensors {
		if t != nil && t.Type.IsFloat() {
			counts[t.Type] += t.Count()
			all += t.Count()
		}
	}
	var names []string
	for _, t := range slices.SortedFunc(maps.Keys(counts), func(a, b onnx.DType) int { return cmp.Compare(counts[b], counts[a]) }) {
		if counts[t]*100 > all {
			names = append(names, t.String())
		}
	}
	return strings.Join(names, " and ")
}

// constantTensors lists the tensors of a graph's initializers and Constant nodes.
func constantTensors(g *onnx.Graph) []*onnx.Tensor {
	var out []*onnx.Tensor
	for _, v := range g.Inits {
		out = append(out, v.Data)
	}
	for _, n := range g.Nodes {
		if n.Op == "Constant" && n.Domain == "" {
			out = append(out, onnx.ConstantTensor(n))
		}
	}
	return out
}

// prefixOf names the tokens before the patches.
func prefixOf(a *Architecture) string {
	var parts []string
	if a.ClassToken {
		parts = append(parts, "class token")
	}
	if a.DistToken {
		parts = append(parts, "distillation token")
	}
	switch {
	case a.Registers == 1:
		parts = append(parts, "1 register")
	case a.Registers > 1:
		parts = append(parts, fmt.Sprintf("%d registers", a.Registers))
	}
	return strings.Join(parts, ", ")
}
