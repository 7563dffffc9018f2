package dataset

import (
	"reflect"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/memtest"
)

const tinyVOC = `<annotation>
	<folder>VOC2012</folder>
	<filename>2007_000032.jpg</filename>
	<size><width>500</width><height>281</height><depth>3</depth></size>
	<segmented>1</segmented>
	<object>
		<name>aeroplane</name><pose>Frontal</pose><truncated>0</truncated><difficult>0</difficult>
		<bndbox><xmin>104</xmin><ymin>78</ymin><xmax>375</xmax><ymax>183</ymax></bndbox>
		<part><name>wing</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
	</object>
	<object>
		<name> person </name><truncated>1</truncated><difficult>1</difficult>
		<bndbox><xmax>213.5</xmax><xmin>195.25</xmin><ymax>229</ymax><ymin>180</ymin></bndbox>
	</object>
</annotation>`

func TestVOCBoxesCountPixelsFromZeroAndEndBehindTheLast(t *testing.T) {
	a, err := ReadVOC(write(t, t.TempDir(), "a.xml", []byte(tinyVOC)))
	if err != nil {
		t.Fatal(err)
	}
	want := &VOCAnnotation{File: "2007_000032.jpg", W: 500, H: 281, Objects: []VOCObject{
		{Name: "aeroplane", Box: [4]float64{103, 77, 375, 183}},
		{Name: "person", Box: [4]float64{194.25, 179, 213.5, 229}, Difficult: true, Truncated: true},
	}}
	if !reflect.DeepEqual(a, want) {
		t.Errorf("%+v, want %+v", a, want)
	}
}

func TestVOCFilesMayLeaveOutTheSize(t *testing.T) {
	for _, size := range []string{"", "<size><width>0</width><height>0</height></size>"} {
		text := strings.Replace(tinyVOC, "<size><width>500</width><height>281</height><depth>3</depth></size>", size, 1)
		if a, err := parseVOC([]byte(text)); err != nil || a.W != 0 || a.H != 0 || len(a.Objects) != 2 {
			t.Errorf("%q: %+v, %v", size, a, err)
		}
	}
}

func TestBrokenVOCFilesSayWhatIsWrong(t *testing.T) {
	bomb := `<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>` + strings.Replace(tinyVOC, "aeroplane", "&b;", 1)
	for text, says := range map[string]string{
		"":     "truncated",
		"<a/>": "annotation",
		bomb:   "entity",
		`<?xml version="1.0" encoding="UTF-16"?>` + tinyVOC: "not UTF-8",
		tinyVOC[:300]: "",
		strings.Replace(tinyVOC, "<name>aeroplane</name>", "", 1):                     "object 1 of 2 has no name",
		strings.Replace(tinyVOC, "<xmin>104</xmin>", "<xmin>404</xmin>", 1):           "object 1 of 2, aeroplane, has an empty box",
		strings.Replace(tinyVOC, "<xmin>104</xmin>", "<xmin>left</xmin>", 1):          "left",
		strings.Replace(tinyVOC, "<xmin>104</xmin>", "<xmin>NaN</xmin>", 1):           "no numbers",
		strings.Replace(tinyVOC, "<width>500</width>", "<width>500000000</width>", 1): "size 500000000x281",
		strings.Repeat("<annotation>", 20000):                                         "",
	} {
		_, err := ReadVOC(write(t, t.TempDir(), "a.xml", []byte(text)))
		fails(t, err, ErrTable, "a.xml", says, "bndbox")
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is not one line", err)
		}
	}
}

func FuzzVOC(f *testing.F) {
	f.Add([]byte(tinyVOC))
	f.Add([]byte(`<annotation><size><width>1</width><height>1</height></size></annotation>`))
	f.Add([]byte(strings.Repeat("<annotation>", 300)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a *VOCAnnotation
		var err error
		memtest.Within(t, len(data), 128, 1<<20, func() { a, err = parseVOC(data) })
		if err != nil {
			return
		}
		for _, o := range a.Objects {
			if o.Name == "" || !(o.Box[0] < o.Box[2]) || !(o.Box[1] < o.Box[3]) {
				t.Fatalf("%+v", o)
			}
		}
	})
}
