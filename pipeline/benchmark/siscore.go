package benchmark

import (
	"path/filepath"
	"slices"
	"strings"
)

// factors are what SI-Score varies, by the names that its folders begin with.
// They are area, rotation and location20_area02_min0pc in its archives,
// object_size and so on in its bucket.
var factors = []struct{ folder, name string }{{"area", "area"}, {"size", "area"}, {"location", "location"}, {"rotation", "rotation"}}

// factor is what the pictures below a folder vary; empty if its name doesn't say.
func factor(folder string) string {
	name := strings.TrimPrefix(strings.ToLower(folder), "object_")
	for _, f := range factors {
		if strings.HasPrefix(name, f.folder) {
			return f.name
		}
	}
	return ""
}

// siScore lists SI-Score: folders of labels, or folders of factors with these.
func (r *reader) siScore() error {
	r.set.Classed = imagenetClasses
	folders, _, err := contents(r.path)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if siScoreTargets(folder) != nil {
			return r.siScoreLabels(".", factor(absBase(r.path)))
		}
	}
	for _, folder := range folders {
		name := factor(folder)
		if name == "" {
			return r.stranger(folder)
		}
		if slices.Contains(r.set.Parts, name) {
			name = folder // there are several of locations
		}
		if err := r.siScoreLabels(folder, name); err != nil {
			return err
		}
	}
	return nil
}

// siScoreLabels lists the folders of labels below a folder, which belong to a
// part; part is empty where the pictures have none.
func (r *reader) siScoreLabels(below, part string) error {
	folders, _, err := contents(filepath.Join(r.path, below))
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		return r.wrong(filepath.Join(r.path, below))
	}
	for _, folder := range folders {
		targets := siScoreTargets(folder)
		if targets == nil {
			return r.stranger(folder)
		}
		title := strings.ReplaceAll(folder, "_", " ")
		if below != "." {
			folder = below + "/" + folder
		}
		if err := r.addFolder(folder, Class{Name: title, Title: title, Targets: targets}); err != nil {
			return err
		}
	}
	if part != "" {
		r.set.Parts = append(r.set.Parts, part)
		for len(r.set.PartOf) < len(r.set.Samples) {
			r.set.PartOf = append(r.set.PartOf, len(r.set.Parts)-1)
		}
	}
	return nil
}
