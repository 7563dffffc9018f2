package metrics

import (
	"math"
	"slices"
)

// Order lists the positions of values from the largest down, equal ones by
// position: a stable radix sort, a few times faster than comparing. The values
// must be numbers.
func Order(values []float32) []int32 {
	const digit = 11
	n := len(values)
	keys, order := make([]uint32, n), make([]int32, n)
	for i, v := range values {
		keys[i], order[i] = descending(v), int32(i)
	}
	otherKeys, otherOrder := make([]uint32, n), make([]int32, n)
	for shift := 0; shift < 32; shift += digit {
		var at [1 << digit]int32 // first counts, then places
		for _, k := range keys {
			at[k>>shift&(1<<digit-1)]++
		}
		sum := int32(0)
		for d, count := range at {
			at[d] = sum
			sum += count
		}
		for i, k := range keys {
			d := k >> shift & (1<<digit - 1)
			otherKeys[at[d]], otherOrder[at[d]] = k, order[i]
			at[d]++
		}
		keys, otherKeys, order, otherOrder = otherKeys, keys, otherOrder, order
	}
	return order
}

// descending maps a float to a number that is the smaller the larger it is. Both
// zeros are one.
func descending(v float32) uint32 {
	if v == 0 {
		v = 0
	}
	b := math.Float32bits(v)
	if b>>31 == 1 {
		return b
	}
	return ^b &^ (1 << 31)
}

// constant says whether a map has no range.
func constant(values []float32) bool {
	return !slices.ContainsFunc(values, func(v float32) bool { return v != values[0] })
}
