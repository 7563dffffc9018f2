package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort"
)

// Mapper computes maps of pictures by several methods of one model.
type Mapper struct {
	Batch   int
	Size    [2]int // rows, columns of the image
	Classes int
	Methods []string

	own    *explainer   // of a model with relevance; the others are nil then
	graph  *ort.Session // logits and the maps of one backward pass
	image  *ort.Buffer  // (B,3,H,W)
	target *ort.Buffer  // (B)
	logits *ort.Buffer  // (B,C)
	slopes *slopes      // nil where no method needs it

	baseline []float32            // (C): logits of the integrated gradients' baseline
	outputs  []*ort.Buffer        // of the graph: (B,1,H,W)
	maps     map[string][]float32 // by method: (B,H,W); views, but of methods over variations
	scores   []float32            // (B,C)
	missed   []float64            // (B): see Incompleteness
}

// NewMapper derives the graphs and opens their sessions. A model of fixed batch
// size is run at that size, any other at the given one.
func NewMapper(m *Model, batch int, o MapOptions, opt ort.Options) (*Mapper, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	x := &Mapper{Methods: o.Methods, Size: m.Preprocess.Size, maps: map[string][]float32{}}
	if err := x.open(m, batch, o, opt); err != nil {
		x.Close()
		return nil, err
	}
	return x, nil
}

func (x *Mapper) open(m *Model, batch int, o MapOptions, opt ort.Options) error {
	_, own := RelevanceOf(m.Source)
	if own {
		return x.openOwn(m, batch, o, opt)
	}
	// Relevance alone comes from the very graph that export --with-relevance writes, and
	// no graph of maps has operators of our own: maps would differ by more than 1e-5.
	if slices.Equal(o.Methods, []string{MethodRelevance}) && o.Heads == gradients.MeanHeads {
		return x.openOwn(m, batch, o, opt)
	}
	g, err := m.mapGraph(int64(batch), o)
	if err != nil {
		return err
	}
	if x.graph, err = openGraph(g, opt); err != nil {
		return err
	}
	shape := g.Inputs[0].Shape
	x.Batch, x.Size = int(shape[0].N), [2]int{int(shape[2].N), int(shape[3].N)}
	for _, v := range slices.Concat(g.Inputs, g.Outputs) {
		if v.Data != nil { // an input with a default
			continue
		}
		b, err := newBound(x.graph, v)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		switch v.Name {
		case g.Inputs[0].Name:
			x.image = b
		case TargetInput:
			x.target = b
		case LogitsOutput:
			x.logits, x.scores, x.Classes = b, b.Float32s(), b.Len()/x.Batch
		default:
			x.outputs = append(x.outputs, b)
			x.maps[v.Name[len(mapOutputStem):]] = b.Float32s()
		}
	}
	if !slices.ContainsFunc(o.Methods, overPictures) {
		return nil
	}
	return x.openSlopes(m, batch, o, opt)
}

// openOwn opens a model that computes its relevance itself.
func (x *Mapper) openOwn(m *Model, batch int, o MapOptions, opt ort.Options) (err error) {
	if len(o.Methods) > 1 || o.Methods[0] != MethodRelevance {
		return &models.Error{Usage: true, Path: m.Path, Problem: fmt.Sprintf("the file computes its own relevance map, which is all that it can be explained by: %s can't be derived from it", notRelevance(o.Methods)),
			Advice: "give the model that it was exported from"}
	}
	if o.Heads != gradients.MeanHeads {
		return &models.Error{Usage: true, Path: m.Path, Problem: fmt.Sprintf("the file computes its own relevance map, with the mean over heads: it can't be computed with the %s", o.Heads),
			Advice: "give the model that it was exported from"}
	}
	if x.own, err = newExplainer(m, batch, o.StartLayer, opt); err != nil {
		return err
	}
	x.Batch, x.Size = x.own.batch, x.own.size
	return nil
}

// notRelevance is the first method that isn't.
func notRelevance(methods []string) string {
	return methods[slices.IndexFunc(methods, func(m string) bool { return m != MethodRelevance })]
}

