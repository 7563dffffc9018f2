package pipeline

import (
	"fmt"

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

// sheet sets a picture and its overlays side by side, a row for each target: by
// all methods of one model, or, a row for each method, before and after.
func (r *explaining) sheet(original *picture.RGB, panels []panel) (*picture.RGB, error) {
	methods := len(r.opt.Maps.Methods)
	aims := len(panels) / methods / len(r.models)
	// at is a panel, as the maps of a portrait are ordered.
	at := func(model, aim, method int) panel { return panels[(model*aims+aim)*methods+method] }
	var rows []*picture.RGB
	add := func(list []panel) error {
		cells := []picture.Panel{{Picture: enlarged(original), Label: "original"}}
		for _, p := range list {
			cells = append(cells, picture.Panel{Picture: enlarged(p.overlay), Label: r.label(p)})
		}
		row, err := picture.Sheet(cells)
		rows = append(rows, row)
		return err
	}
	for aim := range aims {
		if len(r.models) == 1 {
			list := make([]panel, methods)
			for i := range list {
				list[i] = at(0, aim, i)
			}
			if err := add(list); err != nil {
				return nil, err
			}
			continue
		}
		for method := range methods {
			if err := add([]panel{at(0, aim, method), at(1, aim, method)}); err != nil {
				return nil, err
			}
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
