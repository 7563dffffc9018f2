package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// Commands that read pictures, and masks.
var (
	readingPictures = []string{"explain --strict -m model.onnx BAD -o x", "verify model.onnx --images BAD",
		"finetune --strict -c c.yaml" + fromTable}
	readingMasks   = "finetune -c c.yaml" + fromTable
	leavingThemOut = "explain -m model.onnx 00005.png BAD -o x"
)

const fromTable = " --set data.layout=csv --set data.labels=csv --set data.csv=t.csv --set batch=1 --set data.validation.split=none -o run"

func hostilePictures() []hostile {
	var out []hostile
	i := 0
	for name, p := range sorted(brokenPictures()) {
		file := "bad." + strings.Fields(name)[0]
		add := func(kind, row, says string, commands ...string) {
			make := both(func(dir string) error { return write(file, p.data())(dir) }, write("t.csv", "image,mask,label\n"+row))
			out = append(out, hostile{name: kind + "/" + name, file: file, make: make, says: says, commands: commands, runtime: true,
				leaves: strings.HasPrefix(commands[len(commands)-1], "finetune"), harmless: kind == "left out"})
		}
		row := file + ",mask.png,1\n"
		if i++; i%4 > 0 { // the others share their reader
			add("picture", row, file+"|"+p.says, readingPictures[0])
			continue
		}
		add("picture", row, file+"|"+p.says, readingPictures...)
		add("left out", row, file, leavingThemOut)
		if file != "bad.jpg" {
			add("mask", "00005.png,"+file+",1\n", file+"|"+p.says, readingMasks)
		}
	}
	for name, data := range sorted(longHeads()) {
		out = append(out, hostile{name: "picture/" + name, file: "good.jpg", make: func(dir string) error { return write("good.jpg", data())(dir) },
			commands: readingPictures[:2], harmless: true, runtime: true})
	}
	return out
}

// encoded is a picture of 64x64 pixels in a format.
func encoded(format string) string {
	img := image.NewGray(image.Rect(0, 0, 64, 64))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * i >> 4)
	}
	var b bytes.Buffer
	var err error
	switch format {
	case "jpg":
		err = jpeg.Encode(&b, img, nil)
	case "png":
		err = png.Encode(&b, img)
	case "gif":
		err = gif.Encode(&b, img, nil)
	case "bmp":
		err = bmp.Encode(&b, img)
	case "tiff":
		err = tiff.Encode(&b, img, &tiff.Options{Compression: tiff.Deflate})
	case "webp":
		return webp(64, 64, 0xff) // which ends within its codes
	}
	if err != nil {
		panic(err)
	}
	return b.String()
}

// webp is a lossless file: a header, and the codes of its pixels. With those of
// oneColour a pixel takes no bit.
func webp(w, h uint32, codes ...byte) string {
	data := append([]byte{0x2f}, binary.LittleEndian.AppendUint32(nil, w-1|(h-1)<<14)...)
	data = append(data, codes...)
	size := binary.LittleEndian.AppendUint32(nil, uint32(len(data)))
	if len(data)%2 > 0 {
		data = append(data, 0)
	}
	body := "WEBPVP8L" + string(size) + string(data)
	return "RIFF" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)))) + body
}

// oneColour says that nothing is transformed or cached, and then five times that
// there is one symbol, zero.
var oneColour = []byte{0x88, 0x88, 0x08, 0, 0, 0}

// sizedAs puts a size into the header of a file of 64x64 pixels.
func sizedAs(format, file string, n uint32) string {
	data := []byte(file)
	le, be := binary.LittleEndian, binary.BigEndian
	switch format {
	case "jpg":
		at := strings.Index(file, "\xff\xc0") + 5
		be.PutUint16(data[at:], uint16(n))
		be.PutUint16(data[at+2:], uint16(n))
	case "png":
		be.PutUint32(data[16:], n)
		be.PutUint32(data[20:], n)
		be.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	case "gif":
		le.PutUint16(data[6:], uint16(n))
		le.PutUint16(data[8:], uint16(n))
	case "bmp":
		le.PutUint32(data[18:], n)
		le.PutUint32(data[22:], n)
	case "tiff": // tags 256 and 257, as one short each
		for _, tag := range []uint16{256, 257} {
			at := strings.Index(file, string(le.AppendUint16(le.AppendUint16(nil, tag), 3)))
			le.PutUint16(data[at+2:], 4)
			le.PutUint32(data[at+8:], n)
		}
	}
	return string(data)
}

func brokenPictures() map[string]made {
	out := map[string]made{
		"webp of 14000x14000":      {"webp says 14000x14000 pixels in", text(webp(14000, 14000, oneColour...))},
		"webp of 2^28":             {"too large", text(webp(1<<14, 1<<14, oneColour...))},
		"webp that ends early":     {"truncated", text(webp(1<<11, 1<<11, 0xff))},
		"png of noise":             {"bad.png", text("\x89PNG\r\n\x1a\n" + strings.Repeat("\xff", 1<<20))},
		"png of a long chunk":      {"bad.png", text(encoded("png")[:33] + "\xff\xff\xff\xffIDAT")},
		"tiff of many directories": {"bad.tiff", text("II*\x00\x08\x00\x00\x00\xff\xff" + strings.Repeat("\x00\x01\x04\x00\xff\xff\xff\xff\x08\x00\x00\x00", 1<<16))},
		"jpg of segments alone":    {"bad.jpg", text("\xff\xd8" + strings.Repeat("\xff\xe1\x00\x02", 1<<20))},
		"png of 10 MB of zeros":    {"bad.png", text(strings.Repeat("\x00", 10<<20))},
	}
	for _, format := range []string{"jpg", "png", "gif", "bmp", "tiff"} {
		whole := encoded(format)
		says := "says 14000x14000 pixels in"
		if format == "tiff" {
			says = "1 strips or tiles, 219 expected" // its strips are counted first
		}
		out[format+" of 14000x14000"] = made{says, text(sizedAs(format, whole, 14000))}
		if format == "png" || format == "bmp" || format == "tiff" {
			out[format+" of 2^60"] = made{"bad." + format, text(sizedAs(format, whole, 1<<30))}
		}
		if format != "gif" { // whose pictures may be smaller than their screen
			out[format+" of 1448x1448"] = made{"bad." + format, text(sizedAs(format, whole, 1448))} // which so many bytes might hold
		}
		for _, percent := range []int{1, 20, 50, 90} {
			out[fmt.Sprintf("%s cut at %d %%", format, percent)] = made{"bad." + format, text(whole[:len(whole)*percent/100])}
		}
	}
	return out
}

// longHeads are good pictures behind large or senseless EXIF data, which nothing
// reads.
func longHeads() map[string]func() string {
	rest := encoded("jpg")[2:]
	exif := func(data string) string {
		return "\xff\xe1" + string(binary.BigEndian.AppendUint16(nil, uint16(len(data)+8))) + "Exif\x00\x00" + data
	}
	circle := "II*\x00\x08\x00\x00\x00\x01\x00\x69\x87\x04\x00\x01\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00\x00"
	return map[string]func() string{
		"EXIF in a circle": text("\xff\xd8" + exif(circle) + rest),
		"EXIF of 2^32":     text("\xff\xd8" + exif(strings.Replace(circle, "\x01\x00\x00\x00", "\xff\xff\xff\xff", 1)) + rest),
		"16 MB of EXIF":    func() string { return "\xff\xd8" + strings.Repeat(exif(strings.Repeat("x", 65000)), 256) + rest },
	}
}
