package benchmark

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/memtest"
	"github.com/relevit/relevit/pipeline/benchmark/benchmarktest"
	"github.com/relevit/relevit/pipeline/dataset"
)

// written makes a data set in a folder of the given name.
func written(t *testing.T, name string, s benchmarktest.Set) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	s.Write(t, dir)
	return dir
}

// expected says what is to be read of a miniature.
type expected struct {
	layout  Layout
	samples int
	classes map[string][]int // targets by name
	among   int
	border  int
	parts   []string
	found   string // in the line about it
}

func check(t *testing.T, path string, opt Options, want expected) {
	t.Helper()
	s, err := Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]int{}
	for _, c := range s.Classes {
		got[c.Name] = c.Targets
	}
	if s.Layout != want.layout || len(s.Samples) != want.samples || fmt.Sprint(got) != fmt.Sprint(want.classes) || len(s.Among) != want.among || s.Border != want.border || !slices.Equal(s.Parts, want.parts) {
		t.Errorf("%s: %d samples, classes %v, among %d, border %d, parts %v; want %+v", s.Layout, len(s.Samples), got, len(s.Among), s.Border, s.Parts, want)
	}
	if !strings.Contains(s.Found, want.found) {
		t.Errorf("recognised as %q, without %q", s.Found, want.found)
	}
	for i, sample := range s.Samples {
		if sample.Class != s.Classes[s.ClassOf[i]].Name {
			t.Errorf("%s belongs to %q and to %q", sample.ID, sample.Class, s.Classes[s.ClassOf[i]].Name)
		}
		if !isFile(sample.ImagePath) {
			t.Errorf("%s is no file", sample.ImagePath)
		}
	}
}

// both reads a miniature by its stated layout and by the one that is told.
func both(t *testing.T, path string, want expected) {
	t.Helper()
	check(t, path, Options{Layout: want.layout}, want)
	check(t, path, Options{Layout: Auto, Classes: 1000}, want)
}

func TestEveryLayoutIsReadAndRecognised(t *testing.T) {
	t.Run("imagenet", func(t *testing.T) {
		want := expected{layout: ImageNet, samples: 12, classes: map[string][]int{"n01440764": {0}, "n01751748": {65}, "n15075141": {999}}, found: "ImageNet-1k (imagenet): 12 pictures of 3 classes"}
		dir := written(t, "val", benchmarktest.ImageNet())
		both(t, dir, want)
		both(t, filepath.Dir(dir), want)
	})
	t.Run("imagenetv2", func(t *testing.T) {
		both(t, written(t, "v2", benchmarktest.ImageNetV2()), expected{layout: ImageNetV2, samples: 12, classes: map[string][]int{"0": {0}, "2": {2}, "10": {10}, "999": {999}}})
	})
	t.Run("imagenet-a", func(t *testing.T) {
		both(t, written(t, "imagenet-a", benchmarktest.ImageNetA()), expected{layout: ImageNetA, samples: 12, classes: map[string][]int{"n01498041": {6}, "n01531178": {11}, "n12267677": {988}}, among: 200})
	})
	t.Run("imagenet-r", func(t *testing.T) {
		both(t, written(t, "imagenet_r", benchmarktest.ImageNetR()), expected{layout: ImageNetR, samples: 12, classes: map[string][]int{"n01443537": {1}, "n01484850": {2}, "n09472597": {980}}, among: 200})
	})
	t.Run("sketch", func(t *testing.T) {
		both(t, written(t, "val", benchmarktest.ImageNetSketch()), expected{layout: ImageNetSketch, samples: 12, classes: map[string][]int{"n01440764": {0}, "n01443537": {1}, "n04606251": {913}}})
	})
	t.Run("objectnet", func(t *testing.T) {
		want := expected{layout: ObjectNet, samples: 8, classes: map[string][]int{"alarm_clock": {409, 530}, "chair": {423, 559, 765}}, border: 2, found: "1 folder without ImageNet classes left out"}
		dir := written(t, "objectnet-1.0", benchmarktest.ObjectNet())
		both(t, dir, want)
		both(t, filepath.Join(dir, "images"), want)
	})
	t.Run("si-score", func(t *testing.T) {
		dir := written(t, "si", benchmarktest.SIScore())
		classes := map[string][]int{"ambulance": {407}, "hot dog": {934}}
		both(t, dir, expected{layout: SIScore, samples: 12, classes: classes, parts: []string{"area", "location", "rotation"}})
		both(t, filepath.Join(dir, "rotation"), expected{layout: SIScore, samples: 4, classes: classes, parts: []string{"rotation"}})
	})
	for name, text := range benchmarktest.FlatTruths() {
		t.Run("flat/"+name, func(t *testing.T) {
			want := expected{layout: ImageNetFlat, samples: 6, found: name,
				classes: map[string][]int{"n01751748": {65}, "n09193705": {970}, "n02105855": {230}, "n04263257": {809}, "n03125729": {516}, "n01735189": {57}}}
			set := benchmarktest.ImageNetFlat()
			set.Texts = map[string]string{name: text}
			both(t, written(t, "flat", set), want)
			// beside the folder of pictures, and where the development kit has it
			dir := written(t, "val", benchmarktest.ImageNetFlat())
			benchmarktest.Set{Texts: set.Texts}.Write(t, filepath.Join(dir, "..", "ILSVRC2012_devkit_t12", "data"))
			both(t, dir, want)
			both(t, filepath.Dir(dir), want)
			// where it is stated
			dir = written(t, "pictures", benchmarktest.ImageNetFlat())
			other := benchmarktest.Set{Texts: map[string]string{"labels": text}}
			other.Write(t, filepath.Join(dir, "elsewhere"))
			want.found = "elsewhere"
			check(t, dir, Options{Layout: ImageNetFlat, GroundTruth: filepath.Join(dir, "elsewhere", "labels")}, want)
		})
	}
}

