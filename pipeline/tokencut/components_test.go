package tokencut

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// flood sets the 4-neighbours of (y,x) that have its value, by definition.
func flood(mask, seen []bool, h, w, y, x int) {
	stack := [][2]int{{y, x}}
	seen[y*w+x] = true
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, d := range [][2]int{{-1, 0}, {1, 0}, {0, -1}, {0, 1}} {
			y, x := p[0]+d[0], p[1]+d[1]
			if y >= 0 && x >= 0 && y < h && x < w && !seen[y*w+x] && mask[y*w+x] == mask[p[0]*w+p[1]] {
				seen[y*w+x] = true
				stack = append(stack, [2]int{y, x})
			}
		}
	}
}

func TestComponentsAndHolesEqualFlooding(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		h, w := 1+random.IntN(20), 1+random.IntN(20)
		share := random.Float64()
		mask := make([]bool, h*w)
		for i := range mask {
			mask[i] = random.Float64() < share
		}
		var best []bool
		filled := slices.Clone(mask)
		r := findRuns(mask, true, h, w)
		for i, in := range mask {
			component := make([]bool, h*w)
			flood(mask, component, h, w, i/w, i%w)
			if !in {
				if r.rootAt(i/w, i%w) != -1 {
					t.Fatalf("%s: a component at %d, where there is none", draw(mask, w), i)
				}
				open := false
				for k, reached := range component {
					y, x := k/w, k%w
					open = open || reached && (y == 0 || x == 0 || y == h-1 || x == w-1)
				}
				filled[i] = !open
				continue
			}
			if got := r.paint(r.rootAt(i/w, i%w)); !slices.Equal(got, component) {
				t.Fatalf("%s: the component at %d is %s, expected %s", draw(mask, w), i, draw(got, w), draw(component, w))
			}
			if count(component) > count(best) {
				best = component
			}
		}
		if best == nil {
			if r.largest() != -1 {
				t.Fatal("an empty mask has a component")
			}
		} else if got := r.paint(r.largest()); !slices.Equal(got, best) {
			t.Fatalf("%s: the largest component is %s, expected %s", draw(mask, w), draw(got, w), draw(best, w))
		}
		got := slices.Clone(mask)
		if fillHoles(got, h, w); !slices.Equal(got, filled) {
			t.Fatalf("%s: filled is %s, expected %s", draw(mask, w), draw(got, w), draw(filled, w))
		}
	}
}

func count(mask []bool) int {
	n := 0
	for _, in := range mask {
		if in {
			n++
		}
	}
	return n
}

func TestUpscaleNearestTakesTheTokenUnderAPixel(t *testing.T) {
	mask := []bool{true, false, false, true, true, false} // (2,3)
	for _, c := range []struct {
		h, w int
		want string
	}{
		{2, 3, "#.. ##."},
		{4, 6, "##.... ##.... ####.. ####.."},
		{3, 5, "##... ##... ####."},
		{1, 2, "#."},
		{1, 1, "#"},
	} {
		if got := draw(UpscaleNearest(mask, 2, 3, c.h, c.w), c.w); got != c.want {
			t.Errorf("%dx%d: %s, expected %s", c.h, c.w, got, c.want)
		}
	}
}
