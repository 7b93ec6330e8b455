//go:build !linux

package loadtest

import (
	"errors"
	"net"
	"syscall"
	"time"
)

func readProcess(int) (cpu time.Duration, rss int64, err error) {
	return 0, 0, errors.ErrUnsupported
}

func clientCPU() time.Duration { return 0 }

func cpuModel() string { return "" }

// raiseFileLimit leaves it to the Go runtime, which raises the limit itself.
func raiseFileLimit(int) error { return nil }

func smallReceiveBuffer(string, string, syscall.RawConn) error { return nil }

func kernelTCP() (bytes int64, known bool) { return 0, false }

func ownKernel([]net.Conn) int64 { return 0 }

// connected takes all for connected: there is no way to ask here.
func connected(conns []net.Conn) int { return len(conns) }
