package dataset

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Classes maps folder names to a model's class indices.
type Classes struct {
	path   string
	index  map[string]int // by identifier or name; ambiguous where a name occurs twice
	titles map[int]string
}

const ambiguous = -2

// maxClass bounds class indices: lists of titles are as long as the largest.
const maxClass = 1 << 20

// ReadClasses reads a table of class index, folder name (such as a WNID) and,
// optionally, a title, separated by tabs, one class a line. Blank lines and
// lines that begin with # are passed over.
func ReadClasses(path string) (*Classes, error) {
	f, err := openTable(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseClasses(f, path)
}

func parseClasses(r io.Reader, path string) (*Classes, error) {
	c := &Classes{path: path, index: map[string]int{}, titles: map[int]string{}}
	fail := func(line int, format string, args ...any) error {
		return &Error{Kind: ErrTable, Path: path, Line: line, Found: fmt.Sprintf(format, args...),
			Advice: "a line is: class index, tab, folder name, tab, title"}
	}
	scanner := bufio.NewScanner(r)
	line := 0
	for scanner.Scan() {
		line++
		text := strings.TrimSpace(strings.TrimPrefix(scanner.Text(), "\ufeff"))
		if text == "" || text[0] == '#' {
			continue
		}
		cells := strings.Split(text, "\t")
		if len(cells) < 2 {
			return nil, fail(line, "found %d column", len(cells))
		}
		n, err := strconv.Atoi(strings.TrimSpace(cells[0]))
		if err != nil || n < 0 || n > maxClass {
			return nil, fail(line, "class index %q is no whole number from 0 to %d", cells[0], maxClass)
		}
		if _, ok := c.titles[n]; ok {
			return nil, fail(line, "class index %d occurs twice", n)
		}
		name := strings.TrimSpace(cells[1])
		if _, ok := c.index[name]; ok && c.index[name] != ambiguous || name == "" {
			return nil, fail(line, "folder name %q is empty or occurs twice", name)
		}
		c.index[name] = n
		c.titles[n] = name
		if len(cells) > 2 {
			title := strings.TrimSpace(cells[2])
			c.titles[n] = title
			// Titles, unlike folder names, may repeat: ImageNet has two cranes.
			if _, taken := c.index[title]; !taken {
				c.index[title] = n
			} else if title != name {
				c.index[title] = ambiguous
			}
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fail(line+1, "%v", err)
	}
	if len(c.titles) == 0 {
		return nil, fail(0, "no classes in it")
	}
	return c, nil
}

// Index returns the class index of a folder name, identifier or title.
func (c *Classes) Index(name string) (int, error) {
	n, ok := c.index[name]
	switch {
	case !ok:
		return 0, &Error{Kind: ErrLabel, Path: c.path, Found: fmt.Sprintf("it has no class %q among its %d", name, len(c.titles)),
			Advice: "add the class, or take its folder out"}
	case n == ambiguous:
		return 0, &Error{Kind: ErrLabel, Path: c.path, Found: fmt.Sprintf("several classes are called %q", name),
			Advice: "use the folder name of the second column"}
	}
	return n, nil
}

// Title returns the name of a class for people, or its number.
func (c *Classes) Title(index int) string {
	if t, ok := c.titles[index]; ok {
		return t
	}
	return strconv.Itoa(index)
}

// Titles lists the titles of classes 0 to the largest index.
func (c *Classes) Titles() []string {
	top := -1
	for n := range c.titles {
		top = max(top, n)
	}
	out := make([]string, top+1)
	for n := range out {
		out[n] = c.Title(n)
	}
	return out
}

// Labels says where class indices come from.
type Labels string

// The sources, named as in configurations.
const (
	LabelsAuto        Labels = "auto"         // as Set.Auto tells
	LabelsFolder      Labels = "folder"       // rank of the class's name among all, sorted
	LabelsClassesFile Labels = "classes-file" // the classes file's index of the class
	LabelsCSV         Labels = "csv"          // the number of the CSV, or of the data set itself
	LabelsImageNet    Labels = "imagenet"     // ImageNet-1k's index of the WNID or name
	LabelsTop1        Labels = "top1"         // the model's own prediction, filled in later
)

// Label sets the samples' labels, in place. classes is needed for classes-file
// alone. count, unless 0, is the number of classes that the model has.
func Label(samples []Sample, source Labels, classes *Classes, count int) error {
	ranks := map[string]int{}
	if source == LabelsFolder {
		ranks = rank(samples)
	}
	for i := range samples {
		s := &samples[i]
		if s.Class == "" && (source == LabelsFolder || source == LabelsClassesFile) {
			return &Error{Kind: ErrLabel, Path: s.ImagePath, Found: "it lies in no class folder and has no label", Advice: "use labels: top1"}
		}
		switch source {
		case LabelsFolder:
			s.Label = ranks[s.Class]
		case LabelsClassesFile:
			if classes == nil {
				return &Error{Kind: ErrLabel, Found: "labels: classes-file without a classes file", Advice: "set classes_file"}
			}
			n, err := classes.Index(s.Class)
			if err != nil {
				return fmt.Errorf("label of image %s: %w", s.ImagePath, err)
			}
			s.Label = n
		case LabelsImageNet:
			if count != 0 && count != ImageNetClasses {
				return &Error{Kind: ErrLabel, Found: fmt.Sprintf("labels imagenet need a model of %d classes, this one has %d", ImageNetClasses, count), Advice: "use labels: folder, classes-file or top1"}
			}
			n, err := ImageNet().Index(s.Class)
			if err != nil {
				return fmt.Errorf("label of image %s: %w", s.ImagePath, err)
			}
			s.Label = n
		case LabelsCSV:
			if s.Label < 0 {
				return &Error{Kind: ErrLabel, Path: s.ImagePath, Found: fmt.Sprintf("its label %q is no class index", s.Class),
					Advice: "write class indices into the column label, or use labels: classes-file or top1"}
			}
		case LabelsTop1:
			s.Label = NoLabel
		default:
			return &Error{Kind: ErrLabel, Found: fmt.Sprintf("label source %q is unknown", source), Advice: "use auto, folder, classes-file, csv, imagenet or top1"}
		}
		if count > 0 && s.Label >= count {
			return &Error{Kind: ErrLabel, Path: s.ImagePath, Found: fmt.Sprintf("class %d (%s), but the model has %d classes", s.Label, s.Class, count),
				Advice: "use a classes file that maps folders to the model's classes"}
		}
	}
	return nil
}

// rank numbers the classes in the order of their names.
func rank(samples []Sample) map[string]int {
	ranks := map[string]int{}
	for i, c := range classNames(samples) {
		ranks[c] = i
	}
	return ranks
}

func classNames(samples []Sample) []string {
	seen := map[string]bool{}
	var names []string
	for _, s := range samples {
		if !seen[s.Class] {
			seen[s.Class] = true
			names = append(names, s.Class)
		}
	}
	slices.Sort(names)
	return names
}
