package pipeline

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/pipeline/picture"
)

// look opens the model, derives the features that the method wants of it, and
// returns how pictures are prepared for it.
func (o *MaskOptions) look(pictures int) (drawer, *Features, picture.Preprocess, error) {
	var none picture.Preprocess
	m, err := o.sized(o.Open.Convert.ImageSize)
	if err != nil {
		return nil, nil, none, err
	}
	if o.Method == MethodAuto && o.Open.Convert.ImageSize == [2]int{} && !likeDINO(m) {
		if m, err = o.enlarged(m); err != nil {
			return nil, nil, none, err
		}
	}
	for _, w := range m.Warnings {
		o.warn(o.Model + ": " + w)
	}
	depth, err := m.blocks()
	if err != nil {
		return nil, nil, none, err
	}
	var d drawer
	var wanted []Feature
	switch {
	case o.Method == MethodTokenCut || o.Method == MethodAuto && likeDINO(m):
		d, wanted, err = o.tokenCut(depth)
	case o.Method == MethodAuto:
		d, wanted = newAuto(depth, m.classifies())
	default:
		d, wanted = relevanceDrawer{}, []Feature{{Relevance, 0}}
	}
	if err != nil {
		return nil, nil, none, err
	}
	fg, err := m.NewFeatureGraph(int64(min(o.Batch, pictures)), wanted)
	if err != nil {
		return nil, nil, none, err
	}
	f, err := OpenFeatures(fg, o.ORT)
	if err != nil {
		return nil, nil, none, err
	}
	return d, f, wholePicture(m.Preprocess, fg.Size), nil
}

// likeDINO reports whether a model is one of those for which TokenCut was
// published: DINO's, with patches of 8 or 16 and no classifier.
func likeDINO(m *Model) bool {
	text, _ := m.Source.Meta(models.MetaArchitecture)
	a := models.Architecture{}
	return json.Unmarshal([]byte(text), &a) == nil && a.Family == "dino" && a.Classes == 0 && a.Registers == 0 && (a.Patch[0] == 8 || a.Patch[0] == 16)
}

// finestGrid is up to how many patches pictures are enlarged for MethodAuto: a
// picture of 224x224 in patches of 16 becomes 384x384. More show no finer
// objects, and cost with their square.
const finestGrid = 24 * 24

// enlarged opens the model for larger pictures, if their positions can be
// resampled; otherwise it stays as it is.
func (o *MaskOptions) enlarged(m *Model) (*Model, error) {
	found, err := models.Find(m.Graph, m.Find)
	if err == nil {
		err = found.FeaturesErr()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Model, err)
	}
	factor := math.Min(math.Sqrt(finestGrid/float64(found.Grid[0]*found.Grid[1])), 2)
	size := [2]int{}
	for i, n := range found.Grid {
		size[i] = int(math.Round(float64(n)*factor)) * int(found.Patch[i])
	}
	if factor <= 1 || size[0] == 0 || size[1] == 0 {
		return m, nil
	}
	larger, err := o.sized(size)
	if err != nil {
		o.warn(fmt.Sprintf("masks are coarser than they could be: %v", err))
		return m, nil
	}
	return larger, nil
}

// sized opens the model for pictures of a size. Positions of a checkpoint are
// resampled, and those of a graph for another size where they are found.
func (o *MaskOptions) sized(size [2]int) (*Model, error) {
	open := o.Open
	open.Convert.ImageSize = size
	m, err := OpenModel(o.Model, open)
	if err != nil || size == [2]int{} {
		return m, err
	}
	found, err := models.Find(m.Graph, m.Find)
	if err == nil {
		err = found.FeaturesErr()
	}
	want := [2]int64{int64(size[0]), int64(size[1])}
	if err == nil && [2]int64(found.Image.Shape[2:].Ints()) != want {
		err = models.ResizePicture(m.Graph, found, m.Find, want)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Model, err)
	}
	return m, nil
}

// tokenCut reads the method's own options.
func (o *MaskOptions) tokenCut(depth int) (drawer, []Feature, error) {
	kind, blocks := o.Features, o.Blocks
	if kind == "" {
		kind = Keys
	}
	if len(blocks) == 0 {
		blocks = []int{-1}
	}
	var wanted []Feature
	for _, n := range blocks {
		at := n
		if n < 0 {
			at = depth + n
		}
		if at < 0 || at >= depth {
			return nil, nil, &models.Error{Usage: true, Path: o.Model, Problem: fmt.Sprintf("block %d isn't there: the model has the blocks 0 to %d, or -%d to -1 counted from the last", n, depth-1, depth)}
		}
		wanted = append(wanted, Feature{kind, at})
	}
	return tokenCutDrawer{tau: o.Tau}, wanted, nil
}
