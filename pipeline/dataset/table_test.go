package dataset

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/memtest"
)

func TestCSVIsReadRelativeToItsFolderAndSorted(t *testing.T) {
	images, _ := made(t, 3, 1)
	dir := filepath.Dir(images)
	path := write(t, dir, "list.csv", []byte("\ufeffLabel, image ,mask,comment\n"+
		"7,images/class01/img00.jpg,masks/class01/img00.png,x\n"+
		"tabby,images/class00/img00.jpg,,\n"+
		"-1,images/class02/img00.jpg,,\n"))
	samples, err := CSV(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Sample{
		{ID: "images/class00/img00.jpg", ImagePath: filepath.Join(images, "class00", "img00.jpg"), Label: NoLabel, Class: "tabby"},
		{ID: "images/class01/img00.jpg", ImagePath: filepath.Join(images, "class01", "img00.jpg"),
			MaskPath: filepath.Join(dir, "masks", "class01", "img00.png"), Label: 7, Class: "7"},
		{ID: "images/class02/img00.jpg", ImagePath: filepath.Join(images, "class02", "img00.jpg"), Label: NoLabel, Class: "-1"},
	}
	for i, w := range want {
		if samples[i] != w {
			t.Errorf("%+v, want %+v", samples[i], w)
		}
	}
}

func TestBrokenTablesNameTheLine(t *testing.T) {
	for _, c := range []struct {
		name, text string
		kind       error
		parts      []string
	}{
		{"empty file", "", ErrTable, []string{":1:", "header"}},
		{"no image column", "img,mask\na,b\n", ErrTable, []string{":1:", "no column image", "img,mask"}},
		{"two image columns", "image,image\na,b\n", ErrTable, []string{":1:", "twice"}},
		{"ragged", "image,mask\na.jpg,b.png\nc.jpg\n", ErrTable, []string{":3:", "wrong number of fields"}},
		{"quote", "image\n\"a\n", ErrTable, []string{":2:"}},
		{"empty image", "image,label\n,3\n", ErrTable, []string{":2:", "empty"}},
		{"repeated image", "image\na.jpg\nb.jpg\na.jpg\n", ErrTable, []string{":4:", "line 2"}},
		{"negative label", "image,label\na.jpg,-2\n", ErrTable, []string{":2:", "negative"}},
		{"no rows", "image\n", ErrEmpty, []string{"no rows"}},
		{"absent image", "image\nnone.jpg\n", ErrMissing, []string{":2:", "none.jpg", "relative"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, t.TempDir(), "t.csv", []byte(c.text))
			_, err := CSV(path)
			fails(t, err, c.kind, append(c.parts, path)...)
		})
	}
	_, err := CSV(filepath.Join(t.TempDir(), "absent.csv"))
	fails(t, err, ErrMissing, "absent.csv")
}

const classesText = "# index, folder, name\n0\tn01\ttench\n2\tn02\tcrane\n\n5\tn03\tcrane\n1\tfox\n3\tn04\tfox\n4\tcat\tcat\n"

func TestClassesAreFoundByFolderNameOrTitle(t *testing.T) {
	path := write(t, t.TempDir(), "classes.tsv", []byte(classesText))
	c, err := ReadClasses(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"n01": 0, "tench": 0, "n02": 2, "n03": 5, "cat": 4} {
		if got, err := c.Index(name); err != nil || got != want {
			t.Errorf("%s: %d (%v), want %d", name, got, err, want)
		}
	}
	_, err = c.Index("crane")
	fails(t, err, ErrLabel, path, "several classes", "second column")
	_, err = c.Index("dog")
	fails(t, err, ErrLabel, path, `"dog"`, "among its 6")
	if got := strings.Join(c.Titles(), " "); got != "tench fox crane fox cat crane" {
		t.Errorf("titles %s", got)
	}
}

