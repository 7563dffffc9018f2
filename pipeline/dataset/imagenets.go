package dataset

import (
	"cmp"
	_ "embed" // the lists
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ImageNetList is the table of ImageNet-1k: class index, WNID, name.
//
//go:embed lists/imagenet.tsv
var ImageNetList string

//go:embed lists/imagenet-s-merged.tsv
var mergedList string

// ImageNet maps WNIDs and names to the class indices of ImageNet-1k.
var ImageNet = sync.OnceValue(func() *Classes {
	c, err := parseClasses(strings.NewReader(ImageNetList), "ImageNet-1k")
	if err != nil {
		panic(err) // the list is part of the program
	}
	return c
})

// ImageNetClasses is how many classes ImageNet-1k has.
const ImageNetClasses = 1000

// merged holds the WNIDs that ImageNet-S merges, and those into which it does.
var merged = sync.OnceValue(func() map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(mergedList) {
		if line[0] != '#' {
			for _, wnid := range strings.Fields(line) {
				out[wnid] = true
			}
		}
	}
	return out
})

// imageNetS lists the masks of ImageNet-S with their images, which may lie in
// train-semi or, as the published finetuning reads them, in ImageNet's own
// training folder: images without a mask are passed over, and so are the
// merged classes, whose pictures don't tell which of two indices is right.
func (s *Source) imageNetS() ([]Sample, error) {
	images := s.at(cmp.Or(s.Images, "train-semi"))
	masks := s.at(s.Masks)
	if masks == "" {
		masks = filepath.Clean(images) + "-segmentation"
	}
	for _, folder := range []string{images, masks} {
		if err := s.need(folder, true); err != nil {
			return nil, err
		}
	}
	classes, _, err := list(masks)
	if err != nil {
		return nil, err
	}
	var samples []Sample
	for _, wnid := range classes {
		if merged()[wnid] {
			continue
		}
		if _, err := ImageNet().Index(wnid); err != nil {
			return nil, &Error{Kind: ErrLayout, Path: filepath.Join(masks, wnid), Found: "a folder whose name is no WNID of ImageNet-1k; layout imagenet-s expects " +
				expected[LayoutImageNetS], Advice: "class folders of other names have layout folders"}
		}
		_, files, err := list(filepath.Join(masks, wnid))
		if err != nil {
			return nil, err
		}
		for _, mask := range files {
			if strings.ToLower(filepath.Ext(mask)) != maskExtension {
				continue
			}
			path := filepath.Join(masks, wnid, mask)
			image, err := find(filepath.Join(images, wnid), strings.TrimSuffix(mask, filepath.Ext(mask)), path)
			if err != nil {
				return nil, err
			}
			samples = append(samples, Sample{ID: wnid + "/" + filepath.Base(image), ImagePath: image, MaskPath: path, Class: wnid, Label: NoLabel})
		}
	}
	if len(samples) == 0 {
		return nil, &Error{Kind: ErrEmpty, Path: masks, Found: "no masks in it; layout imagenet-s expects " + expected[LayoutImageNetS] +
			", and there is " + contents(masks)}
	}
	return samples, nil
}

// extensions are those that pictures of the field's data sets have, the most
// frequent first: asking for each is quicker than listing a thousand files.
var extensions = slices.Concat([]string{".jpg", ".JPEG"}, imageExtensions)

// find looks for the image of a name in a folder, with any extension. mask is
// what it belongs to.
func find(folder, name, mask string) (string, error) {
	for _, extension := range extensions {
		path := filepath.Join(folder, name+extension)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", &Error{Kind: ErrMissing, Path: filepath.Join(folder, name+".jpg"), Found: "no such image for mask " + mask,
		Advice: "add the image, or take the mask out"}
}
