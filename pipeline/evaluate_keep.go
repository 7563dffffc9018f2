package pipeline

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/pipeline/background"
	"github.com/relevit/relevit/pipeline/picture"
)

// keeper writes pasted pictures as SI-Score lies: FACTOR/CLASS/NUMBER.png, and
// FACTOR/metadata.csv with what was varied.
type keeper struct {
	dir     string
	folders []string // of each object's class
	sources []string // of each object: the picture that it was cut out of
	at      []background.Placement
}

// keepable checks that pictures can be kept where they are to be: in a folder
// that is empty, not there yet or of an evaluation that goes on, under labels
// that hold for every model.
func (r *evaluating) keepable() error {
	if r.opt.Keep == "" {
		return nil
	}
	there, err := os.ReadDir(r.opt.Keep)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("keeping pictures in %s: %w", r.opt.Keep, err)
	case len(there) > 0 && !r.log.begun():
		return &ExistsError{Path: r.opt.Keep, Advice: "keep pictures in an empty or a new folder"}
	case r.set.Unlabelled && len(r.contenders) > 1:
		return &configs.Error{Key: "keep", Msg: "the pictures have no labels but each model's own, so they can't be kept for several models: evaluate one"}
	}
	return nil
}

// newKeeper makes the folders.
func (r *evaluating) newKeeper(s *synthesis) (*keeper, error) {
	k := &keeper{dir: r.opt.Keep, at: s.placements}
	for _, sample := range s.samples {
		folder := r.keptClass(sample)
		k.folders, k.sources = append(k.folders, folder), append(k.sources, r.set.Samples[sample].ID)
		for _, at := range k.at {
			if err := os.MkdirAll(filepath.Join(k.dir, at.Factor, folder), 0o777); err != nil {
				return nil, fmt.Errorf("keeping pictures in %s: %w", k.dir, err)
			}
		}
	}
	return k, nil
}

// keptClass is the folder of a sample's class: its name, if it is one of
// ImageNet's or SI-Score's, or the model's class index.
func (r *evaluating) keptClass(sample int) string {
	switch {
	case r.set.Unlabelled:
		return strconv.Itoa(r.contenders[0].said(sample).predicted)
	case r.set.Classed > 0:
		return r.set.Classes[r.set.ClassOf[sample]].Name
	}
	return strconv.Itoa(r.set.Classes[r.set.ClassOf[sample]].Targets[0])
}

// keep writes an object's picture at a placement.
func (k *keeper) keep(object, placement int, p *picture.RGB) error {
	return p.SavePNG(filepath.Join(k.dir, k.at[placement].Factor, k.folders[object], strconv.Itoa(k.number(object, placement))+".png"))
}

func (k *keeper) number(object, placement int) int { return object*len(k.at) + placement }

// finish lists the pictures of the objects that were pasted, with SI-Score's
// names for the columns.
func (k *keeper) finish(made map[int]bool) error {
	for first := 0; first < len(k.at); {
		factor, last := k.at[first].Factor, first
		for last < len(k.at) && k.at[last].Factor == factor {
			last++
		}
		err := atomic.Write(filepath.Join(k.dir, factor, "metadata.csv"), func(w io.Writer) error {
			out := csv.NewWriter(w)
			out.Write([]string{"image_id", "x_coord", "y_coord", "area", "rotation", "foreground_class", "foreground_instance"})
			for object, folder := range k.folders {
				for n := first; made[object] && n < last; n++ {
					at := k.at[n]
					line := []string{strconv.Itoa(k.number(object, n))}
					for _, v := range []float64{at.X, at.Y, at.Area, at.Degrees} {
						line = append(line, strconv.FormatFloat(v, 'g', -1, 64))
					}
					out.Write(append(line, folder, k.sources[object]))
				}
			}
			out.Flush()
			return out.Error()
		})
		if err != nil {
			return err
		}
		first = last
	}
	return nil
}
