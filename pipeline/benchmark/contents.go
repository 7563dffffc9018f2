package benchmark

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/pipeline/dataset"
)

// contents are the names of a folder's folders and files, sorted, without
// hidden ones, following links. A link to nowhere counts as a file, which can't
// be read.
func contents(path string) (folders, files []string, err error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		e := &dataset.Error{Kind: dataset.ErrMissing, Path: path, Found: err.Error()}
		if reason := (*fs.PathError)(nil); errors.As(err, &reason) {
			e.Found = reason.Err.Error()
		}
		return nil, nil, e
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		folder := entry.IsDir()
		if entry.Type()&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(path, name))
			folder = err == nil && info.IsDir()
		}
		if folder {
			folders = append(folders, name)
		} else {
			files = append(files, name)
		}
	}
	return folders, files, nil
}

// pictures are those of a folder's files that are images by their names.
func pictures(files []string) (out []string) {
	for _, name := range files {
		if dataset.IsImage(name) {
			out = append(out, name)
		}
	}
	return out
}

// addFolder lists the pictures in the folder of a class, which lies below the
// data set's path. It may be empty.
func (r *reader) addFolder(folder string, c Class) error {
	_, files, err := contents(filepath.Join(r.path, filepath.FromSlash(folder)))
	if err != nil {
		return err
	}
	for _, name := range pictures(files) {
		r.addPicture(folder+"/"+name, c)
	}
	return nil
}

// addPicture lists a picture below the data set's path.
func (r *reader) addPicture(id string, c Class) {
	r.add(dataset.Sample{ID: id, ImagePath: filepath.Join(r.path, filepath.FromSlash(id))}, c)
}

// describe says what lies in a folder.
func describe(path string) string {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		return "a file"
	}
	folders, files, err := contents(path)
	if err != nil {
		return err.Error()
	}
	var parts []string
	if len(folders) > 0 {
		parts = append(parts, fmt.Sprintf("%s (%s)", count(len(folders), "folder"), examples(folders)))
	}
	images := pictures(files)
	if len(images) > 0 {
		parts = append(parts, fmt.Sprintf("%s (%s)", count(len(images), "picture"), examples(images)))
	}
	if others := len(files) - len(images); others > 0 {
		var names []string
		for _, name := range files {
			if !dataset.IsImage(name) {
				names = append(names, name)
			}
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", count(others, "other file"), examples(names)))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// examples lists the first few of names: "a, b, c, ...".
func examples(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", ..."
}

// count is a number of things: "1 folder", "2 folders".
func count(n int, what string) string { return plural(n, what, what+"s") }

func plural(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}
