package dataset

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// breeds is how many classes the Oxford-IIIT Pets have.
const breeds = 37

// pets lists the Oxford-IIIT Pets that a list of theirs names. A picture's
// class is what its name says, its number that of the list.
func (s *Source) pets() (*Set, error) {
	images, masks := s.at(cmp.Or(s.Images, "images")), s.at(cmp.Or(s.Masks, "annotations/trimaps"))
	names := s.at(cmp.Or(s.List, "annotations/trainval.txt"))
	for _, folder := range []string{images, masks} {
		if err := s.need(folder, true); err != nil {
			return nil, err
		}
	}
	if err := s.need(names, false); err != nil {
		return nil, err
	}
	rows, err := readNames(names, 3) // class, species, breed within the species
	if err != nil {
		return nil, err
	}
	set := &Set{Numbered: breeds}
	numbers := map[string]int{}
	for _, row := range rows {
		name := row[0]
		at := strings.LastIndexByte(name, '_')
		n, err := strconv.Atoi(row[1])
		if err != nil || n < 1 || n > breeds || at < 1 {
			return nil, &Error{Kind: ErrTable, Path: names, Found: fmt.Sprintf("found %q, expected BREED_NUMBER and a class from 1 to %d", strings.Join(row, " "), breeds)}
		}
		breed := name[:at]
		if other, ok := numbers[breed]; ok && other != n {
			return nil, &Error{Kind: ErrTable, Path: names, Found: fmt.Sprintf("%s is class %d and class %d", breed, other, n)}
		}
		numbers[breed] = n
		mask := filepath.Join(masks, name+maskExtension)
		if _, err := os.Stat(mask); err != nil {
			return nil, &Error{Kind: ErrMissing, Path: mask, Found: "no such trimap, but " + names + " names it", Advice: "take the name out of the list"}
		}
		image, err := find(images, name, mask)
		if err != nil {
			return nil, err
		}
		set.Samples = append(set.Samples, Sample{ID: name, ImagePath: image, MaskPath: mask, Class: breed, Label: n - 1})
	}
	slices.SortFunc(set.Samples, func(a, b Sample) int { return cmp.Compare(a.ID, b.ID) })
	return set, nil
}
