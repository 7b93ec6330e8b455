//go:build !linux

package loadtest

import (
	"errors"
	"time"
)

func readProcess(int) (cpu time.Duration, rss int64, err error) {
	return 0, 0, errors.ErrUnsupported
}

func clientCPU() time.Duration { return 0 }

func cpuModel() string { return "" }

// raiseFileLimit leaves it to the Go runtime, which raises the limit itself.
func raiseFileLimit(int) error { return nil }
