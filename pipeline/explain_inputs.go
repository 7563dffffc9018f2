package pipeline

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/pipeline/dataset"
)

// sitter is a picture to explain.
type sitter struct {
	path   string // of the file
	name   string // of what is written about it, with slashes, without suffix
	folder string // the folder that it lies in, by its own name: its class
}

// listSitters lists pictures and the pictures in folders, at any depth, in
// order. Names are unique: pictures of one name but different suffixes keep
// these, and others are numbered.
func listSitters(inputs []string) ([]sitter, error) {
	var out []sitter
	several := len(inputs) > 1
	for _, in := range inputs {
		st, err := os.Stat(in)
		if err != nil {
			return nil, &dataset.Error{Kind: dataset.ErrMissing, Path: in, Found: "there is no such file or folder"}
		}
		if !st.IsDir() {
			out = append(out, sitter{path: in, name: filepath.Base(in)})
			continue
		}
		found, err := listFolder(in)
		if err != nil {
			return nil, err
		}
		if several {
			for i := range found {
				found[i].name = path.Join(baseName(in), found[i].name)
			}
		}
		out = append(out, found...)
	}
	nameSitters(out)
	for i := range out {
		if abs, err := filepath.Abs(out[i].path); err == nil {
			out[i].folder = filepath.Base(filepath.Dir(abs))
		}
	}
	return out, nil
}

// baseName is a folder's own name, also where it is given as . or with dots.
func baseName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return filepath.Base(abs)
	}
	return filepath.Base(dir)
}

// listFolder lists a folder's pictures at any depth, without hidden files.
func listFolder(root string) ([]sitter, error) {
	var out []sitter
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if file != root && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() || !dataset.IsImage(d.Name()) {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		out = append(out, sitter{path: file, name: filepath.ToSlash(rel)})
		return nil
	})
	if err != nil {
		return nil, &dataset.Error{Kind: dataset.ErrMissing, Path: root, Found: err.Error()}
	}
	if len(out) == 0 {
		return nil, &dataset.Error{Kind: dataset.ErrEmpty, Path: root, Found: "no image files in it, nor in its folders"}
	}
	return out, nil
}

// nameSitters takes the suffixes off the names where they stay unique without.
func nameSitters(list []sitter) {
	stem := func(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }
	shared := map[string]int{}
	for _, s := range list {
		shared[strings.ToLower(stem(s.name))]++ // some file systems don't tell cases apart
	}
	taken := map[string]bool{}
	for i := range list {
		s := &list[i]
		if shared[strings.ToLower(stem(s.name))] == 1 {
			s.name = stem(s.name)
		}
		base := s.name
		for n := 2; taken[strings.ToLower(s.name)]; n++ {
			s.name = fmt.Sprintf("%s-%d", base, n)
		}
		taken[strings.ToLower(s.name)] = true
	}
}
