// Package datasettest writes miniatures of the field's data sets: a dozen
// pictures each, laid out as published.
package datasettest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// Every picture is of this size. Its object is Object, around which lies an
// outline of one ignored pixel; what else is in it is below Second.
const (
	Width  = 40
	Height = 32
)

// Object and Second are where the objects of pictures lie.
var (
	Object = image.Rect(8, 6, 24, 22)
	Second = image.Rect(28, 24, 36, 30)
)

// Write puts a file below a folder, whose parents it makes.
func Write(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	err := os.MkdirAll(filepath.Dir(path), 0o777)
	if err == nil {
		err = os.WriteFile(path, data, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func encoded(t testing.TB, encode func(b *bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Photo is a JPEG with bright objects, whose colours depend on its number.
func Photo(t testing.TB, number int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, Width, Height))
	for y := range Height {
		for x := range Width {
			c := color.RGBA{uint8(11 * number), uint8(3 * x), uint8(5 * y), 255}
			if p := image.Pt(x, y); p.In(Object) || p.In(Second) {
				c = color.RGBA{230, uint8(255 - 9*number), 200, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	return encoded(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, img, nil) })
}

// levels fills the object, the outline around it, and the second object.
func levels(set func(x, y, level int), background, object, outline, second int) {
	around := Object.Inset(-1)
	for y := range Height {
		for x := range Width {
			switch p := image.Pt(x, y); {
			case p.In(Object):
				set(x, y, object)
			case p.In(around):
				set(x, y, outline)
			case p.In(Second):
				set(x, y, second)
			default:
				set(x, y, background)
			}
		}
	}
}

// ImageNetS writes ImageNetS919 with train-semi: three classes of three
// pictures, and one of three that is merged into another.
func ImageNetS(t testing.TB, root string) {
	t.Helper()
	for c, wnid := range []string{"n01443537", "n02106662", "n04356056", "n13133613"} {
		for i := range 3 {
			name := fmt.Sprintf("%s/%s_%d", wnid, wnid, 100+i)
			Write(t, root, "train-semi/"+name+".JPEG", Photo(t, 3*c+i))
			img := image.NewRGBA(image.Rect(0, 0, Width, Height))
			levels(func(x, y, level int) { img.SetRGBA(x, y, color.RGBA{uint8(level), uint8(level >> 8), 0, 255}) }, 0, 300+c, 1000, 0)
			Write(t, root, "train-semi-segmentation/"+name+".png", encoded(t, func(b *bytes.Buffer) error { return png.Encode(b, img) }))
		}
	}
}

// Pets writes Oxford-IIIT Pets: four breeds of three pictures, of which
// trainval names the first two, and the litter that the archive brings along.
func Pets(t testing.TB, root string) {
	t.Helper()
	all := "#Image CLASS-ID SPECIES BREED ID\n"
	var trainval, test string
	for c, breed := range []struct {
		name string
		row  string
	}{{"Abyssinian", "1 1 1"}, {"american_pit_bull_terrier", "3 2 2"}, {"Bombay", "8 1 5"}, {"yorkshire_terrier", "37 2 25"}} {
		for i := range 3 {
			name := fmt.Sprintf("%s_%d", breed.name, 10*i+1)
			Write(t, root, "images/"+name+".jpg", Photo(t, 3*c+i))
			img := image.NewGray(image.Rect(0, 0, Width, Height))
			levels(func(x, y, level int) { img.SetGray(x, y, color.Gray{Y: uint8(level)}) }, 2, 1, 3, 2)
			Write(t, root, "annotations/trimaps/"+name+".png", encoded(t, func(b *bytes.Buffer) error { return png.Encode(b, img) }))
			line := name + " " + breed.row + "\n"
			all += line
			if i < 2 {
				trainval += line
			} else {
				test += line
			}
		}
	}
	for name, text := range map[string]string{"list": all, "trainval": trainval, "test": test} {
		Write(t, root, "annotations/"+name+".txt", []byte(text))
	}
	Write(t, root, "annotations/trimaps/._Bombay_1.png", []byte("litter"))
	Write(t, root, "images/Abyssinian_1.mat", []byte("litter"))
}

// VOCPalette is Pascal VOC's: the bits of a level are dealt out to red, green
// and blue in turn, the lowest to the highest.
func VOCPalette() color.Palette {
	p := make(color.Palette, 256)
	for i := range p {
		var c [3]uint8
		for bit := range 8 {
			c[bit%3] |= uint8(i>>bit&1) << (7 - bit/3)
		}
		p[i] = color.RGBA{c[0], c[1], c[2], 255}
	}
	return p
}

// VOC writes VOC2012: train names eight pictures of aeroplanes, cats, people
// and television sets, val four more. Every second has a small dog (12) too.
func VOC(t testing.TB, root string) {
	t.Helper()
	var train, val string
	for i := range 12 {
		class := []int{1, 8, 15, 20}[i%4]
		name := fmt.Sprintf("2007_%06d", 12-i)
		Write(t, root, "JPEGImages/"+name+".jpg", Photo(t, i))
		img := image.NewPaletted(image.Rect(0, 0, Width, Height), VOCPalette())
		levels(func(x, y, level int) { img.SetColorIndex(x, y, uint8(level)) }, 0, class, 255, 12*(i%2))
		Write(t, root, "SegmentationClass/"+name+".png", encoded(t, func(b *bytes.Buffer) error { return png.Encode(b, img) }))
		if i < 8 {
			train += name + "\n"
		} else {
			val += name + "\n"
		}
	}
	Write(t, root, "ImageSets/Segmentation/train.txt", []byte(train))
	Write(t, root, "ImageSets/Segmentation/val.txt", []byte(val))
}

// COCO writes train2017 with twelve pictures of three categories whose IDs have
// gaps: outlines are polygons, runs of numbers (a crowd) and COCO's compressed
// ones. Every second picture has a small object of another category too; the
// last has nothing but a box.
func COCO(t testing.TB, root string) {
	t.Helper()
	type object = map[string]any
	var images, annotations []object
	box := func(r image.Rectangle) []float64 {
		return []float64{float64(r.Min.X), float64(r.Min.Y), float64(r.Dx()), float64(r.Dy())}
	}
	polygon := func(r image.Rectangle) [][]int {
		return [][]int{{r.Min.X, r.Min.Y, r.Max.X, r.Min.Y, r.Max.X, r.Max.Y, r.Min.X, r.Max.Y}}
	}
	categories := []object{{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}}
	for i := range 12 {
		name := fmt.Sprintf("%012d.jpg", 500-i)
		Write(t, root, "train2017/"+name, Photo(t, i))
		images = append(images, object{"id": 900 + i, "file_name": name, "width": Width, "height": Height})
		a := object{"id": 10 * i, "image_id": 900 + i, "category_id": []int{90, 1, 18}[i%3], "iscrowd": 0, "bbox": box(Object)}
		switch {
		case i == 11: // nothing but a box
		case i%3 == 0:
			a["segmentation"] = polygon(Object)
		case i%3 == 1:
			a["iscrowd"] = 1
			a["segmentation"] = object{"size": []int{Height, Width}, "counts": objectRuns()}
		default:
			a["segmentation"] = object{"size": []int{Height, Width}, "counts": objectCompressed}
		}
		annotations = append(annotations, a)
		if i%2 == 1 && i < 11 {
			annotations = append(annotations, object{"id": 10*i + 1, "image_id": 900 + i, "category_id": []int{1, 18, 90}[i%3], "iscrowd": 0,
				"bbox": box(Second), "segmentation": polygon(Second)})
		}
	}
	data, err := json.Marshal(object{"info": object{"year": 2017}, "images": images, "annotations": annotations, "categories": categories})
	if err != nil {
		t.Fatal(err)
	}
	Write(t, root, "annotations/instances_train2017.json", data)
}

// objectRuns are the lengths of Object's runs, down the columns.
func objectRuns() []int {
	runs := []int{Object.Min.X*Height + Object.Min.Y}
	for range Object.Dx() {
		runs = append(runs, Object.Dy(), Height-Object.Dy())
	}
	runs[len(runs)-1] += (Width-Object.Max.X)*Height - Object.Min.Y
	return runs
}

// objectCompressed is the same as pycocotools writes it.
const objectCompressed = "V8`0`000000000000000000000000000000j?"
