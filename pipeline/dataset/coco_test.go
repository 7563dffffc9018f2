package dataset

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/memtest"
	"github.com/relevit/relevit/pipeline/dataset/datasettest"
)

const tinyCOCO = `{"info":{"x":[{}]},
"annotations":[{"id":2,"image_id":7,"category_id":18,"iscrowd":0,"bbox":[1,1,2,2],"segmentation":[[1,1,3,1,3,3,1,3]] },
               {"id":1,"image_id":7,"category_id":1,"iscrowd":1,"bbox":[0,0,4,3],"segmentation":{"size":[3,4],"counts":[5,2,5]}},
               {"id":3,"image_id":8,"category_id":1,"bbox":[0,0,1,1]}],
"images":[{"id":8,"file_name":"b.jpg","width":4,"height":3},{"id":7,"file_name":"sub/a.jpg","width":4,"height":3}],
"categories":[{"id":18,"name":"dog"},{"id":1,"name":"person"}]}`

func TestCOCOIsReadWhateverTheOrderOfItsParts(t *testing.T) {
	c, err := parseCOCO(strings.NewReader(tinyCOCO), "i.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Images) != 2 || c.Images[1].File != "sub/a.jpg" || len(c.Images[1].Annotations) != 2 || c.Categories[0].Name != "person" {
		t.Fatalf("%+v", c)
	}
	a := c.Images[1].Annotations
	if !a[0].Crowd || a[0].Category != 0 || a[0].Segmentation.Area() != 2 || a[1].Category != 1 || a[1].Segmentation.Area() != 4 || a[1].Box != [4]float64{1, 1, 2, 2} {
		t.Errorf("%+v", a)
	}
	if b := c.Images[0].Annotations; len(b) != 1 || !b[0].Segmentation.Empty() {
		t.Errorf("%+v", b)
	}
}

func TestBrokenCOCOFilesSayWhatIsWrong(t *testing.T) {
	for old, c := range map[string]struct{ with, says string }{
		`"images":[{"id":8`:        {`"pictures":[{"id":8`, "images is missing"},
		`"images":[`:               {`"annotations":[`, "annotations occurs twice"},
		`"image_id":8`:             {`"image_id":9`, "annotation 3 belongs to image 9"},
		`"category_id":18`:         {`"category_id":2`, "annotation 2 has category 2"},
		`"sub/a.jpg"`:              {`"../a.jpg"`, "leads out of the folder"},
		`"b.jpg"`:                  {`"/etc/passwd"`, "leads out of the folder"},
		`"file_name":"sub/a.jpg"`:  {`"file_name":"b.jpg"`, "occurs twice"},
		`"id":8,`:                  {`"id":7,`, "occurs twice"},
		`"name":"dog"`:             {`"name":"person"`, "occurs twice"},
		`"counts":[5,2,5]`:         {`"counts":[5,2,4]`, "lack 1 of 4x3"},
		`"size":[3,4]`:             {`"size":[3]`, "size of 1 numbers"},
		`"width":4,"height":3},{`:  {`"width":400000,"height":300000},{`, "size 400000x300000"},
		`"bbox":[0,0,1,1]`:         {`"bbox":[0,0,1]`, "box of 3 numbers"},
		`[[1,1,3,1,3,3,1,3]]`:      {`"text"`, "annotations: element 0"},
		`[[1,1,3,1,3,3,1,3]`:       {`[[1,1,3,1,3,3,1]`, "polygon of 7 numbers"},
		`[1,1,3,1,3,3,1,3]`:        {`[1,1,[3,1],3,3,1,3]`, "is no number"},
		`[[1,1,3,1,3,3,1,3]] `:     {`[{"x":1}]`, "neither polygons nor run lengths"},
		`"name":"person"}]}`:       {`"name":"person"}`, "truncated"},
		`{"info":{"x":[{}]},`:      {`[`, "is no JSON object"},
		`"images":[{`:              {`"images":{`, "images: is no array"},
		`{"id":18,"name":"dog"},{`: {`{"id":18,"name":1},{`, "categories: element 0"},
	} {
		text := strings.Replace(tinyCOCO, old, c.with, 1)
		if text == tinyCOCO {
			t.Fatalf("nothing was replaced: %s", old)
		}
		_, err := parseCOCO(strings.NewReader(text), "i.json")
		fails(t, err, ErrTable, "i.json", c.says, "expected COCO's instances")
	}
}

