package annotations

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
)

// vocFile is a Pascal VOC annotation. Its corners are counted from 1, and both
// belong to the box.
type vocFile struct {
	XMLName xml.Name `xml:"annotation"`
	Name    string   `xml:"filename"`
	Size    struct {
		Width  int `xml:"width"`
		Height int `xml:"height"`
	} `xml:"size"`
	Objects []struct {
		Box struct {
			Left   float64 `xml:"xmin"`
			Top    float64 `xml:"ymin"`
			Right  float64 `xml:"xmax"`
			Bottom float64 `xml:"ymax"`
		} `xml:"bndbox"`
	} `xml:"object"`
}

// voc reads one picture's file. Its name is the file's own where it states none.
func (s *Set) voc(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return &Error{Path: path, Found: "it can't be read: " + reason(err)}
	}
	var v vocFile
	if err := xml.Unmarshal(data, &v); err != nil {
		return &Error{Path: path, Found: "no Pascal VOC annotation: " + err.Error()}
	}
	if v.Name == "" {
		v.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	p := s.add(v.Name)
	p.Rows, p.Columns = v.Size.Height, v.Size.Width
	for _, o := range v.Objects {
		p.Regions = append(p.Regions, Region{Box: &Box{o.Box.Left - 1, o.Box.Top - 1, o.Box.Right, o.Box.Bottom}})
	}
	return nil
}
