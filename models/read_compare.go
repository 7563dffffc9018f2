package models

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// compare checks every tensor against the architecture's list.
func (r *reading) compare() error {
	const most = 4 // of each kind in the message
	var missing, wrong, unknown []string
	want := map[string]bool{}
	for _, s := range r.a.tensors() {
		want[s.name] = true
		t := r.view.tensors[s.name]
		switch {
		case t == nil:
			missing = append(missing, fmt.Sprintf("%s %v", s.name, s.dims))
		case !slices.Equal(t.dims, s.dims):
			wrong = append(wrong, fmt.Sprintf("%s %v (expected %v)", r.sourceOf(s.name), t.dims, s.dims))
		default:
			for _, p := range t.parts {
				if x := r.c.tensors[p.source]; x != nil && !x.Type.IsFloat() {
					wrong = append(wrong, fmt.Sprintf("%s of type %v (expected a float type)", p.source, x.Type))
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.view.tensors)) {
		if !want[name] {
			unknown = append(unknown, fmt.Sprintf("%s %v", r.sourceOf(name), r.view.tensors[name].dims))
		}
	}
	var parts []string
	for _, k := range []struct {
		what string
		list []string
	}{{"missing", missing}, {"of another shape or type", wrong}, {"not understood", unknown}} {
		if len(k.list) == 0 {
			continue
		}
		text := strings.Join(k.list[:min(most, len(k.list))], ", ")
		if more := len(k.list) - most; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, fmt.Sprintf("%s %s: %s", counted(len(k.list), "tensor"), k.what, text))
	}
	if parts == nil {
		return nil
	}
	advice := "relevit builds timm's VisionTransformer, Eva, Beit and distilled DeiT; for another model give its ONNX export instead"
	if unknown == nil && wrong == nil {
		advice = "the checkpoint is incomplete: take another copy, or state by --arch what the model does without"
	}
	return r.fail(advice, "the tensors are not those of a %s: %s", r.a.Title(), strings.Join(parts, "; "))
}

// sourceOf is what the checkpoint calls a tensor, with timm's name where that
// is another.
func (r *reading) sourceOf(name string) string {
	source := r.view.tensors[name].parts[0].source
	if source == name || source == "" {
		return name
	}
	return fmt.Sprintf("%s (%s)", source, name)
}