func TestPlainFoldersAndTables(t *testing.T) {
	plain := map[string][]int{"cat": nil, "dog": nil}
	set := benchmarktest.Set{Pictures: []benchmarktest.Picture{{Path: "cat/a.png"}, {Path: "dog/b.png"}, {Path: "dog/c.png"}}}
	dir := written(t, "pets", set)
	for _, classes := range []int{2, 1000} {
		check(t, dir, Options{Classes: classes}, expected{layout: Folders, samples: 3, classes: plain})
	}
	set.Texts = map[string]string{"list.csv": "image,label\ncat/a.png,cat\ndog/b.png,dog\n"}
	set.Write(t, dir)
	want := expected{layout: CSV, samples: 2, classes: plain}
	check(t, filepath.Join(dir, "list.csv"), Options{}, want)
	check(t, dir, Options{Layout: CSV}, want)
	check(t, dir, Options{}, expected{layout: Folders, samples: 3, classes: plain})
}

func TestFoldersOfAModelOfOtherClassesAreNotImageNets(t *testing.T) {
	for name, set := range map[string]benchmarktest.Set{"imagenet": benchmarktest.ImageNet(), "imagenetv2": benchmarktest.ImageNetV2(), "imagenet-a": benchmarktest.ImageNetA()} {
		s, err := Open(written(t, name, set), Options{Classes: 4})
		if err != nil || s.Layout != Folders || s.Classed != 0 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func TestAllTwoHundredClassesAreRecognisedByThemselves(t *testing.T) {
	for layout, classes := range map[Layout][]int{ImageNetA: known().a, ImageNetR: known().r} {
		var set benchmarktest.Set
		for _, c := range classes {
			set.Pictures = append(set.Pictures, benchmarktest.Picture{Path: known().wnids[c] + "/0.jpg"})
		}
		s, err := Open(written(t, "data", set), Options{Classes: 1000})
		if err != nil || s.Layout != layout || !slices.Equal(s.Among, classes) {
			t.Errorf("%s: %+v, %v", layout, s, err)
		}
	}
}

func TestWrongLayoutsSayWhatWasExpectedAndWhatWasFound(t *testing.T) {
	pets := benchmarktest.Set{Pictures: []benchmarktest.Picture{{Path: "cat/a.png"}, {Path: "dog/b.png"}}, Texts: map[string]string{"README": "x"}}
	const found = "2 folders (cat, dog), 1 other file (README)"
	for _, f := range forms {
		if f.layout == Folders {
			continue
		}
		_, err := Open(written(t, "pets", pets), Options{Layout: f.layout})
		fails(t, err, ErrLayout, "layout "+string(f.layout), "expected "+f.expected, found)
	}
	_, err := Open(written(t, "loose", benchmarktest.Set{Pictures: []benchmarktest.Picture{{Path: "a.png"}}}), Options{})
	fails(t, err, ErrLayout, "no layout is recognised", "1 picture (a.png)", "imagenetv2 (folders named by class index")
	_, err = Open(written(t, "none", benchmarktest.Set{Texts: map[string]string{"cat/x": ""}}), Options{Layout: Folders})
	fails(t, err, ErrLayout, "1 folder (cat)")
	_, err = Open(filepath.Join(t.TempDir(), "absent"), Options{})
	fails(t, err, dataset.ErrMissing, "absent")
	_, err = Open(t.TempDir(), Options{Layout: "coco"})
	if err == nil || !strings.Contains(err.Error(), "objectnet") {
		t.Errorf("%v", err)
	}
	// a class that is of ImageNet-1k, but not of ImageNet-A
	_, err = Open(written(t, "a", benchmarktest.ImageNet()), Options{Layout: ImageNetA})
	fails(t, err, ErrLayout, "folder n01440764 is none of its classes", "200 classes")
}

func TestBrokenGroundTruthNamesTheLine(t *testing.T) {
	for text, part := range map[string]string{
		"1\n1001\n":      ":2:.*1001",
		"0\n":            ":1:.*ILSVRC2012_ID from 1 to 1000",
		"n00000001\n":    ":1:.*no WNID",
		"a.JPEG 1000\n":  ":1:.*no class index from 0 to 999",
		"a 1\na 2\n":     ":2:.*has a label already",
		"a 1\n7\n":       ":2:.*another form",
		"7\na 1\n":       ":2:.*another form",
		"\n":             "no labels",
		"1\n2\n":         "no label for ILSVRC2012_val_00000003.JPEG among its 2",
		"other.JPEG 5\n": "no label for ILSVRC2012_val_00000001.JPEG",
	} {
		set := benchmarktest.ImageNetFlat()
		set.Texts = map[string]string{"val.txt": text}
		_, err := Open(written(t, "flat", set), Options{})
		fails(t, err, nil, append([]string{"val.txt"}, strings.Split(part, ".*")...)...)
	}
	_, err := Open(written(t, "flat", benchmarktest.ImageNetFlat()), Options{})
	fails(t, err, ErrLayout, "no file of labels", "LOC_val_solution.csv", "--ground-truth")
}

func TestBrokenObjectNetMappingsNameTheFile(t *testing.T) {
	for file, text := range map[string]string{folderLabels: "[]", labelSynonyms: `{"Chair": "stool"}`, imagenetLines: `{"1000": 0}`, imagenetLabels: "one\n"} {
		set := benchmarktest.ObjectNet()
		set.Texts["mappings/"+file] = text
		_, err := Open(written(t, "o", set), Options{})
		fails(t, err, nil, file)
		delete(set.Texts, "mappings/"+file)
		_, err = Open(written(t, "o", set), Options{Layout: ObjectNet})
		fails(t, err, ErrLayout, file+" is missing")
	}
}

// fails checks the kind, unless nil, and parts of a data set's error.
func fails(t *testing.T, err, kind error, parts ...string) {
	t.Helper()
	e := (*dataset.Error)(nil)
	if !errors.As(err, &e) || e.ExitCode() != 3 || kind != nil && !errors.Is(err, kind) {
		t.Errorf("%v is no %v", err, kind)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%v: it lacks %q", err, p)
		}
	}
}

func TestLimitKeepsTheFirstOfEachClassAndPart(t *testing.T) {
	s, err := Open(written(t, "si", benchmarktest.SIScore()), Options{Layout: SIScore})
	if err != nil {
		t.Fatal(err)
	}
	s.Limit(1)
	if len(s.Samples) != 6 || len(s.ClassOf) != 6 || len(s.PartOf) != 6 {
		t.Fatalf("%d samples, %d, %d", len(s.Samples), len(s.ClassOf), len(s.PartOf))
	}
	for i, sample := range s.Samples {
		if filepath.Base(sample.ImagePath) != "0.jpg" || !strings.Contains(sample.ID, "/"+s.Classes[s.ClassOf[i]].Name+"/") || !strings.HasPrefix(sample.ID, s.Parts[s.PartOf[i]]) {
			t.Errorf("%+v is of %s and %s", sample, s.Classes[s.ClassOf[i]].Name, s.Parts[s.PartOf[i]])
		}
	}
}

// TestListsAreSound checks the embedded lists against each other; that of
// ILSVRC2012_IDs also by what is published of the first validation pictures
// (TestEveryLayoutIsReadAndRecognised).
func TestListsAreSound(t *testing.T) {
	k := known()
	if len(k.wnids) != 1000 || !slices.IsSorted(k.wnids) || len(k.index) != 1000 || len(k.a) != 200 || len(k.r) != 200 || len(k.siScore) != 112 {
		t.Errorf("%d WNIDs, %d different, %d, %d, %d", len(k.wnids), len(k.index), len(k.a), len(k.r), len(k.siScore))
	}
	for i, id := range k.wnids {
		if k.index[id] != i || !isWNID(id) {
			t.Errorf("class %d is %s", i, id)
		}
	}
	ids := slices.Clone(k.official)
	slices.Sort(ids)
	for i, class := range ids {
		if i != class {
			t.Fatalf("the ILSVRC2012_IDs are no permutation at %d", i)
		}
	}
	for name, list := range map[string][]int{"imagenet-a": k.a, "imagenet-r": k.r} {
		for i, cells := range rows(name) {
			if k.index[cells[1]] != list[i] || i > 0 && list[i] <= list[i-1] {
				t.Errorf("%s: %v", name, cells)
			}
		}
	}
	files, err := filepath.Glob("lists/*.tsv")
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if data, err := os.ReadFile(file); err != nil || !strings.Contains(string(data), "\n# Source: ") {
			t.Errorf("%s doesn't say its source (%v)", file, err)
		}
	}
}

