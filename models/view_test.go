package models

import (
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

// checkpointOf makes a checkpoint in memory of names and shapes.
func checkpointOf(tensors map[string][]int64) *Checkpoint {
	c := &Checkpoint{Metadata: map[string]string{}, tensors: map[string]*onnx.Tensor{}}
	for name, dims := range tensors {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		c.names = append(c.names, name)
		c.tensors[name] = onnx.FloatTensor(make([]float32, n), dims...)
	}
	slices.Sort(c.names)
	return c
}

func TestAViewShowsTimmsNames(t *testing.T) {
	w, err := viewOf(checkpointOf(map[string][]int64{
		"module.backbone.patch_embed.proj.weight":   {8, 3, 4, 4},
		"module.backbone.blocks.0.3.gamma_1":        {8},
		"module.backbone.blocks.0.3.attn.q_bias":    {8},
		"module.backbone.blocks.0.3.attn.v_bias":    {8},
		"module.backbone.blocks.0.3.mlp.w12.weight": {24, 8},
		"module.backbone.blocks.0.3.mlp.w3.weight":  {8, 12},
		"module.linear.weight":                      {5, 8},
		"module.backbone.mask_token":                {1, 8},
		"text.weight":                               {1},
	}))
	if err != nil {
		t.Fatal(err)
	}
	for name, dims := range map[string][]int64{
		"patch_embed.proj.weight": {8, 3, 4, 4}, "blocks.3.ls1.gamma": {8}, "blocks.3.attn.qkv.bias": {24},
		"blocks.3.mlp.fc1_g.weight": {12, 8}, "blocks.3.mlp.fc1_x.weight": {12, 8}, "blocks.3.mlp.fc2.weight": {8, 12}, "head.weight": {5, 8},
	} {
		if !w.has(name) || !slices.Equal(w.tensors[name].dims, dims) {
			t.Errorf("%s: expected %v, found %+v", name, dims, w.tensors[name])
		}
	}
	if len(w.tensors) != 7 {
		t.Errorf("expected 7 tensors, found %v", w.tensors)
	}
	if want := []string{"module.backbone.mask_token", "text.weight"}; !slices.Equal(w.unused, want) {
		t.Errorf("unused: expected %v, found %v", want, w.unused)
	}
}

func TestATowerBesideOthersIsNamed(t *testing.T) {
	tower := func(prefix string, out map[string][]int64) map[string][]int64 {
		out[prefix+"patch_embed.proj.weight"] = []int64{8, 3, 4, 4}
		return out
	}
	for want, tensors := range map[string]map[string][]int64{
		"": tower("module.", map[string][]int64{}),
		"the weights are those under module.base_encoder; the file has others under module.momentum_encoder, which have to be saved alone to be taken": tower("module.momentum_encoder.",
			tower("module.base_encoder.", map[string][]int64{})),
		"the weights are those under teacher.backbone; the file has others under student.backbone, which have to be saved alone to be taken": tower("student.backbone.", tower("teacher.backbone.", map[string][]int64{})),
		"the weights are those under no prefix; the file has others under student, which have to be saved alone to be taken":                 tower("student.", tower("", map[string][]int64{})),
	} {
		w, err := viewOf(checkpointOf(tensors))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(w.notes, "\n"); got != want {
			t.Errorf("notes %q, want %q", got, want)
		}
	}
}

// TestDINOv3sMaskHidesTheKeysBias takes zeros for what the mask hides, and the
// stored values where the mask doesn't hide them.
func TestDINOv3sMaskHidesTheKeysBias(t *testing.T) {
	for hidden, parts := range map[float32]int{0: 3, 1: 1} {
		c := checkpointOf(map[string][]int64{"patch_embed.proj.weight": {2, 3, 4, 4}, "blocks.0.attn.qkv.bias": {6}, "blocks.0.attn.qkv.bias_mask": {6}})
		c.tensors["blocks.0.attn.qkv.bias_mask"] = onnx.FloatTensor([]float32{1, 1, hidden, hidden, 1, 1}, 6)
		w, err := viewOf(c)
		if err != nil {
			t.Fatal(err)
		}
		bias := w.tensors["blocks.0.attn.qkv.bias"]
		if len(bias.parts) != parts || bias.dims[0] != 6 || parts == 3 && bias.parts[1].source != "" {
			t.Errorf("where the mask is %v, the bias is %+v", hidden, bias)
		}
		if !slices.Equal(w.unused, []string{"blocks.0.attn.qkv.bias_mask"}) {
			t.Errorf("unused: %v", w.unused)
		}
	}
}
