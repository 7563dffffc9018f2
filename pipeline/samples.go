package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// The sheets of a run.
const (
	sheetGain  = "gain"  // held-out pictures with the largest gain of relevance on the foreground
	sheetLoss  = "loss"  // and with the largest loss
	sheetFirst = "first" // the first held-out pictures
)

// SampleFile is a picture with its mask and its relevance before and after, in a
// run's samples.
type SampleFile struct {
	File    string `json:"file"`
	Sheet   string `json:"sheet"`
	Picture string `json:"picture"`
	Before  Number `json:"before"` // share of the relevance on the foreground; NaN where there is none
	After   Number `json:"after"`
}

// sampleRow is a SampleFile in the making.
type sampleRow struct {
	SampleFile
	original, mask *picture.RGB
	before, after  *picture.RGB
}

// overlayOpacity shows the map and lets the picture through.
const overlayOpacity = 0.6

// samplePanels are the columns of a sheet.
var samplePanels = []string{"original", "mask", "relevance before", "relevance after"}

// errSheetFull ends an evaluation that has met all pictures of the sheets.
var errSheetFull = errors.New("the sheets are full")

// sheets draws the pictures of the sheets with the relevance that the present
// parameters give them, and then with that of the original ones, which stay in
// use, and writes a PNG for each into the run's samples.
func (t *trainer) sheets(ctx context.Context, pictures []HeldOut) ([]SampleFile, error) {
	if t.cfg.SheetImages == 0 {
		return nil, nil
	}
	gains, losses := extremes(pictures, (t.cfg.SheetImages+1)/2)
	var list []dataset.Sample
	for _, i := range slices.Concat(gains, losses) {
		list = append(list, t.validation[i])
	}
	l, err := dataset.NewLoader(append(list, t.sheetPictures()...), t.check)
	if err != nil {
		return nil, err
	}
	most := len(list) + t.cfg.SheetImages
	var rows []sampleRow
	err = t.eachOf(ctx, l, most, func(p Evaluated) error {
		i := p.Sample
		row := sampleRow{SampleFile: SampleFile{Sheet: sheetFirst}}
		place := i - len(list)
		switch {
		case i < len(gains):
			row.Sheet, place = sheetGain, i
		case i < len(list):
			row.Sheet, place = sheetLoss, i-len(gains)
		}
		if row.Sheet == sheetFirst {
			place = len(rows) - len(list)
			row.Picture = sampleName(t.sheetPictures()[i-len(list)])
			row.File = fmt.Sprintf("%03d_%s.png", place, row.Picture)
		} else {
			row.Picture = sampleName(list[i])
			row.File = fmt.Sprintf("%s_%03d_%s.png", row.Sheet, place, row.Picture)
		}
		row.After = judged(p).Share
		var err error
		if row.original, err = picture.FromTensor(p.Image, t.preprocess); err != nil {
			return err
		}
		row.mask = t.gray(p.Mask).RGB()
		row.after, err = picture.Overlay(row.original, t.gray(p.Map), overlayOpacity)
		rows = append(rows, row)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := t.useOriginal(); err != nil {
		return nil, err
	}
	i := 0
	err = t.eachOf(ctx, l, len(rows), func(p Evaluated) (err error) {
		row := &rows[i]
		i++
		row.Before = judged(p).Share
		row.before, err = picture.Overlay(row.original, t.gray(p.Map), overlayOpacity)
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []SampleFile
	for _, row := range rows {
		var panels []picture.Panel
		for i, p := range []*picture.RGB{row.original, row.mask, row.before, row.after} {
			panels = append(panels, picture.Panel{Picture: p, Label: samplePanels[i]})
		}
		sheet, err := picture.Sheet(panels)
		if err != nil {
			return nil, err
		}
		if err := sheet.SavePNG(t.run.Sample(row.File)); err != nil {
			return nil, err
		}
		out = append(out, row.SampleFile)
	}
	return out, nil
}

// eachOf evaluates the first pictures of a loader that can be decoded, at most
// as many.
func (t *trainer) eachOf(ctx context.Context, l *dataset.Loader, most int, f func(Evaluated) error) error {
	n := 0
	err := t.evaluator.Each(ctx, l, func(p Evaluated) error {
		if n == most {
			return errSheetFull
		}
		n++
		return f(p)
	})
	if errors.Is(err, errSheetFull) {
		return nil
	}
	return err
}

// extremes are the pictures whose relevance on the foreground grew most, and
// those where it fell most, at most so many of each, the largest change first.
func extremes(pictures []HeldOut, most int) (gains, losses []int) {
	change := func(i int) float64 { return float64(pictures[i].After.Share - pictures[i].Before.Share) }
	var known []int
	for i, p := range pictures {
		if p.Before != nil && p.After != nil && change(i) == change(i) {
			known = append(known, i)
		}
	}
	slices.SortStableFunc(known, func(a, b int) int { return cmp.Compare(change(b), change(a)) })
	for _, i := range known[:min(most, len(known))] {
		if change(i) > 0 {
			gains = append(gains, i)
		}
	}
	slices.Reverse(known)
	for _, i := range known[:min(most, len(known))] {
		if change(i) < 0 {
			losses = append(losses, i)
		}
	}
	return gains, losses
}

// gray copies values (H,W) into a picture.
func (t *trainer) gray(v []float32) *picture.Gray {
	g := picture.NewGray(t.evaluator.size[1], t.evaluator.size[0])
	copy(g.Pix, v)
	return g
}

// sampleName is a picture's file name without its extension.
func sampleName(s dataset.Sample) string {
	base := filepath.Base(s.ImagePath)
	return strings.TrimSuffix(base, filepath.Ext(base))
}
