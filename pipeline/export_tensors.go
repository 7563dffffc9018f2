package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/models/torchfile"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// writeTensors writes the parameters alone, and reads them back.
func (e *exporter) writeTensors(path string, values []safetensors.Named, metadata []onnx.KV) error {
	tensors, source, err := e.state(values)
	if err != nil {
		return err
	}
	if e.result.Format == FormatPyTorch {
		err = torchfile.Write(path, tensors)
	} else {
		err = safetensors.Write(path, tensors, e.tensorMetadata(source, metadata))
	}
	if err != nil {
		return err
	}
	return reread(path, tensors)
}

// ofSource are metadata that serve to write tensors, and say nothing of what is
// written.
var ofSource = []string{models.MetaSourceTypes, models.MetaSourceUnused, models.MetaConfig, models.MetaProcessor}

// tensorMetadata is what a safetensors file says beside its tensors.
func (e *exporter) tensorMetadata(source *models.Checkpoint, metadata []onnx.KV) map[string]string {
	out := map[string]string{"format": "pt"}
	if source != nil {
		for key, value := range source.Metadata {
			out[key] = value
		}
	}
	for _, kv := range slices.Concat(e.model.Metadata, metadata) {
		if !slices.Contains(ofSource, kv.Key) {
			out[kv.Key] = kv.Value
		}
	}
	return out
}

// reread checks that a file holds what was to be written.
func reread(path string, want []safetensors.Named) error {
	c, err := models.OpenCheckpoint(path)
	if err != nil {
		return fmt.Errorf("what was written can't be read back: %w", err)
	}
	for _, t := range want {
		got := c.Tensor(t.Name)
		if got == nil || got.Type != t.Tensor.Type || !slices.Equal(got.Dims, t.Tensor.Dims) || !bytes.Equal(got.Raw, t.Tensor.Raw) {
			return fmt.Errorf("tensor %s isn't read back as it was written; please report this", t.Name)
		}
	}
	return nil
}

// state lists the model's parameters with their new values, trained or not, by
// the names, in the layouts, types and order of the checkpoint that the model
// was made of. Where that checkpoint is still there, its other tensors come
// along, and it is returned too.
func (e *exporter) state(values []safetensors.Named) ([]safetensors.Named, *models.Checkpoint, error) {
	kept := constantsOf(e.model.Graph)
	var order []string
	inner, err := passes.BranchTensors(e.model.Graph)
	if err != nil {
		return nil, nil, err
	}
	for _, v := range slices.Concat(e.model.Graph.Inits, inner) {
		if v.Data != nil && e.stateful(v) && !slices.Contains(order, v.Name) {
			order = append(order, v.Name)
		}
	}
	now := map[string]*onnx.Tensor{}
	for _, t := range values {
		if now[t.Name] = t.Tensor; !slices.Contains(order, t.Name) {
			order = append(order, t.Name) // in a Constant node
		}
	}
	types, err := e.sourceTypes()
	if err != nil {
		return nil, nil, err
	}
	names := e.layerNames()
	var out []safetensors.Named
	var unnamed []string
	for _, name := range order {
		before, t := kept[name], now[name]
		if t == nil {
			t = before
		}
		if before == nil || !slices.Equal(before.Dims, t.Dims) {
			return nil, nil, fmt.Errorf("parameter %s is %v in the checkpoint, which the model doesn't have", name, t.Shape())
		}
		to, ok := types[name]
		if !ok {
			to = before.Type
		}
		if t, err = t.As(to); err != nil {
			return nil, nil, fmt.Errorf("parameter %s, which was %v before: %w", name, to, err)
		}
		if layer, ok := names[name]; ok {
			name, t = layer, transposedTensor(t)
		} else if !e.named(name) {
			unnamed = append(unnamed, name)
		}
		out = append(out, safetensors.Named{Name: name, Tensor: t})
	}
	if n := len(unnamed); n > 0 {
		e.note("%d tensors keep the exporter's own names, since their layers can't be told: %s", n, abridged(unnamed))
	}
	source := e.sourceCheckpoint()
	if source != nil {
		return asIn(source, out), source, nil
	}
	e.noteUnused()
	return out, nil, nil
}

