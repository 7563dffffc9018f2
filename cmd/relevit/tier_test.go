//go:build !e2e

package main

const e2e = false