func TestBrokenClassesFilesNameTheLine(t *testing.T) {
	for text, part := range map[string]string{
		"0\ta\n1\n":    ":2:",
		"x\ta\n":       `"x"`,
		"-1\ta\n":      `"-1"`,
		"0\ta\n0\tb\n": "twice",
		"0\ta\n1\ta\n": "twice",
		"# nothing\n":  "no classes",
	} {
		_, err := ReadClasses(write(t, t.TempDir(), "c.tsv", []byte(text)))
		fails(t, err, ErrTable, part, "c.tsv")
	}
}

func TestSharedImageNetClassesFile(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "data")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no reference data at %s", path)
	}
	c, err := ReadClasses(filepath.Join(path, "imagenet-classes.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	samples, err := Tree(filepath.Join(path, "imagenet-samples"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := Label(samples, LabelsClassesFile, c, 1000); err != nil {
		t.Fatal(err)
	}
	if len(samples) != 500 {
		t.Fatalf("%d samples", len(samples))
	}
	for i, s := range samples {
		if s.Label != 2*i {
			t.Fatalf("sample %d (%s) has label %d; one image of each even class is expected", i, s.ID, s.Label)
		}
	}
}

func TestLabelSources(t *testing.T) {
	three := func() []Sample {
		return []Sample{{Class: "b", Label: NoLabel}, {Class: "a", Label: 9}, {Class: "b", Label: 3}}
	}
	classes, err := parseClasses(strings.NewReader("4\ta\n8\tb\n"), "c.tsv")
	if err != nil {
		t.Fatal(err)
	}
	check := func(source Labels, want [3]int) {
		t.Helper()
		s := three()
		if err := Label(s, source, classes, 10); err != nil {
			t.Fatal(err)
		}
		if got := [3]int{s[0].Label, s[1].Label, s[2].Label}; got != want {
			t.Errorf("%s: %v, want %v", source, got, want)
		}
	}
	check(LabelsFolder, [3]int{1, 0, 1})
	check(LabelsClassesFile, [3]int{8, 4, 8})
	check(LabelsTop1, [3]int{-1, -1, -1})
	fails(t, Label(three(), LabelsCSV, nil, 10), ErrLabel, `"b"`, "column label")
	fails(t, Label(three(), LabelsClassesFile, classes, 8), ErrLabel, "class 8", "8 classes")
	fails(t, Label([]Sample{{ImagePath: "x.jpg", Class: "dog"}}, LabelsClassesFile, classes, 0), ErrLabel, "c.tsv", "x.jpg", "dog")
	for _, source := range []Labels{LabelsFolder, LabelsClassesFile} {
		fails(t, Label([]Sample{{ImagePath: "x.jpg"}}, source, classes, 0), ErrLabel, "x.jpg", "top1")
	}
	fails(t, Label(three(), "guess", nil, 0), ErrLabel, "guess")
}

func FuzzCSV(f *testing.F) {
	f.Add("image,mask,label\na.jpg,b.png,3\n")
	f.Add("\ufefflabel,image\n\"x\",\"y\n")
	f.Add("image\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		var samples []row
		var err error
		memtest.Within(t, len(text), 128, 1<<20, func() { samples, err = parseCSV(strings.NewReader(text), "dir/t.csv") })
		if err == nil && len(samples) == 0 {
			t.Fatal("neither samples nor an error")
		}
		for _, s := range samples {
			if s.ID == "" || s.line < 2 || s.Label < NoLabel {
				t.Fatalf("%+v", s)
			}
		}
	})
}

func FuzzClasses(f *testing.F) {
	f.Add(classesText)
	f.Add("1000000000\tx\n")
	f.Fuzz(func(t *testing.T, text string) {
		var c *Classes
		var err error
		memtest.Within(t, len(text), 64, 1<<20, func() { c, err = parseClasses(strings.NewReader(text), "c.tsv") })
		if err == nil && len(c.titles) == 0 {
			t.Fatal("neither classes nor an error")
		}
		if err == nil {
			c.Titles()
		}
	})
}
