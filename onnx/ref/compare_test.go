package ref

import (
	"fmt"
	"math"
	"slices"
)

// differ says where two arrays differ by more than tol of 1 or of the value,
// whichever is larger.
func differ(got, want *Array, tol float64) error {
	if got == nil || got.Type != want.Type || !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("got %v, expected %v", got, want)
	}
	if err := got.check(); err != nil {
		return err
	}
	for i, x := range want.F {
		y := got.F[i]
		if x == y || math.IsNaN(x) && math.IsNaN(y) {
			continue
		}
		if !(math.Abs(x-y) <= tol*max(1, math.Abs(x))) {
			return fmt.Errorf("element %d is %v, expected %v (%v)", i, y, x, want)
		}
	}
	if !slices.Equal(got.I, want.I) || !slices.Equal(got.B, want.B) {
		return fmt.Errorf("got %v%v, expected %v%v", got.I, got.B, want.I, want.B)
	}
	return nil
}
