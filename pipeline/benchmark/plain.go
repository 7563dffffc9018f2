package benchmark

import (
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/pipeline/dataset"
)

// folders lists class folders of any names.
func (r *reader) folders() error {
	folders, _, err := contents(r.path)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := r.addFolder(folder, Class{Name: folder, Title: folder}); err != nil {
			return err
		}
	}
	return nil
}

// unlabelled lists the pictures in one folder.
func (r *reader) unlabelled() error {
	r.set.Unlabelled = true
	_, files, err := contents(r.path)
	for _, name := range pictures(files) {
		r.set.Samples = append(r.set.Samples, dataset.Sample{ID: name, ImagePath: filepath.Join(r.path, name), Label: dataset.NoLabel})
	}
	return err
}

// csv lists the pictures of a table.
func (r *reader) csv() error {
	file := r.path
	if isFolder(file) {
		_, files, err := contents(file)
		if err != nil {
			return err
		}
		tables := tablesIn(files)
		if len(tables) != 1 {
			return r.wrong(file)
		}
		file = filepath.Join(file, tables[0])
	}
	samples, err := dataset.CSV(file)
	if err != nil {
		return err
	}
	for _, s := range samples {
		if s.Class == "" {
			return &dataset.Error{Kind: dataset.ErrLabel, Path: file, Found: "image " + s.ID + " has no label", Advice: "fill in the column label: a class index or a name"}
		}
		r.add(s, Class{Name: s.Class, Title: s.Class})
	}
	return nil
}

// tablesIn are those of a folder's files that are CSV tables by their names.
func tablesIn(files []string) (out []string) {
	for _, name := range files {
		if strings.EqualFold(filepath.Ext(name), ".csv") {
			out = append(out, name)
		}
	}
	return out
}
