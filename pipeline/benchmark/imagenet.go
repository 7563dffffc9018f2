package benchmark

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/relevit/relevit/pipeline/dataset"
)

// imagenet lists folders named by WNIDs of ImageNet-1k.
func (r *reader) imagenet() error { return r.wnidFolders(nil) }

// imagenetA lists ImageNet-A. Its evaluation takes the largest of the logits of
// its 200 classes; the one of RobustViT the largest of all 1000.
func (r *reader) imagenetA() error { return r.wnidFolders(known().a) }

// imagenetR lists ImageNet-R, which is evaluated like ImageNet-A.
func (r *reader) imagenetR() error { return r.wnidFolders(known().r) }

// wnidFolders lists folders named by WNIDs, of the given classes or all.
func (r *reader) wnidFolders(among []int) error {
	r.set.Among, r.set.Classed = among, imagenetClasses
	r.descend()
	folders, _, err := contents(r.path)
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		return r.wrong(r.path)
	}
	for _, folder := range folders {
		index, ok := known().index[folder]
		if !ok || among != nil && !slices.Contains(among, index) {
			return r.stranger(folder)
		}
		if err := r.addFolder(folder, imagenetClass(index)); err != nil {
			return err
		}
	}
	return nil
}

// stranger is the error of a folder that is no class of the data set.
func (r *reader) stranger(folder string) error {
	e := r.wrong(r.path).(*dataset.Error)
	e.Found = "folder " + folder + " is none of its classes, and so " + e.Found
	return e
}

// descend goes to a folder val where the path has one and no classes itself.
func (r *reader) descend() {
	folders, _, err := contents(r.path)
	if err == nil && slices.Contains(folders, "val") && !slices.ContainsFunc(folders, isWNID) {
		r.path = filepath.Join(r.path, "val")
	}
}

// imagenetV2 lists folders named by class indices.
func (r *reader) imagenetV2() error {
	r.set.Classed = imagenetClasses
	folders, _, err := contents(r.path)
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		return r.wrong(r.path)
	}
	for _, folder := range folders {
		index, ok := classNumber(folder)
		if !ok {
			return r.stranger(folder)
		}
		c := imagenetClass(index)
		c.Name = folder
		if err := r.addFolder(folder, c); err != nil {
			return err
		}
	}
	r.byTarget()
	return nil
}

// classNumber reads a folder's name as a class index of ImageNet-1k.
func classNumber(folder string) (int, bool) {
	n, err := strconv.Atoi(folder)
	return n, err == nil && n >= 0 && n < imagenetClasses && strconv.Itoa(n) == folder
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
