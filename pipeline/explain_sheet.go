package pipeline

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/pipeline/picture"
)

// panel is an overlay on its way to a sheet.
type panel struct {
	portrayal
	overlay *picture.RGB
	target  ScoredClass
}

// sheetSide is the least that a picture's shorter side has on a sheet: smaller
// ones are enlarged by a whole factor, so that labels have room.
const sheetSide = 192

// sheetColumns is up to how many pictures stand side by side.
const sheetColumns = 5

// sheet sets a picture and its overlays side by side, from a new row on for each
// target: by all methods of one model, or, a row for each method, before and
// after.
func (r *explaining) sheet(original *picture.RGB, panels []panel) (*picture.RGB, error) {
	methods := len(r.opt.Maps.Methods)
	aims := len(panels) / methods / len(r.models)
	// at is a panel, as the maps of a portrait are ordered.
	at := func(model, aim, method int) panel { return panels[(model*aims+aim)*methods+method] }
	var rows []*picture.RGB
	add := func(list ...panel) error {
		cells := []picture.Panel{{Picture: enlarged(original), Label: "original"}}
		for _, p := range list {
			cells = append(cells, picture.Panel{Picture: enlarged(p.overlay), Label: r.label(p)})
		}
		for row := range slices.Chunk(cells, sheetColumns) {
			sheet, err := picture.Sheet(row)
			if err != nil {
				return err
			}
			rows = append(rows, sheet)
		}
		return nil
	}
	for aim := range aims {
		var err error
		if len(r.models) == 1 {
			err = add(panels[aim*methods:][:methods]...)
		}
		for method := 0; method < methods && len(r.models) > 1 && err == nil; method++ {
			err = add(at(0, aim, method), at(1, aim, method))
		}
		if err != nil {
			return nil, err
		}
	}
	return picture.Stack(rows)
}

// label tells what a panel shows.
func (r *explaining) label(p panel) string {
	text := p.method
	if len(r.models) > 1 {
		text = []string{"before", "after"}[p.model]
		if len(r.opt.Maps.Methods) > 1 {
			text += " " + p.method
		}
	}
	if r.models[p.model].targets.scalar {
		return text
	}
	name := p.target.Name
	if name == "" {
		name = fmt.Sprint("class ", p.target.Class)
	}
	return fmt.Sprintf("%s: %.0f%% %s", text, 100*p.target.Probability, name)
}

// enlarged repeats the pixels of a small picture.
func enlarged(p *picture.RGB) *picture.RGB {
	factor := (sheetSide + min(p.W, p.H) - 1) / min(p.W, p.H)
	if factor < 2 {
		return p
	}
	out := picture.NewRGB(factor*p.W, factor*p.H)
	for i := range out.W * out.H {
		x, y := i%out.W/factor, i/out.W/factor
		copy(out.Pix[3*i:3*i+3], p.Pix[3*(y*p.W+x):])
	}
	return out
}
