package background

// The factors of SI-Score.
const (
	Area     = "area"
	Location = "location"
	Rotation = "rotation"
)

// Placement is how an object is pasted on a background: turned counterclockwise
// by Degrees, its bounding box (before turning) an Area of the background's, its
// centre at shares X and Y of the width and height.
type Placement struct {
	Factor              string // what is varied
	X, Y, Area, Degrees float64
}

// Placements are those of every object: grids of SI-Score (Djolonga et al.,
// "On Robustness and Transferability of Convolutional Neural Networks", CVPR
// 2021, appendix D), every fifth of its 21 x 21 places, 13 of its 100 areas, and
// its 18 angles, none of which leaves pixels as they are, at one of four areas.
func Placements() []Placement {
	var out []Placement
	for _, percent := range []float64{1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100} {
		out = append(out, Placement{Factor: Area, X: 0.5, Y: 0.5, Area: percent / 100})
	}
	for row := range 5 {
		for column := range 5 {
			out = append(out, Placement{Factor: Location, X: float64(column) / 4, Y: float64(row) / 4, Area: 0.2})
		}
	}
	for degrees := 1; degrees < 361; degrees += 20 {
		out = append(out, Placement{Factor: Rotation, X: 0.5, Y: 0.5, Area: 0.5, Degrees: float64(degrees)})
	}
	return out
}
