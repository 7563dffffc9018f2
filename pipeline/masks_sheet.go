package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"io"
	"path/filepath"
	"slices"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/pipeline/picture"
	"github.com/relevit/relevit/pipeline/report"
	"github.com/relevit/relevit/pipeline/tokencut"
)

// The contact sheet shows at most so many pictures, the least certain first,
// each so many pixels high.
const (
	sheetPictures = 200
	sheetHeight   = 96
)

// writeSheet writes masks.html.
func (l *maskLog) writeSheet(images string, sitters []sitter, sum *MaskSummary) error {
	var records []MaskRecord
	for _, s := range sitters {
		if r, ok := l.records[s.relative()]; ok {
			records = append(records, r)
		}
	}
	slices.SortStableFunc(records, func(a, b MaskRecord) int {
		switch {
		case a.Confidence < b.Confidence:
			return -1
		case a.Confidence > b.Confidence:
			return 1
		}
		return 0
	})
	page := report.Page{Title: "Masks", Lead: fmt.Sprintf("%d of %d pictures have a mask by method %s; %d are dropped, %d can't be read.",
		sum.Kept, sum.Pictures, sum.Method, len(sum.Dropped), len(sum.Unreadable))}
	faults := func(title string, rows [][]report.Cell) {
		if len(rows) > 0 {
			page.Sections = append(page.Sections, report.Section{Title: title, Tables: []report.Table{{Columns: []string{"Picture", "Reason"}, Rows: rows}}})
		}
	}
	var unreadable, dropped [][]report.Cell
	for _, u := range sum.Unreadable {
		unreadable = append(unreadable, report.Texts(u.Picture, u.Reason))
	}
	for _, d := range sum.Dropped {
		dropped = append(dropped, report.Texts(d.Picture, d.Why))
	}
	faults("Unreadable pictures", unreadable)
	faults("Dropped masks", dropped)
	pictures := report.Section{Title: "Pictures"}
	if len(records) > sheetPictures {
		pictures.Text = append(pictures.Text, fmt.Sprintf("The sheet shows %d of %d pictures, those with the lowest confidence; masks.jsonl lists all.", sheetPictures, len(records)))
		records = records[:sheetPictures]
	}
	sheet := report.Sheet{Caption: "The least certain first.", Columns: []string{"picture", "coarse", "mask"}}
	rows := make([]*report.SheetRow, len(records))
	w := newWriters()
	for i, r := range records {
		w.add(func() (err error) {
			rows[i], err = l.row(images, r)
			return err
		})
	}
	if err := w.close(); err != nil {
		return err
	}
	for _, row := range rows {
		if row != nil {
			sheet.Rows = append(sheet.Rows, *row)
		}
	}
	if len(sheet.Rows) > 0 {
		pictures.Sheets = []report.Sheet{sheet}
	}
	page.Sections = append(page.Sections, pictures)
	return atomic.Write(filepath.Join(l.dir, maskSheetName), func(w io.Writer) error { return report.Write(w, page) })
}

// row is one picture of the sheet, nil where the picture can't be read any more.
func (l *maskLog) row(images string, r MaskRecord) (*report.SheetRow, error) {
	p, err := picture.ReadFile(filepath.Join(images, filepath.FromSlash(r.File)))
	if err != nil {
		return nil, nil
	}
	w := max(1, min(p.W*sheetHeight/p.H, 4*sheetHeight))
	small, err := picture.Resize(p, w, sheetHeight, picture.Bilinear)
	if err != nil {
		return nil, err
	}
	row := &report.SheetRow{Label: r.File, Images: []image.Image{small, nil, nil}, Notes: report.Texts("", "", fmt.Sprintf("confidence %.2f, area %.0f %%", r.Confidence, 100*r.Area))}
	if r.Dropped != "" {
		row.Notes[2].Text = "dropped: " + r.Dropped
	}
	if r.Coarse != nil {
		if mask := r.Coarse.mask(); mask != nil {
			row.Images[1] = dim(small, tokencut.UpscaleNearest(mask, r.Coarse.Rows, r.Coarse.Columns, small.H, small.W))
		}
	}
	if r.Mask != "" {
		gray, err := picture.ReadMask(filepath.Join(l.dir, filepath.FromSlash(r.Mask)), picture.MaskOptions{Encoding: picture.Binary})
		if err != nil {
			return nil, err
		}
		gray = gray.ResizeNearest(small.W, small.H)
		inside := make([]bool, len(gray.Pix))
		for i, v := range gray.Pix {
			inside[i] = v > 0.5
		}
		row.Images[2] = dim(small, inside)
	}
	return row, nil
}

// dim darkens what isn't in a mask.
func dim(p *picture.RGB, mask []bool) *picture.RGB {
	out := picture.NewRGB(p.W, p.H)
	for i, in := range mask {
		for c := range 3 {
			v := p.Pix[3*i+c]
			if !in {
				v /= 5
			}
			out.Pix[3*i+c] = v
		}
	}
	return out
}

func textSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
