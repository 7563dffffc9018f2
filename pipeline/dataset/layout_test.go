package dataset

import (
	"image"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/memtest"
	"github.com/relevit/relevit/pipeline/dataset/datasettest"
	"github.com/relevit/relevit/pipeline/picture"
)

// miniatures are the data sets of datasettest, with what is expected of them.
var miniatures = []struct {
	source   Source
	write    func(testing.TB, string)
	numbered int
	want     []string // ID, class, label, foreground pixels of the mask
}{
	{Source{Layout: LayoutImageNetS}, datasettest.ImageNetS, 0, []string{
		"n01443537/n01443537_100.JPEG n01443537 -1 256", "n01443537/n01443537_101.JPEG n01443537 -1 256", "n01443537/n01443537_102.JPEG n01443537 -1 256",
		"n02106662/n02106662_100.JPEG n02106662 -1 256", "n02106662/n02106662_101.JPEG n02106662 -1 256", "n02106662/n02106662_102.JPEG n02106662 -1 256",
		"n13133613/n13133613_100.JPEG n13133613 -1 256", "n13133613/n13133613_101.JPEG n13133613 -1 256", "n13133613/n13133613_102.JPEG n13133613 -1 256"}},
	{Source{Layout: LayoutPets}, datasettest.Pets, 37, []string{
		"Abyssinian_1 Abyssinian 0 324", "Abyssinian_11 Abyssinian 0 324", "Bombay_1 Bombay 7 324", "Bombay_11 Bombay 7 324",
		"american_pit_bull_terrier_1 american_pit_bull_terrier 2 324", "american_pit_bull_terrier_11 american_pit_bull_terrier 2 324",
		"yorkshire_terrier_1 yorkshire_terrier 36 324", "yorkshire_terrier_11 yorkshire_terrier 36 324"}},
	{Source{Layout: LayoutPets, List: "annotations/test.txt"}, datasettest.Pets, 37, []string{
		"Abyssinian_21 Abyssinian 0 324", "Bombay_21 Bombay 7 324", "american_pit_bull_terrier_21 american_pit_bull_terrier 2 324", "yorkshire_terrier_21 yorkshire_terrier 36 324"}},
	{Source{Layout: LayoutVOC}, datasettest.VOC, 20, []string{
		"2007_000005 tvmonitor 19 256", "2007_000006 person 14 256", "2007_000007 cat 7 256", "2007_000008 aeroplane 0 256",
		"2007_000009 tvmonitor 19 256", "2007_000010 person 14 256", "2007_000011 cat 7 256", "2007_000012 aeroplane 0 256"}},
	{Source{Layout: LayoutVOC, List: "ImageSets/Segmentation/val.txt"}, datasettest.VOC, 20, []string{
		"2007_000001 tvmonitor 19 256", "2007_000002 person 14 256", "2007_000003 cat 7 256", "2007_000004 aeroplane 0 256"}},
	{Source{Layout: LayoutCOCO}, datasettest.COCO, 3, []string{
		"000000000490.jpg person 0 256", "000000000491.jpg toothbrush 2 256", "000000000492.jpg dog 1 256", "000000000493.jpg person 0 256",
		"000000000494.jpg toothbrush 2 256", "000000000495.jpg dog 1 256", "000000000496.jpg person 0 256", "000000000497.jpg toothbrush 2 256",
		"000000000498.jpg dog 1 256", "000000000499.jpg person 0 256", "000000000500.jpg toothbrush 2 256"}},
}

