package benchmark

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relevit/relevit/pipeline/dataset"
)

// detect tells a data set's layout from its files and folders. Where several
// could be meant, such as an ImageNet-A of which some classes were taken, the
// folder's own name decides. A model of other than 1000 classes can't have
// ImageNet's, so its folders are just that.
func detect(path string, opt Options) (Layout, error) {
	if isFile(path) {
		if strings.EqualFold(filepath.Ext(path), ".mat") {
			return ImageNetSegmentation, nil
		}
		return CSV, nil
	}
	folders, files, err := contents(path)
	if err != nil {
		return "", err
	}
	if opt.Classes == imagenetClasses || opt.Classes == 0 {
		if l := detectImageNet(path, folders, files, opt); l != "" {
			return l, nil
		}
	}
	switch {
	case len(tablesIn(files)) == 1 && len(pictures(files)) == 0 && !hasPictures(path, folders):
		return CSV, nil
	case hasPictures(path, folders):
		return Folders, nil
	case len(folders) > 0 && !slices.ContainsFunc(folders, func(f string) bool { return factor(f) == "" }):
		return SIScore, nil
	case len(tablesIn(files)) == 1:
		return CSV, nil
	}
	var expected []string
	for _, f := range forms {
		expected = append(expected, fmt.Sprintf("%s (%s)", f.layout, f.expected))
	}
	return "", &dataset.Error{Kind: ErrLayout, Path: path, Found: fmt.Sprintf("no layout is recognised: found %s; expected one of %s", describe(path), strings.Join(expected, "; ")),
		Advice: "state the --layout to learn what is missing"}
}

// detectImageNet tells the layouts whose labels are classes of ImageNet-1k;
// empty if it is none of them.
func detectImageNet(path string, folders, files []string, opt Options) Layout {
	switch {
	case slices.ContainsFunc(files, validationPicture.MatchString):
		return ImageNetFlat
	case isObjectNet(path, folders):
		return ObjectNet
	case len(folders) == 0:
		return ""
	case slices.Contains(folders, "val") && !slices.ContainsFunc(folders, isWNID):
		inside := filepath.Join(path, "val")
		if folders, files, err := contents(inside); err == nil {
			if l := detectImageNet(inside, folders, files, opt); l == ImageNet || l == ImageNetFlat {
				return l
			}
		}
	case slices.Contains(folders, "ILSVRC"):
		return ImageNetFlat
	case !slices.ContainsFunc(folders, func(f string) bool { _, ok := known().index[f]; return !ok }):
		return detectWNIDs(path, folders)
	case opt.Classes == 0:
		return ""
	case !slices.ContainsFunc(folders, func(f string) bool { _, ok := classNumber(f); return !ok }):
		return ImageNetV2
	case !slices.ContainsFunc(folders, func(f string) bool { return siScoreTargets(f) == nil }),
		!slices.ContainsFunc(folders, func(f string) bool { return factor(f) == "" }):
		return SIScore
	}
	return ""
}

// detectWNIDs tells the data sets apart whose folders are named by WNIDs.
func detectWNIDs(path string, folders []string) Layout {
	t := known()
	var indices []int
	for _, f := range folders {
		indices = append(indices, t.index[f])
	}
	name := strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(absBase(path)))
	within := func(classes []int) bool {
		return !slices.ContainsFunc(indices, func(i int) bool { return !slices.Contains(classes, i) })
	}
	_, first, _ := contents(filepath.Join(path, folders[0]))
	switch {
	case within(t.a) && (len(folders) == len(t.a) || strings.HasPrefix(name, "imagenet-a")):
		return ImageNetA
	case within(t.r) && (len(folders) == len(t.r) || strings.HasPrefix(name, "imagenet-r")):
		return ImageNetR
	case strings.Contains(name, "sketch") || len(first) > 0 && strings.HasPrefix(first[0], "sketch_"):
		return ImageNetSketch
	}
	return ImageNet
}

// isObjectNet says whether a folder is ObjectNet's, or that of its pictures.
func isObjectNet(path string, folders []string) bool {
	if absBase(path) == "images" && isFile(filepath.Join(path, "..", "mappings", labelSynonyms)) {
		return true
	}
	return slices.Contains(folders, "images") && (isFile(filepath.Join(path, "mappings", labelSynonyms)) || isFile(filepath.Join(path, labelSynonyms)))
}

// hasPictures says whether any of the folders has pictures.
func hasPictures(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		_, files, err := contents(filepath.Join(path, f))
		return err == nil && len(pictures(files)) > 0
	})
}

func absBase(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return filepath.Base(abs)
	}
	return filepath.Base(path)
}
