//go:build race

package main

// raced says that the race detector works along, which multiplies what a process
// takes.
const raced = true
