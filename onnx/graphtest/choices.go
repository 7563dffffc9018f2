package graphtest

import (
	"hash/fnv"
	"math/rand/v2"
)

// Choices turns a fuzzer's bytes into decisions, a byte each, so that changing
// a byte changes one decision. After the last byte every decision is the
// first. The contents of tensors are random numbers that the bytes seed.
type Choices struct {
	data []byte
	rng  *rand.Rand
}

// NewChoices reads decisions from data.
func NewChoices(data []byte) *Choices {
	h := fnv.New64a()
	h.Write(data[:min(4, len(data))])
	return &Choices{data: data, rng: rand.New(rand.NewPCG(h.Sum64(), 1))}
}

// Bytes are decisions for tests without a fuzzer.
func Bytes(seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 2))
	data := make([]byte, 40+rng.IntN(260))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

// More reports whether there are decisions left.
func (c *Choices) More() bool { return len(c.data) > 0 }

// IntN decides for a number below n.
func (c *Choices) IntN(n int) int {
	if len(c.data) == 0 || n <= 1 {
		return 0
	}
	b := int(c.data[0])
	c.data = c.data[1:]
	return b % n
}

// Between decides for a number from low to high.
func (c *Choices) Between(low, high int) int { return low + c.IntN(high-low+1) }

// One says yes one time in n.
func (c *Choices) One(n int) bool { return c.IntN(n) == n-1 }

// Perm decides for an order of n things.
func (c *Choices) Perm(n int) []int64 {
	p := make([]int64, n)
	for i := range p {
		j := c.IntN(i + 1)
		p[i], p[j] = p[j], int64(i)
	}
	return p
}

// Some decides for a subset of the numbers below n, in any order.
func (c *Choices) Some(n int) []int64 { return c.Perm(n)[:c.IntN(n+1)] }

// Pick decides for one of a list.
func Pick[T any](c *Choices, list ...T) T { return list[c.IntN(len(list))] }