// read loads a sample's mask, drawn or from its file.
func read(t testing.TB, set *Set, s *Sample) *picture.Gray {
	t.Helper()
	if set.Draw == nil {
		m, err := picture.ReadMask(s.MaskPath, picture.MaskOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m, err := set.Draw(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEachLayoutHasItsPicturesClassesAndMasks(t *testing.T) {
	for _, c := range miniatures {
		t.Run(string(c.source.Layout)+c.source.List, func(t *testing.T) {
			c.source.Root = t.TempDir()
			c.write(t, c.source.Root)
			set, err := Open(c.source)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range set.Samples {
				m, area := read(t, set, &s), 0
				for i, v := range m.Pix {
					if v == 1 {
						area++
					}
					if image.Pt(i%m.W, i/m.W).In(datasettest.Object) != (v == 1) && c.source.Layout != LayoutPets {
						t.Fatalf("%s: mask is %v at column %d, row %d", s.ID, v, i%m.W, i/m.W)
					}
				}
				got = append(got, strings.Join([]string{s.ID, s.Class, strconv.Itoa(s.Label), strconv.Itoa(area)}, " "))
				if _, err := os.Stat(s.ImagePath); err != nil {
					t.Error(err)
				}
			}
			if !reflect.DeepEqual(got, c.want) || set.Numbered != c.numbered {
				t.Errorf("%d numbered classes, samples\n%s\nwant\n%s", set.Numbered, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestImageNetSIsReadFromImageNetsOwnFolderToo(t *testing.T) {
	root := t.TempDir()
	datasettest.ImageNetS(t, root)
	datasettest.Write(t, root, "train-semi/n01443537/n01443537_7.JPEG", datasettest.Photo(t, 1)) // no mask
	if err := os.Rename(filepath.Join(root, "train-semi"), filepath.Join(root, "train")); err != nil {
		t.Fatal(err)
	}
	set, err := Open(Source{Layout: LayoutImageNetS, Images: filepath.Join(root, "train"), Masks: filepath.Join(root, "train-semi-segmentation")})
	if err != nil || len(set.Samples) != 9 {
		t.Fatalf("%+v (%v)", set, err)
	}
	if err := Label(set.Samples, set.Auto(LayoutImageNetS, false, 1000), nil, 1000); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{1, 235, 998} {
		if got := set.Samples[3*i].Label; got != want {
			t.Errorf("%s: class %d, want %d", set.Samples[3*i].Class, got, want)
		}
	}
	fails(t, Label(set.Samples, LabelsImageNet, nil, 919), ErrLabel, "1000 classes, this one has 919", "top1")
}

func TestMergedClassesAreTheTenThatThePublishedCodePassesOver(t *testing.T) {
	if len(merged()) != 10 {
		t.Fatalf("%d merged classes", len(merged()))
	}
	for wnid := range merged() {
		if _, err := ImageNet().Index(wnid); err != nil {
			t.Error(err)
		}
	}
}

func TestImageNetHasAThousandClassesInTheOrderOfTheirIdentifiers(t *testing.T) {
	last := ""
	for i, line := range strings.Split(strings.TrimSpace(ImageNetList), "\n")[2:] {
		cells := strings.Split(line, "\t")
		if cells[0] != strconv.Itoa(i) || cells[1] <= last {
			t.Fatalf("line %d: %s", i+3, line)
		}
		last = cells[1]
	}
	if n := len(ImageNet().Titles()); n != ImageNetClasses {
		t.Errorf("%d classes", n)
	}
	if n := len(vocClasses().Titles()); n != vocCount {
		t.Errorf("%d classes of Pascal VOC", n)
	}
}

func TestADataSetsOwnNumbersCountForModelsWithAsManyClasses(t *testing.T) {
	for _, c := range []struct {
		layout   Layout
		numbered int
		file     bool
		count    int
		want     Labels
	}{
		{LayoutFolders, 0, false, 1000, LabelsFolder},
		{LayoutFlat, 0, false, 1000, LabelsTop1},
		{LayoutCSV, 0, false, 1000, LabelsCSV},
		{LayoutImageNetS, 0, false, 1000, LabelsImageNet},
		{LayoutPets, 37, false, 37, LabelsCSV},
		{LayoutPets, 37, false, 1000, LabelsTop1},
		{LayoutPets, 37, true, 1000, LabelsClassesFile},
		{LayoutVOC, 20, false, 21, LabelsTop1},
		{LayoutCOCO, 80, false, 80, LabelsCSV},
	} {
		set := Set{Numbered: c.numbered, Samples: []Sample{{}, {Class: "7"}}}
		if got := set.Auto(c.layout, c.file, c.count); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestTablesWithoutLabelsLeaveThemToTheModel(t *testing.T) {
	set := Set{Samples: []Sample{{Label: NoLabel}, {Label: NoLabel}}}
	if got := set.Auto(LayoutCSV, false, 1000); got != LabelsTop1 {
		t.Error(got)
	}
	if got := set.Auto(LayoutCSV, true, 1000); got != LabelsClassesFile {
		t.Errorf("with a classes file: %s", got)
	}
}

// A folder of pictures beside one of masks looks like two class folders.
func TestAMissingMaskIsNotTakenForAnotherLayout(t *testing.T) {
	root := t.TempDir()
	datasettest.Write(t, root, "images/a.jpg", nil)
	datasettest.Write(t, root, "images/b.jpg", nil)
	datasettest.Write(t, root, "masks/a.png", nil)
	for _, s := range []Source{{Root: root, Images: "images", Masks: "masks"}, {Images: filepath.Join(root, "images"), Masks: filepath.Join(root, "masks")}} {
		s.Layout = LayoutFlat
		_, err := Open(s)
		fails(t, err, ErrMissing, "no such mask for image "+filepath.Join(root, "images", "b.jpg"), "masks.csv")
	}
}

func TestOtherLayoutsSayWhatWasExpectedAndFound(t *testing.T) {
	write := map[Layout]func(testing.TB, string){LayoutImageNetS: datasettest.ImageNetS, LayoutPets: datasettest.Pets, LayoutVOC: datasettest.VOC, LayoutCOCO: datasettest.COCO,
		LayoutFolders: func(t testing.TB, root string) { datasettest.Write(t, root, "cat/a.jpg", nil) },
		LayoutFlat:    func(t testing.TB, root string) { datasettest.Write(t, root, "a.jpg", nil) },
	}
	for there, write := range write {
		root := t.TempDir()
		write(t, root)
		if found, at := Guess(root); found != there || at != root {
			t.Errorf("%s looks like %q in %q", there, found, at)
		}
		for asked := range expected {
			if asked == there || asked == LayoutCSV {
				continue
			}
			s := Source{Layout: asked, Root: root}
			if asked == LayoutFolders || asked == LayoutFlat {
				s = Source{Layout: asked, Images: root}
			}
			_, err := Open(s)
			if err == nil {
				t.Errorf("%s was read as %s", there, asked)
				continue
			}
			for _, part := range []string{root, "set data.layout=" + string(there)} {
				if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s as %s: %q lacks %q", there, asked, err, part)
				}
			}
			if asked != LayoutFolders && asked != LayoutFlat && !strings.Contains(err.Error(), expected[asked]) {
				t.Errorf("%s as %s: %q does not describe the layout", there, asked, err)
			}
		}
	}
}

func TestTheFolderAboveADataSetIsRecognised(t *testing.T) {
	above := t.TempDir()
	datasettest.VOC(t, filepath.Join(above, "VOCdevkit", "VOC2012"))
	_, err := Open(Source{Layout: LayoutVOC, Root: above})
	fails(t, err, ErrLayout, "no folder JPEGImages", "there is VOCdevkit/", "set data.root="+filepath.Join(above, "VOCdevkit", "VOC2012"))
	_, err = Open(Source{Layout: LayoutVOC, Root: filepath.Join(above, "nowhere")})
	fails(t, err, ErrLayout, "nowhere: no folder JPEGImages", "no such folder")
	_, err = Open(Source{Layout: LayoutPets, Root: t.TempDir()})
	fails(t, err, ErrLayout, "no folder images", "there is nothing", "set data.root")
}

func TestBrokenDataSetsSayWhatAndWhere(t *testing.T) {
	for _, c := range []struct {
		name   string
		source Source
		write  func(testing.TB, string)
		spoil  func(t *testing.T, root string)
		kind   error
		parts  []string
	}{
		{"pet without trimap", Source{Layout: LayoutPets}, datasettest.Pets, func(t *testing.T, root string) {
			os.Remove(filepath.Join(root, "annotations/trimaps/Bombay_11.png"))
		}, ErrMissing, []string{"Bombay_11.png", "trainval.txt names it"}},
		{"pet without image", Source{Layout: LayoutPets}, datasettest.Pets, func(t *testing.T, root string) {
			os.Remove(filepath.Join(root, "images/Bombay_11.jpg"))
		}, ErrMissing, []string{"no such image for mask", "Bombay_11.png"}},
		{"pets of two numbers", Source{Layout: LayoutPets}, datasettest.Pets, func(t *testing.T, root string) {
			datasettest.Write(t, root, "annotations/trainval.txt", []byte("Bombay_1 8 1 5\nBombay_11 9 1 5\n"))
		}, ErrTable, []string{"Bombay is class 8 and class 9"}},
		{"pet of an unknown number", Source{Layout: LayoutPets}, datasettest.Pets, func(t *testing.T, root string) {
			datasettest.Write(t, root, "annotations/trainval.txt", []byte("Bombay_1 38 1 5\n"))
		}, ErrTable, []string{"from 1 to 37"}},
		{"a list that climbs", Source{Layout: LayoutVOC}, datasettest.VOC, func(t *testing.T, root string) {
			datasettest.Write(t, root, "ImageSets/Segmentation/train.txt", []byte("2007_000001\n../../secret\n"))
		}, ErrTable, []string{"train.txt:2", "no name of a picture"}},
		{"a list of the main classes", Source{Layout: LayoutVOC}, datasettest.VOC, func(t *testing.T, root string) {
			datasettest.Write(t, root, "ImageSets/Segmentation/train.txt", []byte("2007_000001 -1\n"))
		}, ErrTable, []string{"train.txt:1", "2 columns, expected 1"}},
		{"an empty list", Source{Layout: LayoutVOC}, datasettest.VOC, func(t *testing.T, root string) {
			datasettest.Write(t, root, "ImageSets/Segmentation/train.txt", []byte("\n"))
		}, ErrEmpty, []string{"no names"}},
		{"a picture without objects", Source{Layout: LayoutVOC}, datasettest.VOC, func(t *testing.T, root string) {
			datasettest.Write(t, root, "SegmentationClass/2007_000008.png", maskPNG(t, 40, 32))
		}, ErrLabel, []string{"2007_000008.png", "no object"}},
		{"object numbers", Source{Layout: LayoutVOC, Masks: "SegmentationObject"}, datasettest.VOC, func(*testing.T, string) {},
			ErrLayout, []string{"number objects", "data.masks=SegmentationClass"}},
		{"a class that ImageNet lacks", Source{Layout: LayoutImageNetS}, datasettest.ImageNetS, func(t *testing.T, root string) {
			datasettest.Write(t, root, "train-semi-segmentation/cat/a.png", nil)
		}, ErrLayout, []string{"no WNID", "layout folders"}},
		{"a mask without image", Source{Layout: LayoutImageNetS}, datasettest.ImageNetS, func(t *testing.T, root string) {
			datasettest.Write(t, root, "train-semi-segmentation/n01443537/n01443537_7.png", nil)
		}, ErrMissing, []string{"no such image for mask", "n01443537_7.png"}},
		{"a COCO image that isn't there", Source{Layout: LayoutCOCO}, datasettest.COCO, func(t *testing.T, root string) {
			os.Remove(filepath.Join(root, "train2017/000000000495.jpg"))
		}, ErrMissing, []string{"000000000495.jpg", "instances_train2017.json names it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.source.Root = t.TempDir()
			c.write(t, c.source.Root)
			c.spoil(t, c.source.Root)
			_, err := Open(c.source)
			fails(t, err, c.kind, c.parts...)
		})
	}
}

func FuzzNames(f *testing.F) {
	f.Add([]byte("#Image CLASS-ID SPECIES BREED ID\nAbyssinian_100 1 1 1\n"), 3)
	f.Add([]byte("2007_000032\n2007_000039\n"), 0)
	f.Fuzz(func(t *testing.T, data []byte, columns int) {
		var rows [][]string
		var err error
		memtest.Within(t, len(data), 64, 1<<20, func() { rows, err = parseNames(data, "list.txt", columns) })
		if err == nil && len(rows) == 0 {
			t.Fatal("neither names nor an error")
		}
		for _, row := range rows {
			if len(row) != columns+1 || !filepath.IsLocal(row[0]) || filepath.Base(row[0]) != row[0] {
				t.Fatalf("%q", row)
			}
		}
	})
}
