package benchmark

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/relevit/relevit/pipeline/dataset"
)

// groundTruths are the files in which the labels of ImageNet's validation
// pictures are published.
var groundTruths = []string{
	"ILSVRC2012_validation_ground_truth.txt",     // of the development kit: a line for each picture, its ILSVRC2012_ID
	"val.txt",                                    // of Caffe: picture, class index
	"LOC_val_solution.csv",                       // of Kaggle: picture, WNID and boxes
	"imagenet_2012_validation_synset_labels.txt", // of TensorFlow: a line for each picture, its WNID
}

// maxLabels bounds the lines of such a file; the published have 50000.
const maxLabels = 1 << 20

// validationPicture matches the names of ImageNet's validation pictures.
var validationPicture = regexp.MustCompile(`(?i)^ILSVRC2012_val_0*([0-9]{1,8})\.jpe?g$`)

// flat lists ImageNet's validation pictures in one folder.
func (r *reader) flat() error {
	r.set.Classed = imagenetClasses
	root := r.path
	names, err := r.flatPictures()
	if err != nil {
		return err
	}
	file, err := r.findTruth(root)
	if err != nil {
		return err
	}
	truth, err := readTruth(file)
	if err != nil {
		return err
	}
	for _, name := range names {
		class, ok := truth.of(name)
		if !ok {
			return &dataset.Error{Kind: dataset.ErrLabel, Path: file, Found: fmt.Sprintf("it has no label for %s among its %d", name, truth.len()),
				Advice: "state the file that belongs to the pictures by --ground-truth"}
		}
		r.addPicture(name, imagenetClass(class))
	}
	r.byTarget()
	r.note = "labels by " + file
	return nil
}

// flatPictures finds the folder of the pictures, and lists them.
func (r *reader) flatPictures() ([]string, error) {
	for _, below := range []string{".", "val", "ILSVRC/Data/CLS-LOC/val", "Data/CLS-LOC/val"} {
		folder := filepath.Join(r.path, filepath.FromSlash(below))
		_, files, err := contents(folder)
		if err != nil && below == "." {
			return nil, err
		}
		names := slices.DeleteFunc(files, func(name string) bool { return !validationPicture.MatchString(name) })
		if len(names) > 0 {
			r.path = folder
			return names, nil
		}
	}
	return nil, r.wrong(r.path)
}

// findTruth finds the file of labels: the one that was stated, or one beside
// the pictures or above them.
func (r *reader) findTruth(root string) (string, error) {
	if r.truth != "" {
		return r.truth, nil
	}
	for _, folder := range []string{r.path, root, filepath.Dir(filepath.Clean(root))} {
		for _, below := range []string{".", "ILSVRC2012_devkit_t12/data", "data"} {
			for _, name := range groundTruths {
				if file := filepath.Join(folder, filepath.FromSlash(below), name); isFile(file) {
					return file, nil
				}
			}
		}
	}
	e := r.wrong(r.path).(*dataset.Error)
	e.Found = "there is no file of labels, so " + e.Found
	e.Advice = "state the file by --ground-truth"
	return "", e
}

// truth are class indices by the pictures' names, without suffix, or by their
// numbers.
type truth struct {
	byName   map[string]int
	byNumber []int // from number 1
}

func (t *truth) len() int { return len(t.byName) + len(t.byNumber) }

func (t *truth) of(picture string) (class int, ok bool) {
	if t.byName != nil {
		class, ok = t.byName[stem(picture)]
		return class, ok
	}
	n, err := strconv.Atoi(validationPicture.FindStringSubmatch(picture)[1])
	if err != nil || n < 1 || n > len(t.byNumber) {
		return 0, false
	}
	return t.byNumber[n-1], true
}

func stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// readTruth reads any of groundTruths. Which, the lines tell.
func readTruth(file string) (*truth, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, &dataset.Error{Kind: dataset.ErrMissing, Path: file, Found: "cannot be opened"}
	}
	defer f.Close()
	return parseTruth(f, file)
}

func parseTruth(r io.Reader, file string) (*truth, error) {
	t := &truth{}
	scanner := bufio.NewScanner(r)
	for line := 1; scanner.Scan(); line++ {
		text := strings.TrimSpace(strings.TrimPrefix(scanner.Text(), "\ufeff"))
		if text == "" || line == 1 && strings.HasPrefix(strings.ToLower(text), "imageid,") {
			continue
		}
		err := t.add(text)
		if t.len() > maxLabels {
			err = fmt.Errorf("more than %d labels", maxLabels)
		}
		if err != nil {
			return nil, &dataset.Error{Kind: dataset.ErrTable, Path: file, Line: line, Found: err.Error(),
				Advice: "a line is: ILSVRC2012_ID or WNID, picture and class index or WNID, or picture,WNID"}
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, &dataset.Error{Kind: dataset.ErrTable, Path: file, Found: err.Error()}
	}
	if t.len() == 0 {
		return nil, &dataset.Error{Kind: dataset.ErrTable, Path: file, Found: "no labels in it"}
	}
	return t, nil
}

// add reads a line.
func (t *truth) add(text string) error {
	name, label, named := strings.Cut(text, ",")
	cells := strings.Fields(text)
	if named {
		cells = append([]string{name}, strings.Fields(label)...)
	}
	switch {
	case len(cells) > 1 && t.byNumber == nil:
		class, ok := classNumber(cells[1])
		if !ok {
			class, ok = known().index[cells[1]]
		}
		if !ok {
			return fmt.Errorf("label %q is no class index from 0 to 999 and no WNID of ImageNet-1k", cells[1])
		}
		if t.byName == nil {
			t.byName = map[string]int{}
		}
		key := stem(path.Base(cells[0]))
		if _, again := t.byName[key]; again {
			return fmt.Errorf("picture %s has a label already", key)
		}
		t.byName[key] = class
	case len(cells) == 1 && t.byName == nil:
		class, ok := known().index[cells[0]]
		if n, err := strconv.Atoi(cells[0]); err == nil && n >= 1 && n <= imagenetClasses {
			class, ok = known().official[n-1], true
		}
		if !ok {
			return fmt.Errorf("label %q is no ILSVRC2012_ID from 1 to 1000 and no WNID of ImageNet-1k", cells[0])
		}
		t.byNumber = append(t.byNumber, class)
	default:
		return fmt.Errorf("the line has another form than those above it")
	}
	return nil
}
