package pipeline

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/pipeline/picture"
)

// view is a model's look at whole pictures, squashed to one size.
type view struct {
	*Features
	whole picture.Preprocess
}

// look opens the model and derives the features that the method wants of it.
// Where pictures are cut at a larger size than the model's own, the evidence,
// whose gradients would cost most there, comes from a second view at its own.
func (o *MaskOptions) look(pictures int) (d drawer, views []view, err error) {
	m, err := o.sized(o.Open.Convert.ImageSize)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range m.Warnings {
		o.warn(o.Model + ": " + w)
	}
	depth, err := m.blocks()
	if err != nil {
		return nil, nil, err
	}
	var wanted, evidence []Feature
	larger := m
	switch {
	case o.Method == MethodTokenCut || o.Method == MethodAuto && likeDINO(m):
		d, wanted, err = o.tokenCut(depth)
	case o.Method == MethodAuto:
		d, wanted, evidence = newAuto(depth, m.classifies())
		if o.Open.Convert.ImageSize == [2]int{} {
			larger, err = o.enlarged(m)
		}
	default:
		d, wanted = relevanceDrawer{}, []Feature{{Relevance, 0}}
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			closeViews(views)
		}
	}()
	add := func(m *Model, batch int, wanted []Feature) error {
		fg, err := m.NewFeatureGraph(int64(batch), wanted)
		if err != nil {
			return err
		}
		f, err := OpenFeatures(fg, o.ORT)
		if err == nil {
			views = append(views, view{f, wholePicture(m.Preprocess, fg.Size)})
		}
		return err
	}
	batch := min(o.Batch, pictures)
	if larger == m {
		return d, views, add(m, batch, append(wanted, evidence...))
	}
	if err = add(larger, batch, wanted); err == nil {
		err = add(m, views[0].Batch, evidence)
	}
	return d, views, err
}

func closeViews(views []view) {
	for _, v := range views {
		v.Close()
	}
}

// seen gathers what the views say of one picture of the batch; maps (P) of
// another grid than the first view's are interpolated to it.
func seen(views []view, i int) [][]float32 {
	found, grid := views[0].Of(i), views[0].Grid
	for _, v := range views[1:] {
		for _, m := range v.Of(i) {
			found = append(found, (&picture.Gray{W: v.Grid[1], H: v.Grid[0], Pix: m}).Resize(grid[1], grid[0]).Pix)
		}
	}
	return found
}

// likeDINO reports whether a model is one of those for which TokenCut was
// published: DINO's, with patches of 8 or 16 and no classifier.
func likeDINO(m *Model) bool {
	text, _ := m.Source.Meta(models.MetaArchitecture)
	a := models.Architecture{}
	return json.Unmarshal([]byte(text), &a) == nil && a.Family == "dino" && a.Classes == 0 && a.Registers == 0 && (a.Patch[0] == 8 || a.Patch[0] == 16)
}

// finestGrid is up to how many patches pictures are enlarged for MethodAuto: a
// picture of 224x224 in patches of 16 becomes 320x320. More show no finer
// objects, and cost with their square.
const finestGrid = 20 * 20

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
