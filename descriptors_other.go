//go:build !unix

package main

// raiseDescriptorLimit does nothing: this system has no such limit.
func raiseDescriptorLimit() {}

// streamsForDescriptors returns how many streams the server takes where
// descriptors are not what bounds them.
func streamsForDescriptors() int { return 50_000 }
