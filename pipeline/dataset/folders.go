package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var imageExtensions = []string{".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}

const maskExtension = ".png"

// IsImage reports whether a file's name is that of an image.
func IsImage(name string) bool {
	return slices.Contains(imageExtensions, strings.ToLower(filepath.Ext(name)))
}

// Tree lists images/CLASS/NAME.jpg with masks/CLASS/NAME.png, sorted by class
// and name; masks is empty for a data set without. Class is the folder's name,
// Label is NoLabel. Hidden files, and files that are no images by their
// extension, are passed over; masks without an image are an error.
func Tree(images, masks string) ([]Sample, error) {
	classes, _, err := list(images)
	if err != nil {
		return nil, err
	}
	if len(classes) == 0 {
		return nil, &Error{Kind: ErrMissing, Path: images, Found: "no class folders in it",
			Advice: "expected CLASS/NAME.jpg; a folder of images without classes has layout flat"}
	}
	if masks != "" {
		if err := sameClasses(images, classes, masks); err != nil {
			return nil, err
		}
	}
	var samples []Sample
	for _, class := range classes {
		maskFolder := ""
		if masks != "" {
			maskFolder = filepath.Join(masks, class)
		}
		found, err := folder(filepath.Join(images, class), maskFolder)
		if err != nil {
			return nil, err
		}
		for i := range found {
			found[i].ID = class + "/" + found[i].ID
			found[i].Class = class
		}
		samples = append(samples, found...)
	}
	return samples, nil
}

// Flat lists images/NAME.jpg with masks/NAME.png, sorted by name; masks is
// empty for a data set without. Samples have neither class nor label.
func Flat(images, masks string) ([]Sample, error) {
	return folder(images, masks)
}

func sameClasses(images string, classes []string, masks string) error {
	maskClasses, _, err := list(masks)
	if err != nil {
		return err
	}
	for _, c := range classes {
		if !slices.Contains(maskClasses, c) {
			return &Error{Kind: ErrMissing, Path: filepath.Join(masks, c), Found: "no such folder of masks for class " + c,
				Advice: "make masks for the class, or take its folder out of " + images}
		}
	}
	for _, c := range maskClasses {
		if !slices.Contains(classes, c) {
			return &Error{Kind: ErrMissing, Path: filepath.Join(images, c), Found: "no such folder of images, but masks for class " + c + " exist",
				Advice: "add the class's images, or take its folder out of " + masks}
		}
	}
	return nil
}

// folder pairs the images of one folder with the masks of another.
func folder(images, masks string) ([]Sample, error) {
	folders, files, err := list(images)
	if err != nil {
		return nil, err
	}
	var samples []Sample
	byStem := map[string]string{}
	for _, name := range files {
		if !IsImage(name) {
			continue
		}
		stem := strings.TrimSuffix(name, filepath.Ext(name))
		if other, ok := byStem[stem]; ok && masks != "" {
			return nil, &Error{Kind: ErrCount, Path: filepath.Join(images, name),
				Found: fmt.Sprintf("same name but for the extension as %s, so one mask would belong to both", other), Advice: "rename one of them"}
		}
		byStem[stem] = name
		samples = append(samples, Sample{ID: name, ImagePath: filepath.Join(images, name), Label: NoLabel})
	}
	if len(samples) == 0 {
		e := &Error{Kind: ErrEmpty, Path: images, Found: "no image files in it (" + strings.Join(imageExtensions, ", ") + ")"}
		if len(folders) > 0 {
			e.Advice = "it has folders; class folders have layout folders"
		}
		return nil, e
	}
	if masks != "" {
		err = pair(samples, byStem, images, masks)
	}
	return samples, err
}

// pair sets the samples' masks, and requires one for each image and no other.
func pair(samples []Sample, byStem map[string]string, images, masks string) error {
	_, files, err := list(masks)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	orphan, orphans := "", 0
	for _, name := range files {
		if strings.ToLower(filepath.Ext(name)) != maskExtension {
			continue
		}
		have[name] = true
		if _, ok := byStem[strings.TrimSuffix(name, filepath.Ext(name))]; !ok {
			orphan = name
			orphans++
		}
	}
	for i := range samples {
		s := &samples[i]
		name := strings.TrimSuffix(s.ID, filepath.Ext(s.ID)) + maskExtension
		if !have[name] {
			return &Error{Kind: ErrMissing, Path: filepath.Join(masks, name),
				Found:  fmt.Sprintf("no such mask for image %s (%d images, %d masks there)", s.ImagePath, len(samples), len(have)),
				Advice: "make the mask, take the image out, or use layout csv with the masks.csv of relevit masks, which lists the masks that it kept"}
		}
		s.MaskPath = filepath.Join(masks, name)
	}
	if orphans > 0 {
		return &Error{Kind: ErrCount, Path: masks,
			Found:  fmt.Sprintf("%d masks for %d images; %d belong to no image in %s, such as %s", len(have), len(samples), orphans, images, orphan),
			Advice: "add the images, or take the masks out"}
	}
	return nil
}

// list returns the names of a folder's folders and files, sorted, without
// hidden ones, following links.
func list(path string) (folders, files []string, err error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		e := &Error{Kind: ErrMissing, Path: path, Found: "cannot be listed"}
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			e.Found = pathError.Err.Error()
		}
		return nil, nil, e
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		isFolder := entry.IsDir()
		if entry.Type()&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(path, name))
			if err != nil {
				return nil, nil, &Error{Kind: ErrMissing, Path: filepath.Join(path, name), Found: "a link to nowhere", Advice: "remove or repair it"}
			}
			isFolder = info.IsDir()
		}
		if isFolder {
			folders = append(folders, name)
		} else {
			files = append(files, name)
		}
	}
	slices.Sort(folders)
	slices.Sort(files)
	return folders, files, nil
}