// noteUnused says which tensors of the checkpoint are missing from what is
// written, as the checkpoint isn't there any more.
func (e *exporter) noteUnused() {
	text, _ := e.model.Meta(models.MetaSourceUnused)
	var names []string
	if json.Unmarshal([]byte(text), &names) != nil || len(names) == 0 {
		return
	}
	source, _ := e.model.Meta(models.MetaSource)
	e.note("the checkpoint's tensors that the model doesn't use are left out, %d of them: %s; to have them, put %s beside %s", len(names), abridged(names), source, e.files[0])
}

// abridged lists a few names.
func abridged(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", ..."
}

// stateful reports whether an initializer is part of the model's state: several
// floats, or one that has a layer's name, such as head.bias.
func (e *exporter) stateful(v *onnx.Value) bool {
	return passes.IsParameter(v) || v.Data.Type.IsFloat() && v.Data.Count() == 1 && e.named(v.Name)
}

var (
	layerName = regexp.MustCompile(`^[A-Za-z_]\w*(\.\w+)+$|^[A-Za-z_]+$`)
	constName = regexp.MustCompile(`(^|/)const(/|_\d+$|$)`)
)

// named reports whether a name is a layer's, and not one that an exporter gave
// a tensor. All tensors of a converted checkpoint have theirs.
func (e *exporter) named(name string) bool {
	if _, converted := e.model.Meta(models.MetaArchitecture); converted {
		return !constName.MatchString(name)
	}
	return layerName.MatchString(name)
}

// sourceTypes are the types that tensors had in the checkpoint that the model
// was made of, where that wasn't float32.
func (e *exporter) sourceTypes() (map[string]onnx.DType, error) {
	text, ok := e.model.Meta(models.MetaSourceTypes)
	if !ok {
		return nil, nil
	}
	var names map[string]string
	if err := json.Unmarshal([]byte(text), &names); err != nil {
		return nil, fmt.Errorf("metadata %s: %w", models.MetaSourceTypes, err)
	}
	out := map[string]onnx.DType{}
	for name, t := range names {
		if t, ok := safetensors.TypeOf(t); ok {
			out[name] = t
		}
	}
	return out, nil
}

// layerNames tells what layers' checkpoints call matrices that an exporter has
// transposed and renamed.
func (e *exporter) layerNames() map[string]string {
	if _, converted := e.model.Meta(models.MetaArchitecture); converted {
		return nil
	}
	g, err := passes.Prepare(e.model)
	if err != nil {
		e.note("layers of renamed tensors can't be told: %v", err)
		return nil
	}
	m := &Model{Graph: g, Params: passes.Parameters(g)}
	return m.layerWeights()
}

// transposedTensor is the transpose of a matrix.
func transposedTensor(t *onnx.Tensor) *onnx.Tensor {
	rows, columns, size := t.Dims[0], t.Dims[1], int64(t.Type.Size())
	out := &onnx.Tensor{Type: t.Type, Dims: []int64{columns, rows}, Raw: make([]byte, len(t.Raw))}
	for i := range rows {
		for j := range columns {
			copy(out.Raw[(j*rows+i)*size:][:size], t.Raw[(i*columns+j)*size:])
		}
	}
	return out
}

// sourceCheckpoint opens the checkpoint that the model was made of, if it is
// where it was, by its checksum; otherwise nil.
func (e *exporter) sourceCheckpoint() *models.Checkpoint {
	name, _ := e.model.Meta(models.MetaSource)
	sum, _ := e.model.Meta(models.MetaSourceSum)
	if _, converted := e.model.Meta(models.MetaArchitecture); !converted || sum == "" || name == "" {
		return nil
	}
	for _, file := range e.files {
		for _, path := range []string{file, filepath.Join(filepath.Dir(file), filepath.Base(name))} {
			if _, err := os.Stat(path); err != nil || !models.IsCheckpoint(path) {
				continue
			}
			if c, err := models.OpenCheckpoint(path); err == nil && c.SHA256 == sum {
				return c
			}
		}
	}
	return nil
}

// asIn puts tensors into the order of a checkpoint, with those of the
// checkpoint that the model doesn't have.
func asIn(source *models.Checkpoint, tensors []safetensors.Named) []safetensors.Named {
	left := byName(tensors)
	var out []safetensors.Named
	for _, name := range source.Names() {
		t := left[name]
		if t == nil {
			t = source.Tensor(name)
		}
		out = append(out, safetensors.Named{Name: name, Tensor: t})
		delete(left, name)
	}
	for _, t := range tensors {
		if left[t.Name] != nil {
			out = append(out, t)
		}
	}
	return out
}
