package pipeline

import (
	"encoding/json"
	"fmt"
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

// targets tells the class to explain.
type targets struct {
	text    string // as stated
	names   []string
	table   *dataset.Classes // nil where none is given
	classes int              // the model's; 0 unknown
	fixed   int64            // class of every picture, unless text is TargetLabel
}

// newTargets reads the class to explain; table may be nil.
func newTargets(m *Model, text string, table *dataset.Classes) (*targets, error) {
	t := &targets{text: text, names: ClassNames(m.Source), table: table, fixed: predicted}
	found, err := models.Find(m.Graph, m.Find)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	t.classes = int(found.Classes)
	if t.table != nil {
		t.names = t.table.Titles()
	}
	switch t.text {
	case "":
		t.text = TargetTop1
	case TargetTop1, TargetLabel:
	default:
		t.fixed, err = t.class(t.text)
	}
	return t, err
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

// assign sets the class of every picture.
func (t *targets) assign(list []sitter) error {
	for i := range list {
		list[i].class = t.fixed
	}
	if t.text != TargetLabel {
		return nil
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
			return t.rank(list, folders, folder)
		}
	}
	for i := range list {
		list[i].class = int64(folders[list[i].folder])
	}
	return nil
}

// rank numbers the folders in the order of their names, as training does, where
// they are as many as the classes; unknown is one that names no class.
func (t *targets) rank(list []sitter, folders map[string]int, unknown string) error {
	if t.table != nil || len(folders) != t.classes {
		return &dataset.Error{Kind: dataset.ErrLabel, Path: unknown, Found: fmt.Sprintf("the folder's name is no class of the model, and there are %d folders for %d classes", len(folders), t.classes),
			Advice: "state a table of classes (class index, folder name, title), or explain top1"}
	}
	var sorted []string
	for f := range folders {
		sorted = append(sorted, f)
	}
	slices.Sort(sorted)
	for i := range list {
		list[i].class = int64(slices.Index(sorted, list[i].folder))
	}
	return nil
}
