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

// newKeeper makes the folders, in one that is empty or not there yet.
func (r *evaluating) newKeeper(s *synthesis) (*keeper, error) {
	k := &keeper{dir: r.opt.Keep, at: s.placements}
	there, err := os.ReadDir(k.dir)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("keeping pictures in %s: %w", k.dir, err)
	case len(there) > 0:
		return nil, &ExistsError{Path: k.dir, Advice: "keep pictures in an empty or a new folder"}
	}
	for _, sample := range s.samples {
		folder, err := r.keptClass(sample)
		if err != nil {
			return nil, err
		}
		k.folders, k.sources = append(k.folders, folder), append(k.sources, r.set.Samples[sample].ID)
		for _, at := range k.at {
			if err := os.MkdirAll(filepath.Join(k.dir, at.Factor, folder), 0o777); err != nil {
				return nil, fmt.Errorf("keeping pictures in %s: %w", k.dir, explainFull(err))
			}
		}
	}
	return k, nil
}

// keptClass is the folder of a sample's class: its name, if it is one of
// ImageNet's or SI-Score's, or the model's class index.
func (r *evaluating) keptClass(sample int) (string, error) {
	if r.set.Classed > 0 {
		return r.set.Classes[r.set.ClassOf[sample]].Name, nil
	}
	return strconv.Itoa(r.set.Classes[r.set.ClassOf[sample]].Targets[0]), nil
}

// keep writes an object's picture at a placement.
func (k *keeper) keep(object, placement int, p *picture.RGB) error {
	return explainFull(p.SavePNG(filepath.Join(k.dir, k.at[placement].Factor, k.folders[object], strconv.Itoa(k.number(object, placement))+".png")))
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
		err := WriteFile(filepath.Join(k.dir, factor, "metadata.csv"), func(w io.Writer) error {
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
