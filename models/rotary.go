package models

import (
	"fmt"
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Rotary says how positions rotate queries and keys. Keys of JSON are those of
// timm's Eva.
type Rotary struct {
	RopeType        string  `json:"rope_type"` // one of the rope constants
	RopeTemperature float64 `json:"rope_temperature"`
	RopeOffset      float64 `json:"rope_grid_offset,omitempty"`
	RopeIndexing    string  `json:"rope_grid_indexing"` // ij: rows before columns; xy
	RopeHalf        bool    `json:"rope_rotate_half"`   // pairs are a half apart; otherwise neighbours
	RopeReference   [2]int  `json:"ref_feat_shape"`     // the grid that positions are scaled to; 0: none
}

// Kinds of rotary positions, by timm's names.
const (
	ropeCat    = "cat"    // indices of rows and columns, as in EVA-02
	ropeDINOv3 = "dinov3" // centres of patches from -1 to 1
	ropeMixed  = "mixed"  // learned frequencies, a tensor of the checkpoint
)

func (r *Rotary) validate(head int) error {
	switch {
	case !slices.Contains([]string{ropeCat, ropeDINOv3, ropeMixed}, r.RopeType):
		return fmt.Errorf("unsupported architecture: rope_type %q, known are cat, dinov3 and mixed", r.RopeType)
	case !slices.Contains([]string{"ij", "xy"}, r.RopeIndexing):
		return fmt.Errorf("unsupported architecture: rope_grid_indexing %q, known are ij and xy", r.RopeIndexing)
	case head%4 != 0:
		return fmt.Errorf("impossible architecture: rotary positions need heads of a multiple of 4 dimensions, not %d", head)
	case r.RopeTemperature <= 0 || math.IsInf(r.RopeTemperature, 0):
		return fmt.Errorf("impossible architecture: rope_temperature %g must be positive", r.RopeTemperature)
	case min(r.RopeReference[0], r.RopeReference[1]) < 0:
		return fmt.Errorf("impossible architecture: ref_feat_shape %v must be positive", r.RopeReference)
	}
	return nil
}

// coordinates lists every patch's two positions, row by row.
func (r *Rotary) coordinates(grid [2]int) [][2]float64 {
	at := func(axis, i int) float64 {
		x, size := float64(i)+r.RopeOffset, float64(grid[axis])
		switch {
		case r.RopeType == ropeDINOv3:
			return 2*(x+0.5)/size - 1
		case r.RopeType == ropeCat && r.RopeReference != [2]int{}:
			return x / size * float64(r.RopeReference[axis])
		case r.RopeType == ropeMixed:
			return float64(i)
		}
		return x
	}
	out := make([][2]float64, 0, grid[0]*grid[1])
	for i := range grid[0] {
		for j := range grid[1] {
			c := [2]float64{at(0, i), at(1, j)}
			if r.RopeIndexing == "xy" {
				c[0], c[1] = c[1], c[0]
			}
			out = append(out, c)
		}
	}
	return out
}

// angle is that of frequency k of n for a coordinate.
func (r *Rotary) angle(coordinate float64, k, n int) float64 {
	period := math.Pow(r.RopeTemperature, float64(k)/float64(n))
	if r.RopeType == ropeDINOv3 {
		coordinate *= 2 * math.Pi
	}
	return coordinate / period
}

// tables gives cosine and sine (N,D/H) of every token's angles. Prefix tokens
// are not rotated.
func (a *Architecture) tables() (cos, sin []float32) {
	head := a.HeadWidth()
	n := head / 4
	for range a.Prefix() {
		for range head {
			cos, sin = append(cos, 1), append(sin, 0)
		}
	}
	for _, c := range a.coordinates(a.Grid()) {
		for d := range head {
			pair := d / 2
			if a.RopeHalf {
				pair = d % (head / 2)
			}
			angle := a.angle(c[pair/n], pair%n, n)
			cos, sin = append(cos, float32(math.Cos(angle))), append(sin, float32(math.Sin(angle)))
		}
	}
	return cos, sin
}

// table is a constant of several numbers. It is a node: initializers of that
// kind are parameters.
func (v *vit) table(name string, x []float32, dims ...int64) *onnx.Value {
	if v.consts[name] == nil {
		t := v.Op("Constant", []onnx.Attr{{Name: "value", Value: onnx.FloatTensor(x, dims...)}})
		v.consts[name] = v.Named("const/"+name, t)
	}
	return v.consts[name]
}

// rotation gives cosine and sine for a block's queries and keys, of a shape
// that broadcasts to (B,H,N,D/H).
func (v *vit) rotation(block int) (cos, sin *onnx.Value) {
	a := v.a
	tokens, head := int64(a.Tokens()), int64(a.HeadWidth())
	if a.RopeType == ropeMixed {
		return v.mixedRotation(block)
	}
	if v.consts["rope_cos"] == nil {
		c, s := a.tables()
		v.table("rope_cos", c, tokens, head)
		v.table("rope_sin", s, tokens, head)
	}
	return v.consts["rope_cos"], v.consts["rope_sin"]
}

// mixedRotation computes the angles of learned frequencies
// (2,blocks,H,D/H/2).
func (v *vit) mixedRotation(block int) (cos, sin *onnx.Value) {
	a := v.a
	name := fmt.Sprintf("blocks.%d.rope", block)
	f := v.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, v.weight("rope.freqs"), v.index(int64(block))) // (2,H,D/H/2)
	f = v.Named(name+"/freqs", v.Transpose(f, 1, 0, 2))                                                              // (H,2,D/H/2)
	var at []float32
	for range a.Prefix() {
		at = append(at, 0, 0)
	}
	for _, c := range a.coordinates(a.Grid()) {
		at = append(at, float32(c[0]), float32(c[1]))
	}
	places := v.table("rope_positions", at, int64(a.Tokens()), 2)
	angles := v.Named(name+"/angles", v.MatMul(places, f)) // (H,N,D/H/2)
	twice := func(x *onnx.Value, part string) *onnx.Value {
		head := int64(a.HeadWidth())
		x = v.Op("Unsqueeze", nil, x, v.ints("last", -1))
		x = v.Concat(3, x, x) // (H,N,D/H/2,2)
		return v.Named(name+"/"+part, v.reshape(x, "rope_pairs", 0, 0, head))
	}
	return twice(v.Op("Cos", nil, angles), "cos"), twice(v.Op("Sin", nil, angles), "sin")
}

// rotate turns the pairs of x (B,H,N,D/H) by their angles.
func (v *vit) rotate(name string, x, cos, sin *onnx.Value) *onnx.Value {
	head := v.a.HeadWidth()
	if v.consts["rope_turn"] == nil {
		turn := make([]float32, head*head) // x turn is x turned by a right angle
		for i := range head / 2 {
			first, second := 2*i, 2*i+1
			if v.a.RopeHalf {
				first, second = i, i+head/2
			}
			turn[second*head+first], turn[first*head+second] = -1, 1
		}
		v.table("rope_turn", turn, int64(head), int64(head))
	}
	turned := v.Named(name+"_turned", v.MatMul(x, v.consts["rope_turn"]))
	return v.Named(name+"_rotated", v.Add(v.Mul(x, cos), v.Mul(turned, sin)))
}
