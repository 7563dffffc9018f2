package pipeline

import (
	"context"
	"errors"
	"fmt"
	"image"
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
	"github.com/relevit/relevit/pipeline/report"
)

// sampleSheet holds pictures with their relevance before training, to set that
// after training beside it.
type sampleSheet struct {
	rows []sampleRow
}

type sampleRow struct {
	name           string
	original, mask *picture.RGB
	before, after  *picture.RGB
	shares         [2]float64 // of the relevance on the foreground, before and after
}

// overlayOpacity shows the map and lets the picture through.
const overlayOpacity = 0.6

// errSheetFull ends an evaluation that has met all pictures of the sheet.
var errSheetFull = errors.New("the sheet is full")

// sheetPictures are those from which the sheet is made: the first held-out
// ones, as many as are asked for, that can be decoded.
func (t *trainer) sheetPictures() []dataset.Sample {
	if len(t.validation) > 0 {
		return t.validation
	}
	return t.train
}

func (t *trainer) openSampler(o dataset.Options) (err error) {
	if t.cfg.SheetImages > 0 {
		t.sampler, err = dataset.NewLoader(t.sheetPictures(), o)
	}
	return err
}

// newSheet draws the pictures with the relevance that the present parameters give.
func (t *trainer) newSheet(ctx context.Context) (*sampleSheet, error) {
	s := &sampleSheet{}
	if t.sampler == nil {
		return s, nil
	}
	err := t.evaluator.Each(ctx, t.sampler, func(p Evaluated) error {
		row := sampleRow{name: sampleName(t.sheetPictures()[p.Sample])}
		var err error
		if row.original, err = picture.FromTensor(p.Image, t.preprocess); err != nil {
			return err
		}
		row.mask = t.gray(p.Mask).RGB()
		if row.before, err = picture.Overlay(row.original, t.gray(p.Map), overlayOpacity); err != nil {
			return err
		}
		row.shares[0], _, _ = overlap(p.Map, p.Mask)
		if s.rows = append(s.rows, row); len(s.rows) == t.cfg.SheetImages {
			return errSheetFull
		}
		return nil
	})
	if errors.Is(err, errSheetFull) {
		err = nil
	}
	return s, err
}

// completeSheet adds the relevance that the present parameters give, and writes a
// PNG for every picture into the run's samples.
func (t *trainer) completeSheet(ctx context.Context, s *sampleSheet) error {
	if t.sampler == nil {
		return nil
	}
	i := 0
	err := t.evaluator.Each(ctx, t.sampler, func(p Evaluated) (err error) {
		row := &s.rows[i]
		row.shares[1], _, _ = overlap(p.Map, p.Mask)
		if row.after, err = picture.Overlay(row.original, t.gray(p.Map), overlayOpacity); err != nil {
			return err
		}
		if i++; i == len(s.rows) {
			return errSheetFull
		}
		return nil
	})
	if err != nil && !errors.Is(err, errSheetFull) {
		return err
	}
	for i, row := range s.rows {
		sheet, err := picture.Sheet([]picture.Panel{{Picture: row.original, Label: "original"}, {Picture: row.mask, Label: "mask"},
			{Picture: row.before, Label: "relevance before"}, {Picture: row.after, Label: "relevance after"}})
		if err != nil {
			return err
		}
		if err := sheet.SavePNG(t.run.Sample(fmt.Sprintf("%03d_%s.png", i, row.name))); err != nil {
			return explainFull(err)
		}
	}
	return nil
}

// gray copies values (H,W) into a picture.
func (t *trainer) gray(v []float32) *picture.Gray {
	g := picture.NewGray(t.evaluator.size[1], t.evaluator.size[0])
	copy(g.Pix, v)
	return g
}

// page is the sheet for the report.
func (s *sampleSheet) page() report.Sheet {
	out := report.Sheet{Title: "Relevance before and after", Caption: "Held-out pictures; the share of the relevance that lies on the foreground stands below.",
		Columns: []string{"original", "mask", "before", "after"}}
	for _, row := range s.rows {
		share := func(i int) string { return fmt.Sprintf("%.0f %% on the foreground", 100*row.shares[i]) }
		out.Rows = append(out.Rows, report.SheetRow{Label: row.name, Images: []image.Image{row.original, row.mask, row.before, row.after},
			Notes: []string{"", "", share(0), share(1)}})
	}
	return out
}

// sampleName is a picture's file name without its extension.
func sampleName(s dataset.Sample) string {
	base := filepath.Base(s.ImagePath)
	return strings.TrimSuffix(base, filepath.Ext(base))
}
