package picture

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestSumsAreThoseOfOneSampleAfterAnother resamples noise of many sizes, of one
// pixel to more than are summed at once, in both directions.
func TestSumsAreThoseOfOneSampleAfterAnother(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		in, out, lines, filter := 1+rng.IntN(90), 1+rng.IntN(90), 1+rng.IntN(40), Bilinear
		if rng.IntN(2) == 0 {
			filter = Bicubic
		}
		var k weights
		k.compute(filter, in, out, 0, out)
		src := make([]uint8, 3*in*lines)
		for i := range src {
			src[i] = uint8(rng.IntN(2)*255) ^ uint8(rng.IntN(4))
		}
		sum := func(position int, sample func(at int) uint8) uint8 {
			s := int64(1) << (precisionBits - 1)
			for i, w := range k.w[position*k.size:][:k.count[position]] {
				s += int64(w) * int64(sample(int(k.first[position])+i))
			}
			return uint8(min(max(s>>precisionBits, 0), 255))
		}
		from, to := k.span()
		if from != 0 || to > in {
			t.Fatalf("%d to %d: positions %d to %d", in, out, from, to)
		}
		across, want := make([]uint8, 3*out*lines), make([]uint8, 3*out*lines)
		k.horizontal(across, src, 3*in, lines)
		for i := range want {
			line := src[i/(3*out)*3*in:]
			want[i] = sum(i/3%out, func(at int) uint8 { return line[3*at+i%3] })
		}
		if !bytes.Equal(across, want) {
			t.Fatalf("%d rows of %d to %d, %v: not the sums", lines, in, out, filter)
		}
		n := 3 * lines
		down := make([]uint8, n*out)
		k.vertical(down, n, src, n)
		for i := range want {
			want[i] = sum(i/n, func(at int) uint8 { return src[at*n+i%n] })
		}
		if !bytes.Equal(down, want) {
			t.Fatalf("%d columns of %d to %d, %v: not the sums", n, in, out, filter)
		}
	}
}