func TestFilesOfAnnotationsAreRegularAndLimited(t *testing.T) {
	dir := t.TempDir()
	_, err := ReadCOCO(dir)
	fails(t, err, ErrTable, "no file")
	_, err = ReadCOCO(filepath.Join(dir, "absent.json"))
	fails(t, err, ErrMissing, "absent.json")
	path := filepath.Join(dir, "large.xml")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxVOC + 1); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, err = ReadVOC(path)
	fails(t, err, ErrTable, "at most 4 MB")
}

func TestACOCOOutlineThatCantBeDrawnNamesImageAndAnnotation(t *testing.T) {
	root := t.TempDir()
	datasettest.COCO(t, root)
	path := filepath.Join(root, "annotations", "instances_train2017.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte("[[8,6,24,6,24,22,8,22]]"), []byte("[[8,6,24,6,9999,22]]"), 1), 0o666); err != nil {
		t.Fatal(err)
	}
	set, err := Open(Source{Layout: LayoutCOCO, Root: root})
	if err != nil {
		t.Fatal(err)
	}
	for i := range set.Samples {
		if _, err = set.Draw(&set.Samples[i]); err != nil {
			break
		}
	}
	fails(t, err, ErrTable, "instances_train2017.json", "000000000500.jpg", "annotation 0", "far outside")
}

// TestOnlyTheLayoutNeedsCategories: masks can be drawn without.
func TestOnlyTheLayoutNeedsCategories(t *testing.T) {
	c, err := parseCOCO(strings.NewReader(strings.Replace(tinyCOCO, `"categories":[`, `"kinds":[`, 1)), "i.json")
	if err != nil {
		t.Fatal(err)
	}
	if a := c.Images[1].Annotations; len(a) != 2 || a[0].Category != -1 || a[0].Segmentation.Area() != 2 {
		t.Errorf("%+v", a)
	}
	root := t.TempDir()
	datasettest.COCO(t, root)
	path := filepath.Join(root, "annotations", "instances_train2017.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte(`"categories"`), []byte(`"kinds"`), 1), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Source{Layout: LayoutCOCO, Root: root})
	fails(t, err, ErrTable, "instances_train2017.json", "categories are missing")
}

func FuzzCOCO(f *testing.F) {
	f.Add([]byte(tinyCOCO))
	f.Add([]byte(`{"images":[],"annotations":[],"categories":[]}`))
	f.Add([]byte(strings.Replace(tinyCOCO, "[5,2,5]", `"52N"`, 1)))
	f.Add([]byte(strings.Replace(tinyCOCO, "[[1,1,3,1,3,3,1,3]]", "[[0,0,0]]", 1)))
	f.Add([]byte(`{"a":` + strings.Repeat("[", 20000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c *COCO
		var err error
		memtest.Within(t, len(data), 128, 1<<20, func() { c, err = parseCOCO(bytes.NewReader(data), "i.json") })
		if err != nil {
			return
		}
		for i := range c.Images {
			m := &c.Images[i]
			if m.W*m.H > 1<<16 || !filepath.IsLocal(m.File) {
				continue
			}
			if m.main(len(c.Categories)) >= 0 {
				if mask, err := m.draw(); err == nil && len(mask.Pix) != m.W*m.H {
					t.Fatalf("%d pixels in %dx%d", len(mask.Pix), m.W, m.H)
				}
			}
		}
	})
}
