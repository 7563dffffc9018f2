package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/onnx"
)

// arrive writes into a temporary folder beside path and moves what is there, a
// file, a folder, or a model with its data files, to path. It says which data
// files could not have their names. Those of other models are not overwritten.
func arrive(path string, write func(staged string) error) (renamed []string, err error) {
	temp, held, err := stage(path)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	defer os.RemoveAll(temp)
	a := arrival{temp: temp, staged: filepath.Join(temp, filepath.Base(path)), path: path, names: map[string]string{}}
	if err := write(a.staged); err != nil {
		return nil, err
	}
	if info, statErr := os.Stat(a.staged); statErr == nil && info.IsDir() {
		err = moveFolder(a.staged, path)
	} else if err = a.placeData(); err == nil {
		if err = a.placeModel(); err != nil {
			for _, now := range a.names {
				removeIn(filepath.Dir(path), now)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	for name, now := range a.names {
		if name != now {
			renamed = append(renamed, fmt.Sprintf("the data of %s are in %s: there was a %s already", path, now, name))
		}
	}
	slices.Sort(renamed)
	return renamed, atomic.SyncFolder(filepath.Dir(path))
}

// stage makes the temporary folder for path, and removes those of processes that
// were killed. A folder is locked for as long as its process lives, so that none
// at work is taken; where the file system has no locks, all stay.
func stage(path string) (temp string, held *os.File, err error) {
	folder, base := filepath.Dir(path), filepath.Base(path)
	ours := regexp.MustCompile(`^\.` + regexp.QuoteMeta(base) + `\.[0-9]+\.tmp$`)
	entries, _ := os.ReadDir(folder) // of one that can't be read, writing tells
	for _, e := range entries {
		if left := filepath.Join(folder, e.Name()); e.IsDir() && ours.MatchString(e.Name()) {
			if f, err := os.Open(left); err == nil {
				if flock(f) == nil {
					os.RemoveAll(left)
				}
				f.Close()
			}
		}
	}
	for range 100 { // another process may take a new folder for left before it is locked
		if temp, err = os.MkdirTemp(folder, "."+base+".*.tmp"); err != nil {
			return "", nil, err
		}
		if held, err = os.Open(temp); err != nil {
			continue
		}
		if err = flock(held); !errors.Is(err, unix.EWOULDBLOCK) {
			if _, err = os.Stat(temp); err == nil {
				return temp, held, nil
			}
		}
		held.Close()
	}
	return "", nil, err
}

// arrival is a model on its way. It takes its place by one rename: before that,
// the model which is there is whole with its own data, and after it the new one.
// To that end data files get other names where theirs are taken, and those that
// the old model had under such names are removed at last.
type arrival struct {
	temp, staged, path string
	names              map[string]string // of data files: as written, and at path
}

// placeModel moves the model to its place, and removes the data of the one that
// was there.
func (a *arrival) placeModel() error {
	old := dataOf(a.path)
	if err := os.Rename(a.staged, a.path); err != nil {
		return err
	}
	for name, now := range a.names {
		for n := range mostNames {
			if other := numbered(name, n+1); other != now && slices.Contains(old, other) {
				removeIn(filepath.Dir(a.path), other)
			}
		}
	}
	return nil
}

// placeData moves the data files beside path, under names that are free there.
func (a *arrival) placeData() (err error) {
	var names []string
	err = filepath.WalkDir(a.temp, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || file == a.staged {
			return err
		}
		name, err := filepath.Rel(a.temp, file)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err != nil || len(names) == 0 {
		return err
	}
	folder := filepath.Dir(a.path)
	_, vacant := os.Stat(a.path)
	for _, name := range names {
		now := name
		for n := 2; taken(folder, now) || n > 2 && taken(a.temp, now); n++ {
			if vacant != nil || n > mostNames {
				return fmt.Errorf("the data file %s is there already and belongs to another model: write into another folder", filepath.Join(folder, name))
			}
			now = numbered(name, n)
		}
		a.names[name] = now
	}
	if err := a.rename(); err != nil {
		return err
	}
	var placed []string
	defer func() {
		for _, now := range placed {
			if err != nil {
				removeIn(folder, now)
			}
		}
	}()
	for _, now := range a.names {
		target := filepath.Join(folder, filepath.FromSlash(now))
		if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(a.temp, filepath.FromSlash(now)), target); err != nil {
			return err
		}
		placed = append(placed, now)
		if err := atomic.SyncFolder(filepath.Dir(target)); err != nil {
			return err
		}
	}
	return nil
}

// rename gives the staged data files their new names, in the model too.
func (a *arrival) rename() error {
	var d *onnx.Document
	for name, now := range a.names {
		if name == now {
			continue
		}
		if d == nil {
			var err error
			if d, err = onnx.ReadDocument(a.staged); err != nil {
				return err
			}
		}
		if err := os.Rename(filepath.Join(a.temp, filepath.FromSlash(name)), filepath.Join(a.temp, filepath.FromSlash(now))); err != nil {
			return err
		}
		d.RenameExternal(name, now)
	}
	if d == nil {
		return nil
	}
	return d.WriteFile(a.staged)
}

// mostNames bounds the numbers that a data file is given.
const mostNames = 100

// numbered is the nth name of a data file: itself, robust.onnx.2.data, ...
func numbered(name string, n int) string {
	if n < 2 {
		return name
	}
	suffix := filepath.Ext(name)
	return fmt.Sprintf("%s.%d%s", strings.TrimSuffix(name, suffix), n, suffix)
}

// taken reports whether there is a file, or a link to nowhere.
func taken(folder, name string) bool {
	_, err := os.Lstat(filepath.Join(folder, filepath.FromSlash(name)))
	return err == nil
}

// dataOf lists the data files of a model, if it is one.
func dataOf(model string) []string {
	d, err := onnx.ReadDocument(model)
	if err != nil {
		return nil
	}
	files := d.ExternalFiles()
	for i, f := range files {
		files[i] = path.Clean(f)
	}
	return files
}

// removeIn removes a data file of a model that is no more, wherever links lead
// no further than its folder. One that stays does no harm.
func removeIn(folder, name string) {
	if root, err := os.OpenRoot(folder); err == nil {
		root.Remove(filepath.FromSlash(name))
		root.Close()
	}
}

// moveFolder moves a folder to a path where there is none, an empty one, or one
// whose files of the same names are to be overwritten.
func moveFolder(staged, path string) error {
	switch err := os.Remove(path); {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return os.Rename(staged, path)
	case !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST):
		return err
	}
	entries, err := os.ReadDir(staged)
	if err != nil {
		return err
	}
	for _, f := range entries {
		if err := os.Rename(filepath.Join(staged, f.Name()), filepath.Join(path, f.Name())); err != nil {
			return err
		}
	}
	return nil
}
