package passes

import (
	"math/rand/v2"
	"testing"
)

// TestCutIsMinimal compares with all ways to part small networks.
func TestCutIsMinimal(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 1))
	for round := range 200 {
		const vertices = 8 // 0 is the source, 1 the sink
		type link struct {
			a, b int
			size int64
		}
		var links []link
		var w network
		for range vertices {
			w.vertex()
		}
		for range 20 {
			l := link{random.IntN(vertices), random.IntN(vertices), random.Int64N(9)}
			links = append(links, l)
			w.connect(l.a, l.b, l.size)
		}
		cost := func(behind func(int) bool) int64 {
			sum := int64(0)
			for _, l := range links {
				if !behind(l.a) && behind(l.b) {
					sum += l.size
				}
			}
			return sum
		}
		least, fewest := int64(endless), vertices
		for set := range 1 << vertices {
			if set&1 != 0 || set&2 == 0 {
				continue
			}
			n := 0
			for v := range vertices {
				n += set >> v & 1
			}
			switch c := cost(func(v int) bool { return set>>v&1 == 1 }); {
			case c < least:
				least, fewest = c, n
			case c == least:
				fewest = min(fewest, n)
			}
		}
		behind := w.cut(0, 1)
		n := 0
		for _, b := range behind {
			if b {
				n++
			}
		}
		if got := cost(func(v int) bool { return behind[v] }); got != least || n != fewest || behind[0] || !behind[1] {
			t.Errorf("round %d: a cut of %d with %d vertices behind it, expected %d and %d", round, got, n, least, fewest)
		}
	}
}
