package dataset

import (
	"hash/fnv"
	"math/bits"
	"math/rand/v2"
)

// Random returns the random numbers for one purpose: independent of those for
// any other purpose, and the same on every machine.
func Random(seed uint64, purpose string, a, b uint64) *rand.PCG {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.NewPCG(mix(seed^mix(h.Sum64())), mix(mix(a)+b))
}

// mix is the finaliser of SplitMix64, a bijection that scatters every bit.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// permutation shuffles 0..n-1. It does not use rand.Rand, whose methods Go does
// not define to the bit.
func permutation(n int, s rand.Source) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := n - 1; i > 0; i-- {
		high, _ := bits.Mul64(s.Uint64(), uint64(i+1))
		p[i], p[high] = p[high], p[i]
	}
	return p
}
