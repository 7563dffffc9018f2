package benchmark

import (
	"path/filepath"
	"slices"
	"strconv"
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
// Pictures may be of other objects than its own, with WNIDs or numbers as labels.
func (r *reader) siScore() error {
	folders, _, err := contents(r.path)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(folders, func(f string) bool { return siScoreKind(f) != nil }) {
		return r.siScoreLabels(".", factor(absBase(r.path)))
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

// siScoreKind is how a folder's name tells its class: as one of SI-Score's labels
// or, as in what evaluate --synthesize keeps, as a WNID of ImageNet-1k or as the
// model's class index. It is nil for other names.
func siScoreKind(folder string) func(folder string) (Class, bool) {
	for _, kind := range []func(string) (Class, bool){
		func(f string) (Class, bool) {
			title := strings.ReplaceAll(f, "_", " ")
			targets := siScoreTargets(f)
			return Class{Name: title, Title: title, Targets: targets}, targets != nil
		},
		func(f string) (Class, bool) {
			index, ok := known().index[f]
			if !ok {
				return Class{}, false
			}
			return imagenetClass(index), true
		},
		func(f string) (Class, bool) {
			n, err := strconv.Atoi(f)
			return Class{Name: f, Title: f}, err == nil && n >= 0 && strconv.Itoa(n) == f
		},
	} {
		if _, ok := kind(folder); ok {
			return kind
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
	kind := siScoreKind(folders[0])
	if kind == nil {
		return r.stranger(folders[0])
	}
	for _, folder := range folders {
		c, ok := kind(folder)
		if !ok {
			return r.stranger(folder)
		}
		if c.Targets != nil {
			r.set.Classed = imagenetClasses
		}
		if below != "." {
			folder = below + "/" + folder
		}
		if err := r.addFolder(folder, c); err != nil {
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
