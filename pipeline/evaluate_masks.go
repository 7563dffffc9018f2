package pipeline

import (
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/configs"
)

// pairMasks finds each picture's mask where one is needed.
func (r *evaluating) pairMasks() error {
	if !r.opt.measures(MeasureBackground) && !r.opt.Synthesize {
		return nil
	}
	for i := range r.set.Samples {
		s := &r.set.Samples[i]
		if r.opt.Masks != "" {
			s.MaskPath = filepath.Join(r.opt.Masks, filepath.FromSlash(strings.TrimSuffix(s.ID, filepath.Ext(s.ID))+".png"))
		}
		if s.MaskPath == "" {
			return &configs.Error{Key: "masks", Msg: "what is behind objects is measured by their masks: state their folder by --masks"}
		}
	}
	return nil
}
