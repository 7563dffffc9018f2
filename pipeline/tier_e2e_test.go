//go:build e2e

package pipeline

const realWeights = true