// openSlopes opens the session of methods over variations, whose batch those
// are.
func (x *Mapper) openSlopes(m *Model, batch int, o MapOptions, opt ort.Options) (err error) {
	if x.slopes, err = openSlopes(m, max(batch, 8), o, opt); err != nil {
		return err
	}
	for _, method := range o.Methods {
		if overPictures(method) {
			x.maps[method] = make([]float32, x.Batch*x.Size[0]*x.Size[1])
		}
	}
	if !o.has(MethodIntegratedGradients) {
		return nil
	}
	clear(x.image.Float32s())
	if err := x.graph.Run(); err != nil {
		return err
	}
	x.baseline, x.missed = slices.Clone(x.scores[:x.Classes]), make([]float64, x.Batch)
	return nil
}

// Run explains pictures (count,3,H,W), at most Batch and as many as classes, each
// for its class; one below zero stands for the class that is predicted.
func (x *Mapper) Run(ctx context.Context, images []float32, classes []int64) error {
	if x.own != nil {
		if err := x.runOwn(images, classes); err != nil {
			return err
		}
		return x.known(classes)
	}
	if err := x.known(classes); err != nil {
		return err
	}
	values := 3 * x.Size[0] * x.Size[1]
	n := copy(x.target.Int64s(), classes)
	clear(x.target.Int64s()[n:])
	clear(x.image.Float32s()[copy(x.image.Float32s(), images[:n*values]):])
	if err := x.graph.Run(); err != nil {
		return err
	}
	for i, class := range classes {
		if x.slopes == nil {
			break
		}
		picture := images[i*values:][:values]
		if class < 0 {
			class = int64(top1(x.Scores(i)))
		}
		if to := x.maps[MethodIntegratedGradients]; to != nil {
			var err error
			if x.missed[i], err = x.slopes.integrate(ctx, picture, class, float64(x.Scores(i)[class])-float64(x.baseline[class])); err != nil {
				return err
			}
			copy(to[i*values/3:], x.slopes.maps[MethodIntegratedGradients].Float32s())
		}
		if to := x.maps[MethodSmoothGrad]; to != nil {
			if err := x.slopes.smooth(ctx, picture, class); err != nil {
				return err
			}
			copy(to[i*values/3:], x.slopes.maps[MethodSmoothGrad].Float32s())
		}
	}
	return nil
}

// known checks that the model has the classes.
func (x *Mapper) known(classes []int64) error {
	if top := slices.Max(classes); top >= int64(x.Classes) {
		return &models.Error{Usage: true, Problem: fmt.Sprintf("there is no class %d: the model's are 0 to %d", top, x.Classes-1)}
	}
	return nil
}

// runOwn runs a model with relevance.
func (x *Mapper) runOwn(images []float32, classes []int64) (err error) {
	x.scores, x.maps[MethodRelevance], err = x.own.run(images, classes)
	x.Classes = len(x.scores) / len(classes)
	return err
}

// Scores are the logits (C) of a picture of the last Run: a view, until the next.
func (x *Mapper) Scores(i int) []float32 { return x.scores[i*x.Classes:][:x.Classes] }

// Map is a picture's map (H,W) in [0,1], a view until the next Run; it is zero
// where it would be the same everywhere.
func (x *Mapper) Map(method string, i int) []float32 {
	plane := x.Size[0] * x.Size[1]
	return x.maps[method][i*plane:][:plane]
}

// Incompleteness is by what share of the change in the logit the integrated
// gradients of a picture miss it; ok is false for other methods.
func (x *Mapper) Incompleteness(method string, i int) (e float64, ok bool) {
	if method != MethodIntegratedGradients {
		return 0, false
	}
	return x.missed[i], true
}

// Close frees the sessions and their memory.
func (x *Mapper) Close() {
	if x.own != nil {
		x.own.close()
	}
	if x.graph != nil {
		x.graph.Close()
	}
	if x.slopes != nil {
		x.slopes.Close()
	}
	for _, b := range append(x.outputs, x.image, x.target, x.logits) {
		if b != nil {
			b.Close()
		}
	}
}
