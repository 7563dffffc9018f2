package dataset

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// VOCAnnotation is what Pascal VOC's Annotations/NAME.xml says of a picture.
type VOCAnnotation struct {
	File    string
	W, H    int // 0 where not stated
	Objects []VOCObject
}

// VOCObject is an object's class and box.
type VOCObject struct {
	Name      string
	Box       [4]float64 // left, top, right, bottom in pixels from 0, right and bottom exclusive
	Difficult bool
	Truncated bool
}

// maxVOC bounds the size of one picture's annotations; VOC's have a few KB.
const maxVOC = 4 << 20

// ReadVOC reads a file such as Annotations/2007_000032.xml.
func ReadVOC(path string) (*VOCAnnotation, error) {
	data, err := readLimited(path, maxVOC)
	if err != nil {
		return nil, err
	}
	a, err := parseVOC(data)
	if err != nil {
		return nil, &Error{Kind: ErrTable, Path: path, Found: err.Error(),
			Advice: "expected Pascal VOC's annotation: objects with name and bndbox"}
	}
	return a, nil
}

func parseVOC(data []byte) (*VOCAnnotation, error) {
	var file struct {
		XMLName  xml.Name `xml:"annotation"`
		Filename string   `xml:"filename"`
		Size     struct {
			Width  int `xml:"width"`
			Height int `xml:"height"`
		} `xml:"size"`
		Objects []struct {
			Name      string `xml:"name"`
			Difficult string `xml:"difficult"`
			Truncated string `xml:"truncated"`
			Box       *struct {
				Left   float64 `xml:"xmin"`
				Top    float64 `xml:"ymin"`
				Right  float64 `xml:"xmax"`
				Bottom float64 `xml:"ymax"`
			} `xml:"bndbox"`
		} `xml:"object"`
	}
	d := xml.NewDecoder(strings.NewReader(string(data)))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, fmt.Errorf("its text is not UTF-8") }
	if err := d.Decode(&file); err != nil {
		return nil, explainJSON(err)
	}
	if stated := file.Size.Width != 0 || file.Size.Height != 0; stated {
		if err := checkMaskSize(file.Size.Width, file.Size.Height); err != nil {
			return nil, err
		}
	}
	a := &VOCAnnotation{File: strings.TrimSpace(file.Filename), W: file.Size.Width, H: file.Size.Height}
	for i, o := range file.Objects {
		name := strings.TrimSpace(o.Name)
		if name == "" || o.Box == nil {
			return nil, fmt.Errorf("object %d of %d has no name or no bndbox", i+1, len(file.Objects))
		}
		// VOC counts pixels from 1 and includes the last.
		box := [4]float64{o.Box.Left - 1, o.Box.Top - 1, o.Box.Right, o.Box.Bottom}
		for _, v := range box {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("object %d of %d has a box of no numbers", i+1, len(file.Objects))
			}
		}
		if box[2] <= box[0] || box[3] <= box[1] {
			return nil, fmt.Errorf("object %d of %d, %s, has an empty box", i+1, len(file.Objects), name)
		}
		yes := func(s string) bool { return strings.TrimSpace(s) == "1" }
		a.Objects = append(a.Objects, VOCObject{Name: name, Box: box, Difficult: yes(o.Difficult), Truncated: yes(o.Truncated)})
	}
	return a, nil
}
