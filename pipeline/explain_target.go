package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/pipeline/dataset"
)

// Targets that depend on the picture.
const (
	TargetTop1  = "top1"  // the class that the model predicts
	TargetLabel = "label" // that of the folder which the picture lies in
)

// predicted is the class index that stands for the model's own prediction.
const predicted = -1

// targets tells the classes to explain.
type targets struct {
	texts   []string // as stated
	aims    []aim    // in that order
	names   []string
	table   *dataset.Classes // nil where none is given
	classes int              // the model's; 0 unknown
	scalar  bool             // the model has one output, no classes
}

// aim is one class to explain of every picture.
type aim struct {
	rank  int   // among the model's predictions, from 1; 0: another
	class int64 // where rank is 0, unless label
	label bool  // the picture's own
}

// suffix tells the files of an aim that isn't the first from that one's.
func (a aim) suffix() string {
	switch {
	case a.label:
		return ".label"
	case a.rank > 0:
		return fmt.Sprint(".top", a.rank)
	}
	return fmt.Sprint(".class", a.class)
}

// newTargets reads the class to explain; table may be nil.
func newTargets(m *Model, text string, table *dataset.Classes) (*targets, error) {
	var texts []string
	if text != "" {
		texts = append(texts, text)
	}
	return readTargets(m, texts, table)
}

// readTargets reads the classes to explain, TargetTop1 where there are none.
// Each text is one, or several with commas between them; table may be nil.
func readTargets(m *Model, texts []string, table *dataset.Classes) (*targets, error) {
	t := &targets{names: ClassNames(m.Source), table: table}
	found, err := models.Find(m.Graph, m.Find)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	t.classes, t.scalar = int(found.Classes), found.Regression()
	if t.table != nil {
		t.names = t.table.Titles()
	}
	for _, text := range texts {
		list := []string{text}
		if t.named(text) < 0 { // a class's name may have commas
			list = strings.Split(text, ",")
		}
		for _, one := range list {
			t.texts = append(t.texts, strings.TrimSpace(one))
		}
	}
	if len(t.texts) == 0 {
		t.texts = []string{TargetTop1}
	}
	if t.scalar {
		return t, t.aimAtScalar()
	}
	for _, text := range t.texts {
		aims, err := t.aimsAt(text)
		if err != nil {
			return nil, err
		}
		for _, a := range aims {
			if slices.Contains(t.aims, a) {
				return nil, &configs.Error{Msg: fmt.Sprintf("target %s is stated twice", text)}
			}
			t.aims = append(t.aims, a)
		}
	}
	return t, nil
}

// aimAtScalar allows of a regression what stands for its only output.
func (t *targets) aimAtScalar() error {
	if len(t.texts) > 1 || t.texts[0] != TargetTop1 && t.texts[0] != "0" {
		return &configs.Error{Msg: fmt.Sprintf("target %s: the model has one output and no classes, and that is what is explained; leave the target out", strings.Join(t.texts, ","))}
	}
	t.aims = []aim{{}}
	return nil
}

// aimsAt reads one target.
func (t *targets) aimsAt(text string) ([]aim, error) {
	if text == TargetLabel {
		return []aim{{label: true}}, nil
	}
	if number, ok := strings.CutPrefix(text, "top"); ok {
		if n, err := strconv.Atoi(number); err == nil && n > 0 {
			if t.classes > 0 && n > t.classes {
				return nil, &configs.Error{Msg: fmt.Sprintf("target %s: the model has %d classes", text, t.classes)}
			}
			aims := make([]aim, n)
			for i := range aims {
				aims[i].rank = i + 1
			}
			return aims, nil
		}
	}
	class, err := t.class(text)
	return []aim{{class: class}}, err
}

// ClassNames lists the names of the classes that a model's metadata state, nil
// where they state none.
func ClassNames(m *onnx.Model) []string {
	text, _ := m.Meta(models.MetaLabels)
	var names []string
	if json.Unmarshal([]byte(text), &names) != nil {
		return nil
	}
	return names
}

// class reads a class index or a name.
func (t *targets) class(text string) (int64, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		if n = t.named(text); n < 0 {
			return 0, &configs.Error{Msg: fmt.Sprintf("target %q is no class index, %s or %s, and no class of the model has that name%s", text, TargetTop1, TargetLabel, t.namesAdvice())}
		}
	}
	if n < 0 || t.classes > 0 && n >= t.classes {
		return 0, &configs.Error{Msg: fmt.Sprintf("target %d: the model's classes are 0 to %d", n, t.classes-1)}
	}
	return int64(n), nil
}

func (t *targets) namesAdvice() string {
	if t.names == nil {
		return ": its metadata name none, so state a table of classes"
	}
	return ""
}

// named is the index of a name, -1 if no class has it, or several do.
func (t *targets) named(name string) int {
	if t.table != nil {
		if n, err := t.table.Index(name); err == nil {
			return n
		}
	}
	if i := slices.Index(t.names, name); i >= 0 {
		return i
	}
	// ImageNet's names are lists, such as "tabby, tabby cat".
	found := -1
	for i, names := range t.names {
		if slices.Contains(strings.Split(names, ", "), name) {
			if found >= 0 {
				return -1
			}
			found = i
		}
	}
	return found
}

// labels are the pictures' own classes, nil where none is to be explained.
func (t *targets) labels(list []sitter) ([]int64, error) {
	if !slices.Contains(t.aims, aim{label: true}) {
		return nil, nil
	}
	folders := map[string]int{}
	for _, s := range list {
		folders[s.folder] = t.named(s.folder)
		if n, err := strconv.Atoi(s.folder); err == nil && folders[s.folder] < 0 {
			folders[s.folder] = n
		}
	}
	for folder, n := range folders {
		if n < 0 || t.classes > 0 && n >= t.classes {
			var err error
			if folders, err = t.rank(folders, folder); err != nil {
				return nil, err
			}
			break
		}
	}
	out := make([]int64, len(list))
	for i, s := range list {
		out[i] = int64(folders[s.folder])
	}
	return out, nil
}

// rank numbers the folders in the order of their names, as training does, where
// they are as many as the classes; unknown is one that names no class.
func (t *targets) rank(folders map[string]int, unknown string) (map[string]int, error) {
	if t.table != nil || len(folders) != t.classes {
		return nil, &dataset.Error{Kind: dataset.ErrLabel, Path: unknown, Found: fmt.Sprintf("the folder's name is no class of the model, and there are %d folders for %d classes", len(folders), t.classes),
			Advice: "state a table of classes (class index, folder name, title), or explain top1"}
	}
	ranks := map[string]int{}
	for i, f := range slices.Sorted(maps.Keys(folders)) {
		ranks[f] = i
	}
	return ranks, nil
}
