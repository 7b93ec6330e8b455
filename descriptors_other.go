//go:build !unix

package main

// raiseDescriptorLimit does nothing: this system has no such limit.
func raiseDescriptorLimit() {}

// connectionsForDescriptors returns how many connections the server takes where
// descriptors are not what bounds them.
func connectionsForDescriptors() int { return 50_000 }
