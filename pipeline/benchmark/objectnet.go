package benchmark

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relevit/relevit/pipeline/dataset"
)

// Files of ObjectNet's folder mappings.
const (
	folderLabels   = "folder_to_objectnet_label.json"   // folder: label
	labelSynonyms  = "objectnet_to_imagenet_1k.json"    // label: "ImageNet label; another"
	imagenetLabels = "imagenet_to_label_2012_v2"        // lines of ImageNet labels
	imagenetLines  = "pytorch_to_imagenet_2012_id.json" // class index: line of imagenetLabels, from 0
)

var mappings = []string{folderLabels, labelSynonyms, imagenetLabels, imagenetLines}

// maxMapping bounds the bytes of a mapping file; the largest published has some 50000.
const maxMapping = 1 << 24

// objectNetBorder is the red border of ObjectNet's pictures with a pixel to
// spare, as its authors advise to cut it off.
const objectNetBorder = 2

// objectNet lists those of ObjectNet's folders whose label has ImageNet classes.
func (r *reader) objectNet() error {
	r.set.Classed, r.set.Border = imagenetClasses, objectNetBorder
	root := r.path
	if absBase(r.path) == "images" && isFolder(filepath.Join(r.path, "..", "mappings")) {
		root = filepath.Join(r.path, "..")
	} else {
		r.path = filepath.Join(r.path, "images")
	}
	folders, _, err := contents(r.path)
	if err != nil {
		return r.wrong(root)
	}
	targets, labels, err := r.objectNetTargets(root)
	if err != nil {
		return err
	}
	outside := 0
	for _, folder := range folders {
		found := targets[folder]
		if found == nil {
			outside++
			continue
		}
		if err := r.addFolder(folder, Class{Name: folder, Title: labels[folder], Targets: found}); err != nil {
			return err
		}
	}
	r.note = count(outside, "folder") + " without ImageNet classes left out"
	return nil
}

// objectNetTargets reads which ImageNet classes the folders stand for.
func (r *reader) objectNetTargets(root string) (targets map[string][]int, labels map[string]string, err error) {
	dir := filepath.Join(root, "mappings")
	if !isFolder(dir) {
		dir = root
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	if i := slices.IndexFunc(mappings, func(name string) bool { return !isFile(at(name)) }); i >= 0 {
		e := r.wrong(root).(*dataset.Error)
		e.Found = at(mappings[i]) + " is missing, and so " + e.Found
		return nil, nil, e
	}
	var synonyms map[string]string
	var lines map[string]int
	for name, to := range map[string]any{folderLabels: &labels, labelSynonyms: &synonyms, imagenetLines: &lines} {
		if err := readJSON(at(name), to); err != nil {
			return nil, nil, err
		}
	}
	indices, err := objectNetIndices(at(imagenetLabels), lines)
	if err != nil {
		return nil, nil, err
	}
	targets = map[string][]int{}
	for folder, label := range labels {
		text, overlaps := synonyms[label]
		if !overlaps {
			continue
		}
		for _, name := range strings.Split(text, "; ") {
			index, ok := indices[name]
			if !ok {
				return nil, nil, &dataset.Error{Kind: dataset.ErrLabel, Path: at(labelSynonyms),
					Found: fmt.Sprintf("%q of %q is no label of %s", name, label, imagenetLabels), Advice: "take the mapping files as they come with the pictures"}
			}
			targets[folder] = append(targets[folder], index)
		}
	}
	return targets, labels, nil
}

// objectNetIndices gives ImageNet's labels, one a line, their class indices.
func objectNetIndices(file string, lines map[string]int) (map[string]int, error) {
	data, err := readMapping(file)
	if err != nil {
		return nil, err
	}
	labels := strings.Split(strings.TrimRight(string(data), "\r\n"), "\n")
	indices := map[string]int{}
	for text, line := range lines {
		index, ok := classNumber(text)
		if !ok || line < 0 || line >= len(labels) {
			return nil, &dataset.Error{Kind: dataset.ErrTable, Path: filepath.Join(filepath.Dir(file), imagenetLines),
				Found: fmt.Sprintf("class %q is on line %d, but classes are 0 to 999, and %s has %s", text, line, imagenetLabels, count(len(labels), "line"))}
		}
		name := strings.TrimSpace(labels[line])
		if former, again := indices[name]; !again || index > former { // as published: the last of equal names
			indices[name] = index
		}
	}
	return indices, nil
}

// readMapping reads a small file.
func readMapping(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxMapping {
		return nil, &dataset.Error{Kind: dataset.ErrTable, Path: file, Found: fmt.Sprintf("it has %d bytes, and no mapping has more than %d", info.Size(), maxMapping)}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, &dataset.Error{Kind: dataset.ErrMissing, Path: file, Found: "it can't be read"}
	}
	return data, nil
}

func readJSON(file string, to any) error {
	data, err := readMapping(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return &dataset.Error{Kind: dataset.ErrTable, Path: file, Found: fmt.Sprintf("it is no JSON object of the expected form: %v", err)}
	}
	return nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
