//go:build !e2e

package pipeline

const realWeights = false // e2e: see make e2e
