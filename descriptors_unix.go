//go:build unix

package main

import "golang.org/x/sys/unix"

// keptDescriptors are for everything but streams: files, listeners, requests.
const keptDescriptors = 500

// raiseDescriptorLimit takes all the descriptors that the system allows.
// Failing to is no error: the streams are then fewer.
func raiseDescriptorLimit() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Cur < limit.Max {
		limit.Cur = limit.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
}

// streamsForDescriptors returns how many streams the descriptors allow.
func streamsForDescriptors() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1000
	}
	return int(min(max(uint64(limit.Cur), keptDescriptors+100)-keptDescriptors, 1_000_000))
}
