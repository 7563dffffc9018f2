package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"image/png"
)

// A photograph has at least so many pixels and more than so many colours. As PNG
// it would take three to five times as many bytes, and ten times as long.
const (
	photographPixels  = 64 * 64
	photographColours = 256
)

type drawnSheet struct {
	Caption string
	Columns []string
	Rows    []drawnRow
}

type drawnRow struct {
	Label  string
	Images []drawnImage
}

type drawnImage struct {
	URI           template.URL // empty: no picture here
	Alt           string
	Note          string
	Width, Height int
	Small         bool // to be enlarged without smoothing
}

// draw draws the sheet of a section of that title.
func (s Sheet) draw(title string) (drawnSheet, error) {
	out := drawnSheet{Caption: s.Caption, Columns: s.Columns}
	for _, row := range s.Rows {
		if len(row.Images) != len(s.Columns) || row.Notes != nil && len(row.Notes) != len(s.Columns) {
			return out, fmt.Errorf("report: sheet %q, row %q: found %d pictures and %d notes, want %d of each",
				title, row.Label, len(row.Images), len(row.Notes), len(s.Columns))
		}
		drawn := drawnRow{Label: row.Label}
		for i, img := range row.Images {
			cell := drawnImage{Alt: s.Columns[i] + ": " + row.Label}
			if row.Notes != nil {
				cell.Note = row.Notes[i].Text
			}
			if img != nil {
				uri, err := dataURI(img)
				if err != nil {
					return out, fmt.Errorf("report: sheet %q, row %q, %s: %w", title, row.Label, s.Columns[i], err)
				}
				size := img.Bounds().Size()
				cell.URI, cell.Width, cell.Height, cell.Small = uri, size.X, size.Y, size.X < 128
			}
			drawn.Images = append(drawn.Images, cell)
		}
		out.Rows = append(out.Rows, drawn)
	}
	return out, nil
}

// dataURI encodes a photograph as JPEG, and as PNG what that would smear.
func dataURI(img image.Image) (template.URL, error) {
	var b bytes.Buffer
	kind := "image/png"
	var err error
	if photograph(img) {
		kind = "image/jpeg"
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 88})
	} else {
		err = png.Encode(&b, img)
	}
	if err != nil {
		return "", fmt.Errorf("encoding a picture as %s: %w", kind, err)
	}
	// Base64 of our own bytes: nothing in it can leave the attribute.
	return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

func photograph(img image.Image) bool {
	r := img.Bounds()
	if r.Dx()*r.Dy() < photographPixels {
		return false
	}
	colours := map[[3]uint32]bool{}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			red, green, blue, _ := img.At(x, y).RGBA()
			if colours[[3]uint32{red, green, blue}] = true; len(colours) > photographColours {
				return true
			}
		}
	}
	return false
}
