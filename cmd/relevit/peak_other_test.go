//go:build !linux

package main

func mainUnderTest() { main() }
