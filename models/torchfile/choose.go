package torchfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/models/pickle"
)

// nestings are the keys under which training scripts keep weights, the
// preferred ones first: averaged weights, which are evaluated and published,
// before the trained ones, and a teacher before its student.
var nestings = []string{
	"state_dict_ema", "model_ema", "ema_state_dict", "params_ema", "ema_model", "ema", "teacher", "target_encoder",
	"state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module", "student", "encoder", "backbone",
}

// deepest is how many dicts may wrap the weights.
const deepest = 4

// choose finds the weights in the file's object and describes their tensors.
func (f *File) choose(object any, size int64, stored lookup) error {
	if isTensor(object) {
		return &Error{Path: f.Path, Problem: "it holds a single tensor, not a dict of them", Advice: "save the model's state dict"}
	}
	outer, ok := object.(*pickle.Dict)
	if !ok {
		return &Error{Path: f.Path, Problem: "it holds no dict of tensors", Advice: "let PyTorch save the weights alone: torch.save(model.state_dict(), \"weights.pth\")"}
	}
	s := &search{seen: map[*pickle.Dict]bool{}, holds: map[*pickle.Dict]bool{}}
	weights, path := s.descend(outer, deepest)
	if weights == nil {
		return f.none(outer, s)
	}
	f.Nesting, f.Others = strings.Join(path, "."), beside(outer, path)
	f.Architecture = architecture(outer)
	total, most := int64(0), 4*size+16<<20
	for i, k := range weights.Keys {
		name, ok := k.(string)
		if !ok || !isTensor(weights.Values[i]) {
			continue
		}
		if f.tensors[name] != nil {
			return &Error{Path: f.Path, Tensor: name, Problem: "two tensors have this name"}
		}
		t, err := resolve(weights.Values[i], 4, stored)
		if err != nil {
			return &Error{Path: f.Path, Tensor: name, Problem: "it can't be read", Err: err}
		}
		if total += t.bytes(); total > most || t.bytes() > most {
			return &Error{Path: f.Path, Tensor: name, Problem: fmt.Sprintf("views of the same data make more than %d bytes of a file of %d", most, size), Advice: "save tensors that are copies (clone) instead of views"}
		}
		f.names = append(f.names, name)
		f.tensors[name] = t
	}
	return nil
}

// beside lists the keys that hold weights beside those that were followed.
func beside(d *pickle.Dict, path []string) []string {
	var out []string
	for i, followed := range path {
		for _, key := range nestings {
			inner, ok := find(d, key).(*pickle.Dict)
			if !ok || key == followed {
				continue
			}
			s := &search{seen: map[*pickle.Dict]bool{}, holds: map[*pickle.Dict]bool{}}
			if weights, _ := s.descend(inner, deepest-i-1); weights != nil {
				out = append(out, key)
			}
		}
		d, _ = find(d, followed).(*pickle.Dict)
		if d == nil { // by a key that isn't a text
			break
		}
	}
	return out
}

// search looks for weights. Dicts may be shared or hold themselves: each is
// looked through once.
type search struct {
	seen, holds map[*pickle.Dict]bool
}

// descend follows keys to the weights; nil where none are found.
func (s *search) descend(d *pickle.Dict, depth int) (*pickle.Dict, []string) {
	if depth == 0 || s.seen[d] {
		return nil, nil
	}
	s.seen[d] = true
	for _, key := range nestings {
		if inner, ok := find(d, key).(*pickle.Dict); ok {
			if weights, path := s.descend(inner, depth-1); weights != nil {
				return weights, append([]string{key}, path...)
			}
		}
	}
	if s.tensors(d) {
		return d, nil
	}
	if among := s.among(d); len(among) == 1 {
		return d.Values[among[0]].(*pickle.Dict), []string{label(d.Keys[among[0]])}
	}
	return nil, nil
}

// among lists the places in a dict where other dicts hold tensors.
func (s *search) among(d *pickle.Dict) []int {
	var out []int
	for i, v := range d.Values {
		if inner, ok := v.(*pickle.Dict); ok && s.tensors(inner) {
			out = append(out, i)
		}
	}
	return out
}

// tensors reports whether a dict holds tensors by name.
func (s *search) tensors(d *pickle.Dict) bool {
	has, known := s.holds[d]
	if !known {
		for i, v := range d.Values {
			if _, ok := d.Keys[i].(string); ok && isTensor(v) {
				has = true
				break
			}
		}
		s.holds[d] = has
	}
	return has
}

// label shows a key, without a look inside of what isn't plain.
func label(key any) string {
	switch key := key.(type) {
	case string:
		if len(key) > 60 {
			return fmt.Sprintf("%q...", key[:60])
		}
		return key
	case int64:
		return fmt.Sprint(key)
	}
	return pickle.Kind(key)
}

// find returns the value of a key, nil if there is none.
func find(d *pickle.Dict, key string) any {
	for i := len(d.Keys) - 1; i >= 0; i-- {
		if d.Keys[i] == key {
			return d.Values[i]
		}
	}
	return nil
}

// none tells that no weights were found.
func (f *File) none(outer *pickle.Dict, s *search) error {
	list := func(places []int) string {
		var out []string
		for _, i := range places[:min(12, len(places))] {
			out = append(out, label(outer.Keys[i]))
		}
		return strings.Join(out, ", ")
	}
	if several := s.among(outer); len(several) > 1 {
		return &Error{Path: f.Path, Problem: "several of its keys hold weights: " + list(several), Advice: "save the one that is meant alone"}
	}
	all := make([]int, len(outer.Keys))
	for i := range all {
		all[i] = i
	}
	return &Error{Path: f.Path, Problem: fmt.Sprintf("no weights were found in its %d keys: %s", len(all), list(all)),
		Advice: "let PyTorch save the weights alone: torch.save(model.state_dict(), \"weights.pth\")"}
}

// architecture looks for the model's name where training scripts keep it.
func architecture(outer *pickle.Dict) string {
	places := []*pickle.Dict{outer}
	for _, key := range []string{"args", "hyper_parameters", "config", "opt"} {
		switch v := find(outer, key).(type) {
		case *pickle.Dict:
			places = append(places, v)
		case *pickle.Call:
			if d, ok := v.State.(*pickle.Dict); ok {
				places = append(places, d)
			}
		}
	}
	for i, place := range places {
		for _, key := range []string{"architecture", "arch", "model_name", "model"} {
			if name, ok := find(place, key).(string); ok && name != "" && len(name) < 200 && (i > 0 || !slices.Contains(nestings, key)) {
				return name
			}
		}
	}
	return ""
}