func FuzzGroundTruth(f *testing.F) {
	for _, text := range benchmarktest.FlatTruths() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var labels *truth
		var err error
		memtest.Within(t, len(text), 64, 1<<20, func() { labels, err = parseTruth(strings.NewReader(text), "labels.txt") })
		if err == nil && labels.len() == 0 {
			t.Fatal("neither labels nor an error")
		}
		if err != nil {
			return
		}
		for _, picture := range []string{"ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_99999999.jpg"} {
			if class, ok := labels.of(picture); ok && (class < 0 || class > 999) {
				t.Fatalf("class %d", class)
			}
		}
	})
}

// FuzzMapping reads ObjectNet's mapping files that somebody else wrote.
func FuzzMapping(f *testing.F) {
	f.Add(`{"chair":"folding chair"}`, `{"folding chair":"folding chair; rocking chair"}`, `{"0":0,"1":1}`, "folding chair\nrocking chair\n")
	f.Add(`null`, `{"a":"; ; "}`, `{"1e3":-1}`, "")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, labels, synonyms, lines, names string) {
		size := 0
		for name, text := range map[string]string{folderLabels: labels, labelSynonyms: synonyms, imagenetLines: lines, imagenetLabels: names} {
			size += len(text)
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		var targets map[string][]int
		var err error
		memtest.Within(t, size, 128, 1<<20, func() { targets, _, err = (&reader{}).objectNetTargets(dir) })
		if err != nil {
			return
		}
		for folder, classes := range targets {
			for _, c := range classes {
				if c < 0 || c > 999 {
					t.Errorf("%q stands for class %d", folder, c)
				}
			}
		}
	})
}
