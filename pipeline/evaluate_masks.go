package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/pipeline/dataset"
)

// pairMasks finds the pictures' masks in the folder that is stated: CLASS/NAME.png
// for CLASS/NAME.jpg. Pictures may lack one, but not all.
func (r *evaluating) pairMasks() error {
	if r.opt.Masks == "" {
		return nil
	}
	if r.set.Read != nil {
		return &configs.Error{Key: "masks", Msg: r.opt.Data + " has masks of its own; leave the folder out"}
	}
	found, example := 0, ""
	for i := range r.set.Samples {
		s := &r.set.Samples[i]
		name := filepath.FromSlash(strings.TrimSuffix(s.ID, filepath.Ext(s.ID)) + ".png")
		if s.MaskPath = ""; !filepath.IsLocal(name) {
			continue
		}
		path := filepath.Join(r.opt.Masks, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			s.MaskPath = path
			found++
		} else if example == "" {
			example = path
		}
	}
	switch n := len(r.set.Samples); {
	case found == 0:
		return &dataset.Error{Kind: dataset.ErrMissing, Path: r.opt.Masks, Found: fmt.Sprintf("no mask for any of the %d pictures, such as %s", n, example),
			Advice: "masks have the folders and names of their pictures, and end in .png"}
	case found < n && r.opt.OnWarning != nil:
		r.opt.OnWarning(fmt.Sprintf("%d of %d pictures have no mask, such as %s: they count for accuracy alone", n-found, n, example))
	}
	return nil
}

// masked says whether any picture has a mask.
func (r *evaluating) masked() bool {
	for _, s := range r.set.Samples {
		if s.MaskPath != "" {
			return true
		}
	}
	return false
}
