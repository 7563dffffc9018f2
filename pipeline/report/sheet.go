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

// largePNG is the size in bytes from which a picture is tried as JPEG: a sheet
// of photographs as PNG would make a page of many megabytes.
const largePNG = 8 << 10

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

// dataURI encodes a picture as PNG, or as JPEG where that is much smaller.
func dataURI(img image.Image) (template.URL, error) {
	var b bytes.Buffer
	kind := "image/png"
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	if err := enc.Encode(&b, img); err != nil {
		return "", fmt.Errorf("encoding a picture as PNG: %w", err)
	}
	if b.Len() > largePNG {
		var j bytes.Buffer
		if err := jpeg.Encode(&j, img, &jpeg.Options{Quality: 88}); err != nil {
			return "", fmt.Errorf("encoding a picture as JPEG: %w", err)
		}
		if 2*j.Len() < b.Len() {
			b, kind = j, "image/jpeg"
		}
	}
	// Base64 of our own bytes: nothing in it can leave the attribute.
	return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}
