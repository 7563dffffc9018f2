package pipeline

import (
	"fmt"
	"math"
	"slices"

	"github.com/relevit/relevit/pipeline/annotations"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// annotatedDrawer paints what people have drawn.
type annotatedDrawer struct {
	set   *annotations.Set
	boxes bool
}

// newAnnotated reads the annotations, which are of some of the pictures.
func newAnnotated(o MaskOptions, pictures []sitter) (drawer, error) {
	set, err := annotations.Read(o.Annotations)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(pictures, func(s sitter) bool { return set.Of(s.relative()) != nil }) {
		return nil, &dataset.Error{Kind: dataset.ErrCount, Path: o.Annotations,
			Found:  fmt.Sprintf("none of the %d pictures in %s is annotated there; it names %s, the folder has %s", len(pictures), o.Images, set.First(), pictures[0].relative()),
			Advice: "name the folder to which its paths belong"}
	}
	return &annotatedDrawer{set, o.Method == MethodBoxes}, nil
}

func (d *annotatedDrawer) draw(s sitter, p *picture.RGB, _ [][]float32, _ [2]int) (*sketch, error) {
	out := &sketch{gap: math.NaN(), confidence: 1}
	of := d.set.Of(s.relative())
	switch {
	case of == nil || len(of.Regions) == 0:
		out.none = "not annotated"
		return out, nil
	case of.H > 0 && of.W > 0 && (of.H != p.H || of.W != p.W):
		out.none = fmt.Sprintf("the annotations are of %dx%d pixels, the picture of %dx%d (rows x columns)", of.H, of.W, p.H, p.W)
		return out, nil
	case d.boxes:
		out.mask = of.Boxes(p.H, p.W)
		return out, nil
	}
	mask, ok, err := of.Outlines(p.H, p.W)
	switch {
	case err != nil:
		out.none = err.Error()
	case !ok:
		out.none = "only boxes are annotated"
	}
	out.mask = mask
	return out, nil
}
